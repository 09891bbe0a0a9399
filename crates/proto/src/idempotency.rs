//! Which calls may be made again when their answer was lost: the contracts say so.

use std::{collections::BTreeSet, sync::LazyLock};

use prost::Message;
use prost_types::{FileDescriptorSet, MethodOptions, method_options::IdempotencyLevel};

use crate::DESCRIPTORS;

static IDEMPOTENT: LazyLock<BTreeSet<String>> = LazyLock::new(read);

/// Tells whether a call, by its path such as `/tasks.v1.Tasks/GetTask`, may be made again.
///
/// The contract of the call says so with `idempotency_level`. A call whose request is a stream can
/// not be repeated and is never one.
pub fn is_idempotent(path: &str) -> bool {
    IDEMPOTENT.contains(path)
}

fn read() -> BTreeSet<String> {
    // Our own build wrote them; were they broken, no call would be repeated.
    let files = FileDescriptorSet::decode(DESCRIPTORS)
        .unwrap_or_default()
        .file;
    let mut paths = BTreeSet::new();
    for file in &files {
        for service in &file.service {
            for method in &service.method {
                let level = method
                    .options
                    .as_ref()
                    .map(MethodOptions::idempotency_level);
                let once = matches!(level, None | Some(IdempotencyLevel::IdempotencyUnknown));
                if !once && !method.client_streaming() {
                    let (package, service) = (file.package(), service.name());
                    paths.insert(format!("/{package}.{service}/{}", method.name()));
                }
            }
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contracts_say_which_calls_may_be_made_again() {
        for path in [
            "/tasks.v1.Tasks/GetTask",
            "/tasks.v1.Tasks/CancelTask",
            "/agents.v1.Agents/GetAgent",
            "/inference.v1.Inference/ListModels",
            "/platform.v1.Diagnostics/Breakers",
        ] {
            assert!(is_idempotent(path), "{path}");
        }
        for path in [
            "/tasks.v1.Tasks/CreateTask",
            "/tasks.v1.Leases/Claim",
            "/inference.v1.Inference/Chat",
            "/grpc.health.v1.Health/Check",
            "/no.such.Service/Call",
        ] {
            assert!(!is_idempotent(path), "{path}");
        }
    }
}
