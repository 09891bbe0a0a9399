//! Bodies that are wrong, each in its own way, with an answer of its own.

use reqwest::{Method, header::CONTENT_TYPE};
use serde_json::{Value, json};
use system_tests::{Answer, Client, Stage};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// An operation that reads a body.
struct Reader {
    path: &'static str,
    /// A body that is read without complaint.
    good: &'static str,
    /// What that is answered with.
    status: u16,
    /// A member that has to be there, a text.
    required: &'static str,
    /// Largest body in bytes.
    limit: usize,
}

const READERS: [Reader; 4] = [
    Reader {
        path: "/api/v1/chat",
        good: r#"{"message":"hello"}"#,
        status: 200,
        required: "message",
        limit: 1024 * 1024,
    },
    Reader {
        path: "/api/v1/tasks",
        good: r#"{"type":"llm.generate","input":{"prompt":"hello"}}"#,
        status: 202,
        required: "type",
        limit: 68 * 1024,
    },
    Reader {
        path: "/api/v1/auth/keys",
        good: r#"{"name":"a key"}"#,
        status: 201,
        required: "name",
        limit: 16 * 1024,
    },
    Reader {
        path: "/api/v1/auth/login",
        good: r#"{"password":"not the password"}"#,
        status: 401,
        required: "password",
        limit: 16 * 1024,
    },
];

impl Reader {
    async fn send(&self, client: &Client, body: impl Into<reqwest::Body>) -> Answer {
        self.send_as(client, &["application/json"], body).await
    }

    async fn send_as(
        &self,
        client: &Client,
        kinds: &[&str],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let mut request = client.request(Method::POST, self.path);
        for kind in kinds {
            request = request.header(CONTENT_TYPE, *kind);
        }
        client.send(request.body(body)).await
    }

    /// Returns the good body with one member more, or another value for one it has.
    fn with(&self, member: &str, value: Value) -> String {
        let mut body: Value = serde_json::from_str(self.good).expect("JSON");
        body[member] = value;
        body.to_string()
    }

    /// Returns the good body, blown up to a size.
    fn padded(&self, bytes: usize) -> String {
        self.good.to_owned() + &" ".repeat(bytes - self.good.len())
    }
}

fn assert_fault(answer: &Answer, code: &str, pointer: &str, reader: &Reader) {
    answer.assert_problem(400, code);
    let errors = answer.json["errors"].as_array().map_or(0, Vec::len);
    assert_eq!(errors, 1, "{}: {}", reader.path, answer.text);
    assert_eq!(
        answer.json["errors"][0]["pointer"], pointer,
        "{}: {}",
        reader.path, answer.text
    );
}

#[tokio::test]
async fn sec_10_a_body_that_is_no_json_is_told_apart_from_one_that_is_no_text() {
    let admin = Stage::shared().await.admin();
    for reader in &READERS {
        let good = reader.send(&admin, reader.good).await;
        assert_eq!(good.status, reader.status, "{}: {}", reader.path, good.text);
        let trailing = format!("{} x", reader.good);
        let twice = format!("{}{}", reader.good, reader.good);
        let marked = format!("\u{feff}{}", reader.good);
        for body in [
            "", " ", "{", "{'a':1}", "nothing", &trailing, &twice, &marked,
        ] {
            let answer = reader.send(&admin, body.to_owned()).await;
            answer.assert_problem(400, "invalid_json");
        }
        let cut = [
            &reader.good.as_bytes()[..4],
            b"\xff\xfe",
            &reader.good.as_bytes()[4..],
        ]
        .concat();
        let answer = reader.send(&admin, cut).await;
        answer.assert_problem(400, "invalid_utf8");
        assert!(
            answer.json["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains("byte 4"))
        );
    }
}

#[tokio::test]
async fn sec_10_an_unknown_field_is_refused_by_its_pointer() {
    let admin = Stage::shared().await.admin();
    for reader in &READERS {
        for (member, pointer) in [("surprise", "/surprise"), ("a/b~c", "/a~1b~0c"), ("", "/")] {
            let answer = reader.send(&admin, reader.with(member, json!(1))).await;
            assert_fault(&answer, "unknown_field", pointer, reader);
        }
    }
    let nested = READERS[0].with("options", json!({"temperatur": 1}));
    let answer = READERS[0].send(&admin, nested).await;
    assert_fault(&answer, "unknown_field", "/options/temperatur", &READERS[0]);
}

#[tokio::test]
async fn sec_10_a_wrong_type_is_refused_by_its_pointer() {
    let admin = Stage::shared().await.admin();
    for reader in &READERS {
        let pointer = format!("/{}", reader.required);
        for wrong in [
            json!(7),
            json!(null),
            json!(["a"]),
            json!({"a": 1}),
            json!(true),
        ] {
            let answer = reader
                .send(&admin, reader.with(reader.required, wrong))
                .await;
            assert_fault(&answer, "validation_failed", &pointer, reader);
        }
        for whole in ["7", "null", "\"text\"", "[]", "true"] {
            let answer = reader.send(&admin, whole).await;
            assert_fault(&answer, "validation_failed", "", reader);
        }
    }
    let [chat, task, ..] = &READERS;
    for (reader, member, wrong, pointer) in [
        (chat, "stream", json!("yes"), "/stream"),
        (chat, "model", json!(7), "/model"),
        (
            chat,
            "options",
            json!({"temperature": "hot"}),
            "/options/temperature",
        ),
        (chat, "options", json!({"stop": [1]}), "/options/stop/0"),
        (chat, "options", json!({"seed": 1.5}), "/options/seed"),
        (
            chat,
            "options",
            json!({"temperature": 3}),
            "/options/temperature",
        ),
        (chat, "message", json!(" \n\t"), "/message"),
        (task, "priority", json!(10), "/priority"),
        (task, "priority", json!(-1), "/priority"),
        (task, "max_attempts", json!(0), "/max_attempts"),
        (task, "expires_in_seconds", json!(0), "/expires_in_seconds"),
        (task, "type", json!("no type"), "/type"),
    ] {
        let answer = reader.send(&admin, reader.with(member, wrong)).await;
        assert_fault(&answer, "validation_failed", pointer, reader);
    }
}

#[tokio::test]
async fn sec_10_a_list_is_no_object_whatever_it_holds() {
    let admin = Stage::shared().await.admin();
    for (reader, list) in READERS.iter().zip([
        json!(["hello", null, null, false, {}]),
        json!(["llm.generate", {"prompt": "hello"}, null, null, null]),
        json!(["a key", null, null]),
        json!(["admin", "not the password"]),
    ]) {
        let answer = reader.send(&admin, list.to_string()).await;
        assert_fault(&answer, "validation_failed", "", reader);
    }
    let options = READERS[0].with("options", json!([0.5, 0.5, 1, 5, 5, []]));
    let answer = READERS[0].send(&admin, options).await;
    assert_fault(&answer, "validation_failed", "/options", &READERS[0]);
}

#[tokio::test]
async fn sec_10_a_missing_or_doubled_field_is_named() {
    let admin = Stage::shared().await.admin();
    for reader in &READERS {
        let mut body: Value = serde_json::from_str(reader.good).expect("JSON");
        body.as_object_mut()
            .expect("an object")
            .remove(reader.required);
        let member = format!("\"{}\":", reader.required);
        let doubled = reader
            .good
            .replace(&member, &format!("{member}\"a\",{member}"));
        for body in [body.to_string(), doubled] {
            let answer = reader.send(&admin, body).await;
            answer.assert_problem(400, "validation_failed");
            let detail = answer.json["errors"][0]["detail"]
                .as_str()
                .unwrap_or_default();
            assert!(
                detail.contains(reader.required),
                "{}: {}",
                reader.path,
                answer.text
            );
        }
    }
}

#[tokio::test]
async fn sec_10_only_json_is_read_as_json() {
    let admin = Stage::shared().await.admin();
    for reader in &READERS {
        for kind in ["application/json; charset=utf-8", "Application/JSON"] {
            let answer = reader.send_as(&admin, &[kind], reader.good).await;
            assert_eq!(answer.status, reader.status, "{kind}: {}", answer.text);
        }
        for kinds in [
            &[][..],
            &["text/plain"],
            &["application/x-www-form-urlencoded"],
            &["application/jsonp"],
            &["application/problem+json"],
            &["application/json", "text/plain"],
        ] {
            let answer = reader.send_as(&admin, kinds, reader.good).await;
            answer.assert_problem(415, "unsupported_media_type");
        }
    }
}

#[tokio::test]
async fn beh_07_a_body_may_reach_its_limit_and_no_byte_more() {
    let admin = Stage::shared().await.admin();
    for reader in &READERS {
        let answer = reader.send(&admin, reader.padded(reader.limit)).await;
        assert_eq!(
            answer.status, reader.status,
            "{}: {}",
            reader.path, answer.text
        );
        let answer = reader.send(&admin, reader.padded(reader.limit + 1)).await;
        answer.assert_problem(413, "body_too_large");
        let detail = answer.json["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(&reader.limit.to_string()), "{detail}");
        // The same without a length: only what arrives can tell.
        for (bytes, expected) in [(reader.limit, reader.status), (reader.limit + 1, 413)] {
            let body = reader.padded(bytes).into_bytes();
            let pieces: Vec<_> = body
                .chunks(7001)
                .map(<[u8]>::to_vec)
                .map(Ok::<_, std::io::Error>)
                .collect();
            let body = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
            let answer = reader.send(&admin, body).await;
            assert_eq!(answer.status, expected, "{}: {}", reader.path, answer.text);
        }
    }
}

#[tokio::test]
async fn beh_07_parts_of_a_body_have_limits_of_their_own() {
    let admin = Stage::shared().await.admin();
    let [chat, task, ..] = &READERS;
    let frame = json!({"prompt": ""}).to_string().len();
    let input = |bytes: usize| task.with("input", json!({"prompt": "x".repeat(bytes - frame)}));
    let answer = task.send(&admin, input(64 * 1024)).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let answer = task.send(&admin, input(64 * 1024 + 1)).await;
    answer.assert_problem(413, "body_too_large");
    let message = |bytes: usize| chat.with("message", json!("x".repeat(bytes)));
    let answer = chat.send(&admin, message(128 * 1024)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let answer = chat.send(&admin, message(128 * 1024 + 1)).await;
    assert_fault(&answer, "validation_failed", "/message", chat);
}

#[tokio::test]
async fn beh_07_a_body_that_says_it_is_too_large_is_refused_before_it_comes() {
    let stage = Stage::shared().await;
    let api = stage.description().api.trim_start_matches("http://");
    let mut socket = TcpStream::connect(api).await.expect("a connection");
    let admin = stage.admin();
    let key = admin.credential().expect("a key");
    let head = format!(
        "POST /api/v1/chat HTTP/1.1\r\nhost: {api}\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: 1099511627776\r\n\r\n"
    );
    socket
        .write_all(head.as_bytes())
        .await
        .expect("a sent head");
    let mut answer = [0; 12];
    let read = socket.read_exact(&mut answer);
    let read = tokio::time::timeout(std::time::Duration::from_secs(10), read).await;
    read.expect("an answer without a body").expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn sec_10_a_deep_body_is_refused_and_breaks_nothing() {
    let admin = Stage::shared().await.admin();
    for reader in &READERS {
        for depth in [33, 4000] {
            for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
                let deep = format!("{}1{}", open.repeat(depth), close.repeat(depth));
                let body = format!(
                    "{},\"surprise\":{deep}}}",
                    reader.good.trim_end_matches('}')
                );
                // The task's input loses its brace too.
                let body = if reader.good.ends_with("}}") {
                    body + "}"
                } else {
                    body
                };
                if body.len() > reader.limit {
                    continue;
                }
                let answer = reader.send(&admin, body).await;
                assert_fault(&answer, "validation_failed", "", reader);
            }
        }
        let unfinished = "[".repeat(10_000);
        let answer = reader.send(&admin, unfinished).await;
        answer.assert_problem(400, "validation_failed");
        assert_eq!(reader.send(&admin, reader.good).await.status, reader.status);
    }
}

#[tokio::test]
async fn sec_10_a_zero_byte_in_a_text_is_no_fault_of_the_platform() {
    let admin = Stage::shared().await.admin();
    for reader in &READERS {
        let body = reader.with(reader.required, json!("a\u{0}b"));
        let answer = reader.send(&admin, body).await;
        assert!(
            answer.status.as_u16() < 500,
            "{}: {}",
            reader.path,
            answer.text
        );
    }
    let task = READERS[1].with("input", json!({"prompt": "a\u{0}b"}));
    let answer = READERS[1].send(&admin, task).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let id = answer.json["id"].as_str().expect("an id");
    assert_eq!(admin.finished(id).await["state"], "succeeded");
    // A turn that was answered is kept, whatever was said in it.
    let answer = READERS[0]
        .send(&admin, READERS[0].with("message", json!("a\u{0}b")))
        .await;
    if answer.status == 200 {
        assert_eq!(answer.json["stored"], true, "{}", answer.text);
    } else {
        assert_fault(&answer, "validation_failed", "/message", &READERS[0]);
    }
}
