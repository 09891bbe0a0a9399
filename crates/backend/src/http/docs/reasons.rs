//! `/docs/errors`: what every `code` of a problem document means and what to do about it.

use std::fmt::Write;

/// One `code`: its name, its HTTP status, what it means and what helps.
pub(in crate::http) type Reason = (&'static str, u16, &'static str);

/// Every `code` that the API answers with.
#[rustfmt::skip]
pub(in crate::http) const REASONS: &[Reason] = &[
    ("validation_failed", 400, "A value has the wrong type or lies outside its bounds. `errors` names each by JSON Pointer or parameter."),
    ("unknown_field", 400, "The body or the query has a member that the operation does not know. `errors` names it."),
    ("invalid_json", 400, "The body is not JSON."),
    ("invalid_utf8", 400, "The body is not UTF-8."),
    ("body_incomplete", 400, "The connection broke before the whole body had arrived. Send it again."),
    ("invalid_id", 400, "An id has a form that nothing can have."),
    ("invalid_cursor", 400, "The cursor is not one of this list, or was changed. Begin again without a cursor."),
    ("idempotency_key_malformed", 400, "The `Idempotency-Key` header is no structured field string of 1 to 255 visible ASCII characters."),
    ("missing_credential", 401, "The operation needs a credential. Send `Authorization: Bearer` with a token or an API key."),
    ("invalid_credential", 401, "The credential does not hold here. Log in again, or make another API key."),
    ("expired_credential", 401, "The credential has expired. Log in again, or make another API key."),
    ("missing_permission", 403, "The credential is good, but does not allow this operation."),
    ("caller_not_allowed", 403, "One service called another that it may not call. This is a fault of the platform."),
    ("loopback_only", 403, "The route is open on the machine itself only."),
    ("route_not_found", 404, "The API has no such path."),
    ("conversation_not_found", 404, "The caller has no conversation with this id."),
    ("api_key_not_found", 404, "The caller has no API key with this id."),
    ("task_not_found", 404, "The tenant has no task with this id."),
    ("dead_letter_not_found", 404, "There is no dead letter with this id: it was removed, by somebody or by its age."),
    ("agent_not_found", 404, "No agent ever announced itself by this name."),
    ("breaker_not_found", 404, "No live instance has a circuit breaker of this name. `GET /api/v1/circuit-breaker` lists them."),
    ("instance_not_found", 404, "No live instance has this id. `GET /api/v1/system/status` lists them."),
    ("cache_entry_not_found", 404, "No level of the cache has an entry of this name."),
    ("model_not_found", 404, "No node has the model. `facts.near_names` lists names that are close."),
    ("method_not_allowed", 405, "The path exists, but not with this method. `Allow` lists the ones it has."),
    ("body_timeout", 408, "The body did not arrive in time."),
    ("conflict", 409, "The state of the thing forbids this now."),
    ("idempotency_key_in_flight", 409, "A request with the same key is being worked on. Send it again in a moment."),
    ("redrive_in_flight", 409, "Somebody sends the message again at this moment. Look again after `Retry-After`."),
    ("queue_gone", 409, "The queue where the message died is gone. It comes back with a worker that serves it."),
    ("body_too_large", 413, "The body, or one part of it, is larger than its limit."),
    ("unsupported_media_type", 415, "The body has to be sent as `application/json`."),
    ("unknown_task_type", 422, "No worker ever brought this task type. `GET /api/v1/tasks/types` lists the known ones."),
    ("idempotency_key_reused", 422, "The key belongs to an earlier request with another body. Use another key."),
    ("dead_letter_incomplete", 422, "Only a part of the message was kept, because it is larger than 1 MiB. It can not be sent again."),
    ("rate_limited", 429, "The caller asked too often. `RateLimit` says what is left; come back after `Retry-After`."),
    ("queue_full", 429, "Too many requests wait for a model. Come back after `Retry-After`."),
    ("login_busy", 429, "Too many logins are being checked. Come back after `Retry-After`."),
    ("internal", 500, "A fault of the platform. `request_id` and `trace_id` find it in the logs."),
    ("outside_call_graph", 500, "One service called another that it may not call. This is a fault of the platform."),
    ("node_failed", 502, "The node that ran the model answered with an error."),
    ("empty_answer", 502, "The model gave an empty answer, twice."),
    ("broken_stream", 502, "A stream inside the platform ended out of order."),
    ("incomplete_answer", 502, "A service of the platform left out a part of its answer."),
    ("answer_too_long", 502, "The answer grew beyond every bound and was given up. Ask with `max_tokens`."),
    ("no_model", 503, "No node has a model. `detail` says how to pull one."),
    ("node_unreachable", 503, "No node answers."),
    ("no_live_instance", 503, "A service of the platform is not running or just starting."),
    ("instance_unreachable", 503, "A service of the platform is registered and does not answer."),
    ("instances_silent", 503, "Nobody who answered has it, and some instances did not answer. The same request may work later."),
    ("connection_lost", 503, "The connection to a service of the platform broke. The same request may work now."),
    ("service_stopping", 503, "A service of the platform is stopping. Another instance or its successor will answer."),
    ("shutting_down", 503, "The process is stopping. Another instance or its successor will answer."),
    ("not_ready", 503, "The process is starting or stopping, or a part that it needs is down."),
    ("stopping", 503, "The process is stopping. Another instance or its successor will answer."),
    ("queue_timeout", 503, "No node had a free slot in time. Come back after `Retry-After`."),
    ("breaker_open", 503, "A part failed several times in a row and is left alone for a moment. Come back after `Retry-After`."),
    ("database_unavailable", 503, "The database does not answer."),
    ("redis_unavailable", 503, "Redis does not answer. What was to be forgotten is forgotten here, and by the others as soon as it is back."),
    ("broker_unavailable", 503, "The message broker does not answer."),
    ("unavailable", 503, "A part of the platform is down or starting. The same request may work later."),
    ("first_token_timeout", 504, "The model did not begin to answer in time."),
    ("silence_timeout", 504, "The model stopped in the middle of its answer."),
    ("total_timeout", 504, "The answer took longer than any answer may."),
    ("deadline_exceeded", 504, "The request took longer than it was given."),
];

/// Renders the page.
pub(super) fn page() -> String {
    let mut list = String::new();
    for (name, status, meaning) in REASONS {
        // Writing to a String can not fail. No text of the table needs escaping.
        let _ = writeln!(
            list,
            "<dt id=\"{name}\">{name} <span class=\"badge\">{status}</span></dt><dd>{}</dd>",
            code_marks(meaning)
        );
    }
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>SutazAI API errors</title><link rel=\"stylesheet\" href=\"/redoc/style.css\"></head>\n\
         <body class=\"page\"><main><h1>Errors</h1><p>Every error is a problem document (RFC 9457, \
         <code>application/problem+json</code>). Its <code>code</code> is stable; its <code>type</code> \
         leads here.</p>\n<dl class=\"reasons\">\n{list}</dl></main></body></html>\n"
    )
}

/// Turns `code` between backquotes into its element.
fn code_marks(text: &str) -> String {
    let pieces = text
        .split('`')
        .enumerate()
        .map(|(index, piece)| match index % 2 {
            0 => piece.to_owned(),
            _ => format!("<code>{piece}</code>"),
        });
    pieces.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use sutazai_proto::Coded;

    use super::*;
    use crate::{cursor::InvalidCursor, error::Error, http::input::InputError};

    #[test]
    fn every_reason_is_listed_once_with_an_anchor() {
        let names: BTreeSet<_> = REASONS.iter().map(|(name, ..)| name).collect();
        assert_eq!(names.len(), REASONS.len());
        let page = page();
        for name in names {
            assert!(page.contains(&format!("<dt id=\"{name}\">")), "{name}");
        }
        assert!(!page.contains('`'), "a backquote is left open");
    }

    #[test]
    fn the_reasons_of_this_service_are_listed_with_their_status() {
        let text = String::new;
        let errors: Vec<Box<dyn Coded>> = vec![
            Box::new(InputError::TooLarge {
                what: "the body",
                limit: 1,
            }),
            Box::new(InputError::Cut),
            Box::new(InputError::Utf8 { at: 0 }),
            Box::new(InputError::Syntax(text())),
            Box::new(InputError::UnknownField {
                pointer: text(),
                detail: text(),
            }),
            Box::new(InputError::invalid("", "")),
            Box::new(InputError::Id {
                parameter: "id",
                detail: text(),
            }),
            Box::new(InputError::IdempotencyKey("")),
            Box::new(InvalidCursor),
            Box::new(Error::ConversationNotFound),
            Box::new(Error::KeyNotFound),
            Box::new(Error::BreakerNotFound),
            Box::new(Error::InstanceNotFound),
            Box::new(Error::InstancesSilent),
            Box::new(Error::KeyNotMade),
            Box::new(Error::AnswerTooLong { limit: 1 }),
            Box::new(Error::BrokenStream),
            Box::new(Error::IncompleteAnswer),
            Box::new(Error::DeadlineExceeded),
        ];
        for error in errors {
            let row = REASONS.iter().find(|(name, ..)| *name == error.reason());
            let status = row.map(|(_, status, _)| *status);
            assert_eq!(
                status,
                Some(error.code().policy().http.as_u16()),
                "{error:?}"
            );
        }
    }

    #[test]
    fn the_reasons_need_no_escaping() {
        for (name, status, meaning) in REASONS {
            assert!(!meaning.contains(['<', '>', '&', '"']), "{name}");
            assert!((400..600).contains(status), "{name}");
        }
    }
}
