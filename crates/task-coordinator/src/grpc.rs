//! The gRPC adapter: translate, one call, translate back.

use std::error::Error as StdError;

use sutazai_auth::{Permission, Principal, grpc::principal};
use sutazai_proto::tasks::v1::{
    dead_letters_server::DeadLettersServer, leases_server::LeasesServer, tasks_server::TasksServer,
};
use sutazai_proto::{Coded, ErrorCode, to_status};
use tonic::{Request, Status, service::Routes};

use crate::dead_letter::DeadLetters;
use crate::error::Error;
use crate::lease::Leases;
use crate::tasks::Tasks;

pub(crate) mod convert;
mod dead_letters;
mod lease;
mod list;
mod place;
pub(crate) mod submission;
mod task;

/// Largest request: an input and what surrounds it, with room.
const LARGEST_REQUEST: usize = 256 * 1024;

/// Returns the calls of this service.
pub(crate) fn routes(tasks: Tasks, leases: Leases, letters: DeadLetters) -> Routes {
    let tasks = TasksServer::new(task::TasksApi(tasks));
    let leases = LeasesServer::new(lease::LeasesApi(leases));
    let letters = DeadLettersServer::new(dead_letters::DeadLettersApi(letters));
    Routes::new(tasks.max_decoding_message_size(LARGEST_REQUEST))
        .add_service(leases)
        .add_service(letters)
}

/// Returns for whom the request is, if they may do this.
fn allowed<T>(request: &Request<T>, permission: Permission) -> Result<Principal, Status> {
    let principal = principal(request)?;
    principal
        .require(permission)
        .map_err(|error| to_status(&error))?;
    Ok(principal)
}

/// Turns an error into the answer. Only here, where it is handled, it is logged.
#[expect(clippy::needless_pass_by_value, reason = "made for `map_err`")]
fn refuse(error: Error) -> Status {
    let cause: &dyn StdError = &error;
    match error.code() {
        ErrorCode::Internal => tracing::error!(error = cause, "request about tasks failed"),
        code if code.policy().trips_breaker => {
            tracing::warn!(
                error = cause,
                reason = error.reason(),
                "request about tasks failed"
            );
        }
        _ => tracing::debug!(error = cause, reason = error.reason(), "request refused"),
    }
    to_status(&error)
}
