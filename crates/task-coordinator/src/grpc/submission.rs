//! Reads the request for a task, by whichever door it came; all faults come out together.

use std::{collections::BTreeMap, time::Duration};

use chrono::TimeDelta;
use prost::Message;
use ring::digest::{SHA256, digest};
use sutazai_auth::Principal;
use sutazai_proto::Violation;
use sutazai_proto::ids::TaskId;
use sutazai_proto::tasks::v1::{self, CreateTaskRequest};

use super::convert::is_content_type;
use crate::credit::MOST_ATTEMPTS;
use crate::error::Error;
use crate::submission::{
    DEFAULT_PRIORITY, IdempotencyKey, LONGEST_LIFE, Operation, Submission, Submitter,
};
use crate::task::{Payload, TypeName};

/// Content type of an input that names none.
const JSON: &str = "application/json";
const HIGHEST_PRIORITY: u32 = 9;
const KEY_LENGTH: usize = 255;

/// Reads the request of a principal.
///
/// # Errors
/// [`Error::Invalid`] with every fault, [`Error::KeyMalformed`], [`Error::InputTooLarge`].
pub(crate) fn read(
    request: CreateTaskRequest,
    principal: &Principal,
    trace: BTreeMap<String, String>,
    operation: Operation,
) -> Result<Submission, Error> {
    let key = key(&request, operation)?;
    let size = request.input.as_ref().map_or(0, |input| input.data.len());
    if size > Payload::LIMIT {
        return Err(Error::InputTooLarge(size));
    }
    let mut faults = Faults::default();
    let submission = Submission {
        id: TaskId::new(),
        task_type: faults.task_type(request.r#type),
        input: faults.input(request.input),
        priority: faults.priority(request.priority),
        max_attempts: faults.max_attempts(request.max_attempts),
        expires_in: faults.expires_in(request.expires_in),
        key,
        submitter: Submitter {
            tenant: principal.tenant.clone(),
            subject: principal.subject.clone(),
            roles: principal.role_names(),
            scopes: principal.scope_names(),
        },
        trace,
        reply_to: None,
    };
    match faults.0.as_slice() {
        [] => Ok(submission),
        _ => Err(Error::Invalid(faults.0)),
    }
}

/// Reads the key, with what makes another request another one.
fn key(request: &CreateTaskRequest, operation: Operation) -> Result<Option<IdempotencyKey>, Error> {
    let text = &request.idempotency_key;
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > KEY_LENGTH || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Error::KeyMalformed);
    }
    let keyless = CreateTaskRequest {
        idempotency_key: String::new(),
        ..request.clone()
    };
    let fingerprint = digest(&SHA256, &keyless.encode_to_vec()).as_ref().to_vec();
    Ok(Some(IdempotencyKey {
        operation,
        text: text.clone(),
        fingerprint,
    }))
}

/// Reads field by field. A fault is remembered and stood in for, so that reading goes on.
#[derive(Default)]
struct Faults(Vec<Violation>);

impl Faults {
    fn add(&mut self, field: &str, description: impl Into<String>) {
        let violation = Violation {
            field: field.to_owned(),
            description: description.into(),
        };
        self.0.push(violation);
    }

    fn task_type(&mut self, name: String) -> String {
        match name.len() {
            0 => self.add("/type", "is required"),
            1..=TypeName::LENGTH => {}
            _ => self.add("/type", format!("has at most {} bytes", TypeName::LENGTH)),
        }
        name
    }

    fn input(&mut self, input: Option<v1::Payload>) -> Payload {
        let Some(input) = input else {
            self.add("/input", "is required");
            return Payload::default();
        };
        let content_type = match input.content_type.as_str() {
            "" => JSON.to_owned(),
            text => text.to_owned(),
        };
        if !is_content_type(&content_type) {
            self.add("/input", "its content type is not a media type");
        }
        Payload {
            data: input.data,
            content_type,
        }
    }

    fn priority(&mut self, priority: Option<u32>) -> u8 {
        let Some(priority) = priority else {
            return DEFAULT_PRIORITY;
        };
        match u8::try_from(priority) {
            Ok(fits) if priority <= HIGHEST_PRIORITY => fits,
            _ => {
                self.add("/priority", format!("must be from 0 to {HIGHEST_PRIORITY}"));
                DEFAULT_PRIORITY
            }
        }
    }

    fn max_attempts(&mut self, most: Option<u32>) -> Option<u32> {
        if most.is_some_and(|most| !(1..=MOST_ATTEMPTS).contains(&most)) {
            self.add(
                "/max_attempts",
                format!("must be from 1 to {MOST_ATTEMPTS}"),
            );
        }
        most
    }

    fn expires_in(&mut self, length: Option<prost_types::Duration>) -> Option<TimeDelta> {
        let length = Duration::try_from(length?).ok();
        let fits = length.filter(|length| !length.is_zero() && *length <= LONGEST_LIFE);
        if fits.is_none() {
            let most = LONGEST_LIFE.as_secs();
            self.add(
                "/expires_in",
                format!("must be longer than 0 and at most {most} s"),
            );
        }
        TimeDelta::from_std(fits?).ok()
    }
}

#[cfg(test)]
mod tests {
    use sutazai_auth::{Role, principal::DEFAULT_TENANT};
    use sutazai_proto::Coded;

    use super::*;

    fn request() -> CreateTaskRequest {
        CreateTaskRequest {
            r#type: "llm.generate".to_owned(),
            input: Some(v1::Payload {
                data: "{}".into(),
                content_type: String::new(),
            }),
            ..CreateTaskRequest::default()
        }
    }

    fn parse(request: CreateTaskRequest) -> Result<Submission, Error> {
        let principal = Principal {
            subject: "alice".to_owned(),
            tenant: DEFAULT_TENANT.to_owned(),
            roles: vec![Role::User],
            scopes: None,
        };
        read(request, &principal, BTreeMap::new(), Operation::CreateTask)
    }

    #[test]
    fn a_short_request_gets_the_defaults() {
        let submission = parse(request()).unwrap();
        assert_eq!(submission.priority, DEFAULT_PRIORITY);
        assert_eq!(submission.input.content_type, JSON);
        assert_eq!(
            (
                submission.max_attempts,
                submission.expires_in,
                submission.key
            ),
            (None, None, None)
        );
        assert_eq!(submission.submitter.roles, ["user"]);
    }

    #[test]
    fn api_all_faults_come_out_at_once_with_their_pointers() {
        let broken = CreateTaskRequest {
            priority: Some(10),
            max_attempts: Some(21),
            expires_in: Some(prost_types::Duration {
                seconds: -1,
                nanos: 0,
            }),
            ..CreateTaskRequest::default()
        };
        let error = parse(broken).unwrap_err();
        assert_eq!(error.reason(), "validation_failed");
        let fields: Vec<String> = error
            .details()
            .violations
            .into_iter()
            .map(|violation| violation.field)
            .collect();
        assert_eq!(
            fields,
            [
                "/type",
                "/input",
                "/priority",
                "/max_attempts",
                "/expires_in"
            ]
        );
    }

    #[test]
    fn an_input_may_have_64_kib_and_not_a_byte_more() {
        let sized = |size: usize| {
            let input = v1::Payload {
                data: vec![b' '; size].into(),
                content_type: JSON.to_owned(),
            };
            parse(CreateTaskRequest {
                input: Some(input),
                ..request()
            })
        };
        assert!(sized(Payload::LIMIT).is_ok());
        let error = sized(Payload::LIMIT + 1).unwrap_err();
        assert_eq!(
            (error.reason(), error.code().policy().http.as_u16()),
            ("body_too_large", 413)
        );
    }

    #[test]
    fn a_key_is_visible_ascii_and_does_not_count_for_the_fingerprint() {
        let keyed = |key: &str| {
            parse(CreateTaskRequest {
                idempotency_key: key.to_owned(),
                ..request()
            })
        };
        let (one, other) = (keyed("one").unwrap(), keyed("other").unwrap());
        assert_eq!(one.key.unwrap().fingerprint, other.key.unwrap().fingerprint);
        let another_body = CreateTaskRequest {
            idempotency_key: "one".to_owned(),
            priority: Some(DEFAULT_PRIORITY.into()),
            ..request()
        };
        assert_ne!(
            parse(another_body).unwrap().key.unwrap().fingerprint,
            keyed("one").unwrap().key.unwrap().fingerprint,
        );
        for malformed in [" ", "a b", "ä", &"x".repeat(KEY_LENGTH + 1)] {
            let error = keyed(malformed).unwrap_err();
            assert_eq!(error.reason(), "idempotency_key_malformed", "{malformed:?}");
        }
    }
}
