#![doc = include_str!("../README.md")]

pub mod code;
pub mod events;
pub mod idempotency;
pub mod ids;
pub mod problem;
pub mod producers;
pub mod status;

pub use code::{Coded, Details, ErrorCode, Violation};
pub use idempotency::is_idempotent;
pub use problem::Problem;
pub use status::{RemoteError, to_status};

/// Serialized `FileDescriptorSet` of every file in `proto/`, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Generated from `proto/platform/v1`.
pub mod platform {
    /// Version 1.
    #[expect(
        clippy::allow_attributes,
        clippy::pedantic,
        missing_docs,
        reason = "generated code"
    )]
    pub mod v1 {
        tonic::include_proto!("platform.v1");
    }
}

/// Generated from `proto/inference/v1`.
pub mod inference {
    /// Version 1.
    #[expect(
        clippy::allow_attributes,
        clippy::pedantic,
        missing_docs,
        reason = "generated code"
    )]
    pub mod v1 {
        tonic::include_proto!("inference.v1");
    }
}

/// Generated from `proto/agents/v1`.
pub mod agents {
    /// Version 1.
    #[expect(
        clippy::allow_attributes,
        clippy::pedantic,
        missing_docs,
        reason = "generated code"
    )]
    pub mod v1 {
        tonic::include_proto!("agents.v1");
    }
}

/// Generated from `proto/tasks/v1`.
pub mod tasks {
    /// Version 1.
    #[expect(
        clippy::allow_attributes,
        clippy::pedantic,
        missing_docs,
        reason = "generated code"
    )]
    pub mod v1 {
        tonic::include_proto!("tasks.v1");
    }
}
