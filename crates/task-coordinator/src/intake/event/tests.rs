use serde_json::{Value, json};
use sutazai_messaging::message::Properties;

use super::*;

fn submission() -> Value {
    json!({
        "specversion": "1.0", "id": "order-7", "source": "/shop", "type": Submit::NAME,
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "comexampleextension": {"any": ["thing"]},
        "data": {"type": "llm.generate", "input": {"prompt": "hello"}},
    })
}

fn delivery(content_type: &str, body: impl Into<Bytes>) -> Delivery {
    Delivery {
        id: "m".to_owned(),
        queue: "tasks.intake".to_owned(),
        exchange: "tasks".to_owned(),
        routing_key: "any".to_owned(),
        headers: BTreeMap::new(),
        properties: Properties::default(),
        content_type: content_type.to_owned(),
        body: body.into(),
        delivery_count: 0,
    }
}

fn read_json(event: &Value) -> Result<Received, Unreadable> {
    read(&delivery(CONTENT_TYPE, event.to_string()))
}

#[test]
fn a_submission_becomes_the_request_of_the_other_doors() {
    let input = r#"{ "n":1.0E+2 }"#;
    let body = submission().to_string();
    let body = body.replace(r#"{"prompt":"hello"}"#, input);
    let kind = "Application/CloudEvents+JSON; charset=utf-8";
    let received = read(&delivery(kind, body)).unwrap();
    assert_eq!(
        received.origin,
        Origin {
            source: "/shop".to_owned(),
            id: "order-7".to_owned()
        }
    );
    assert_eq!(received.request.r#type, "llm.generate");
    assert_eq!(received.request.input.unwrap().data, input, "byte for byte");
    assert!(received.trace["traceparent"].starts_with("00-0af7"));
}

#[test]
fn tsk_01_the_key_stands_for_source_and_id_and_nothing_else() {
    let key = |source: &str, id: &str| {
        key(&Origin {
            source: source.to_owned(),
            id: id.to_owned(),
        })
    };
    assert_eq!(key("/shop", "1"), key("/shop", "1"));
    assert_ne!(key("/shop", "11"), key("/shop1", "1"));
    assert!(key("/ä", "\u{1F980}").bytes().all(|b| b.is_ascii_graphic()));
}

#[test]
fn g_23_each_way_to_be_no_submission_has_its_reason_and_place() {
    let changed = |change: fn(&mut Value)| {
        let mut event = submission();
        change(&mut event);
        delivery(CONTENT_TYPE, event.to_string())
    };
    let good = submission().to_string();
    for (delivery, reason, place) in [
        (delivery(CONTENT_TYPE, "{"), "invalid_json", ""),
        (delivery(CONTENT_TYPE, &b"\xff\xfe"[..]), "invalid_json", ""),
        (
            delivery(CONTENT_TYPE, good.clone() + "x"),
            "invalid_json",
            "",
        ),
        (delivery(CONTENT_TYPE, "7"), "validation_failed", ""),
        (
            delivery("application/json", good),
            "unsupported_media_type",
            "content_type",
        ),
        (
            delivery(CONTENT_TYPE, vec![b' '; LARGEST + 1]),
            "body_too_large",
            "",
        ),
        (
            changed(|e| e["specversion"] = json!("0.3")),
            "unknown_spec_version",
            "/specversion",
        ),
        (
            changed(|e| e["type"] = json!("sutazai.task.submit.v9")),
            "unknown_event",
            "/type",
        ),
        (changed(|e| e["id"] = json!("")), "validation_failed", "/id"),
        (
            changed(|e| e["source"] = json!("a\0b")),
            "validation_failed",
            "/source",
        ),
        (
            changed(|e| e["data"]["priority"] = json!("high")),
            "validation_failed",
            "/data/priority",
        ),
        (
            changed(|e| e["data"]["more"] = json!(1)),
            "validation_failed",
            "/data/more",
        ),
        (
            changed(|e| e["data"] = json!(null)),
            "validation_failed",
            "/data",
        ),
    ] {
        let broken = read(&delivery).unwrap_err().broken;
        let place_found = &broken.details().violations[0].field;
        assert_eq!((broken.reason(), place_found.as_str()), (reason, place));
    }
}

#[test]
fn what_can_be_read_of_a_broken_event_is_named() {
    let mut event = submission();
    event["data"] = json!({"type": 7});
    let unreadable = read_json(&event).unwrap_err();
    assert_eq!(unreadable.origin.unwrap().id, "order-7");
}

#[test]
fn faults_of_the_request_stand_in_the_data() {
    assert_eq!(place("/priority"), "/data/priority");
    assert_eq!(place("/expires_in"), "/data/expires_in_seconds");
    assert_eq!(place("user_id"), "user_id");
}
