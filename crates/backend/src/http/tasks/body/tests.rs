use serde_json::json;

use super::*;
use crate::http::input::json::parse;

fn read(body: &str) -> Result<CreateTaskRequest, InputError> {
    parse::<NewTask>(body.as_bytes()).and_then(|task| task.read(IdempotencyKey::default()))
}

#[test]
fn the_input_is_handed_on_byte_for_byte() {
    let request =
        read(r#"{"type":"llm.generate","input": {"n": 1.00,  "big":12345678901234567890}}"#)
            .unwrap();
    let input = request.input.unwrap();
    assert_eq!(
        input.data.as_ref(),
        br#"{"n": 1.00,  "big":12345678901234567890}"#
    );
    assert_eq!(input.content_type, "application/json");
}

#[test]
fn a_null_input_is_an_input() {
    assert_eq!(
        read(r#"{"type":"a","input":null}"#)
            .unwrap()
            .input
            .unwrap()
            .data
            .as_ref(),
        b"null"
    );
    assert!(read(r#"{"type":"a"}"#).is_err());
}

#[test]
fn beh_07_an_input_of_the_exact_limit_passes() {
    let body = |length: usize| json!({ "type": "a", "input": "i".repeat(length - 2) }).to_string();
    assert!(read(&body(MAX_INPUT)).is_ok());
    assert!(matches!(
        read(&body(MAX_INPUT + 1)),
        Err(InputError::TooLarge { .. })
    ));
}

#[test]
fn sec_10_values_outside_their_bounds_are_named() {
    for (member, value, expected) in [
        ("type", json!("LLM"), "/type"),
        ("type", json!(""), "/type"),
        ("priority", json!(10), "/priority"),
        ("priority", json!(-1), "/priority"),
        ("max_attempts", json!(0), "/max_attempts"),
        ("max_attempts", json!(21), "/max_attempts"),
        ("expires_in_seconds", json!(0), "/expires_in_seconds"),
    ] {
        let mut body = json!({ "type": "llm.generate", "input": {} });
        body[member] = value;
        match read(&body.to_string()) {
            Err(InputError::Invalid { pointer, .. }) => assert_eq!(pointer, expected),
            other => panic!("{body}: {other:?}"),
        }
    }
}

#[test]
fn every_state_of_the_wire_has_a_name() {
    for state in 1..=7 {
        let state = TaskState::try_from(state).unwrap();
        let name = TaskStateName::from(state);
        assert_eq!(name.to_wire(), state);
        assert_eq!(name.as_str().parse(), Ok(name));
        assert_eq!(serde_json::to_value(name).unwrap(), name.as_str());
    }
}

#[test]
fn a_payload_that_is_no_json_is_shown_as_bytes() {
    let payload = Payload {
        data: vec![0xff, 0].into(),
        content_type: "application/octet-stream".into(),
    };
    assert_eq!(
        serde_json::to_value(json(payload)).unwrap(),
        json!({ "content_type": "application/octet-stream", "base64": "/wA=" })
    );
    let broken = Payload {
        data: b"{".to_vec().into(),
        content_type: JSON.into(),
    };
    assert_eq!(
        serde_json::to_value(json(broken)).unwrap()["base64"],
        "ew=="
    );
}
