use proptest::prelude::*;
use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::traces;

const TRACEPARENT: &str = "traceparent";

/// Runs `work` in a process that has spans but nobody who reads them.
fn traced<T>(work: impl FnOnce() -> T) -> T {
    let subscriber = tracing_subscriber::registry().with(traces::layer(None));
    tracing::subscriber::with_default(subscriber, work)
}

/// Passes a span on to the next process and returns what that one passes on.
fn hop(headers: &HeaderMap) -> (Option<String>, HeaderMap) {
    traced(|| {
        let span = tracing::info_span!("server");
        set_parent(&span, "backend", headers);
        span.in_scope(|| {
            let mut next = HeaderMap::new();
            inject(&mut next);
            (trace_id(), next)
        })
    })
}

fn part(headers: &HeaderMap, index: usize) -> String {
    let value = headers[TRACEPARENT].to_str().unwrap();
    value.split('-').nth(index).unwrap().to_owned()
}

#[test]
fn obs_02_one_trace_goes_through_three_processes() {
    let (first, a) = hop(&HeaderMap::new());
    let (second, b) = hop(&a);
    let (third, c) = hop(&b);
    assert_eq!(first.as_ref().map(String::len), Some(32));
    assert_eq!(first, second);
    assert_eq!(second, third);
    let spans = [part(&a, 2), part(&b, 2), part(&c, 2)];
    assert!(spans[0] != spans[1] && spans[1] != spans[2], "{spans:?}");
}

#[test]
fn obs_02_messages_carry_the_trace_as_requests_do() {
    let (sent, mut headers) = traced(|| {
        let _span = tracing::info_span!("publish").entered();
        let mut headers = BTreeMap::new();
        inject_map(&mut headers);
        (trace_id(), headers)
    });
    headers.insert("ce-id".to_owned(), "1".to_owned());
    let received = traced(|| {
        let span = tracing::info_span!("consume");
        set_parent_from_map(&span, &headers);
        span.in_scope(trace_id)
    });
    assert!(sent.is_some());
    assert_eq!(sent, received);
}

#[test]
fn without_a_span_nothing_is_passed_on() {
    let mut headers = HeaderMap::new();
    inject(&mut headers);
    assert!(headers.is_empty());
    assert_eq!(trace_id(), None);
}

proptest! {
    #[test]
    fn trace_state_and_sampling_of_the_caller_survive(trace in 1_u128.., span in 1_u64.., sampled: bool) {
        let flags = u8::from(sampled);
        let mut headers = HeaderMap::new();
        let value = format!("00-{trace:032x}-{span:016x}-{flags:02x}");
        headers.insert(TRACEPARENT, value.parse().unwrap());
        headers.insert("tracestate", HeaderValue::from_static("vendor=value"));
        let (id, next) = hop(&headers);
        prop_assert_eq!(id, Some(format!("{trace:032x}")));
        prop_assert_eq!(part(&next, 1), format!("{trace:032x}"));
        prop_assert_eq!(part(&next, 3), format!("{flags:02x}"));
        prop_assert_eq!(&next["tracestate"], "vendor=value");
    }

    #[test]
    fn a_malformed_parent_begins_a_trace(text in "[ -~]{0,60}") {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_str(&text).unwrap());
        let (id, _) = hop(&headers);
        prop_assert_eq!(id.map(|id| id.len()), Some(32));
    }
}
