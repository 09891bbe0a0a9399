//! Why a call brought no answer from its callee.

use std::{sync::Arc, time::Duration};

use sutazai_proto::{Coded, Details, ErrorCode};

use super::link::ConnectError;
use crate::catalog::ServiceName;
use crate::registry::InstanceId;

/// Why a call brought no answer from its callee.
///
/// Callers meet it as a gRPC status with this code and reason.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// The call graph has no such edge.
    #[error("{from} may not call {to}")]
    OutsideCallGraph {
        /// Who called.
        from: ServiceName,
        /// Whom.
        to: ServiceName,
    },
    /// The registry knows no instance.
    #[error("no instance of {0} is live")]
    NoLiveInstance(ServiceName),
    /// The breaker of each instance that could be asked is open.
    #[error("every instance of {to} failed too often")]
    Open {
        /// Whom.
        to: ServiceName,
        /// When the first of them may be tried again.
        retry_after: Duration,
    },
    /// No connection to the last instance that could be asked; nothing was sent.
    #[error("can not connect to {instance}")]
    Unreachable {
        /// Which one.
        instance: InstanceId,
        /// What was tried and failed.
        source: Arc<ConnectError>,
    },
    /// The instance did not take the call: its connection ended before, or it says so itself.
    #[error("{instance} did not take the call")]
    NotTaken {
        /// Which one.
        instance: InstanceId,
        /// How that is known.
        source: hyper::Error,
    },
    /// At the address of the instance another service answers; it refused the call.
    #[error("another service answers at the address of {instance}")]
    WrongService {
        /// Which one.
        instance: InstanceId,
    },
    /// The connection broke before the answer; whether the call had an effect is unknown.
    #[error("the connection to {instance} broke")]
    Lost {
        /// Whose.
        instance: InstanceId,
        /// How it broke.
        source: hyper::Error,
    },
    /// The time allowed for the call is over.
    #[error("{0} did not answer in the time that was left")]
    DeadlineExceeded(ServiceName),
}

impl Coded for EdgeError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::OutsideCallGraph { .. } => ErrorCode::Internal,
            Self::DeadlineExceeded(_) => ErrorCode::DeadlineExceeded,
            Self::NoLiveInstance(_)
            | Self::Open { .. }
            | Self::Unreachable { .. }
            | Self::NotTaken { .. }
            | Self::WrongService { .. }
            | Self::Lost { .. } => ErrorCode::Unavailable,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::OutsideCallGraph { .. } => "outside_call_graph",
            Self::NoLiveInstance(_) => "no_live_instance",
            Self::Open { .. } => "breaker_open",
            Self::Unreachable { .. } | Self::NotTaken { .. } | Self::WrongService { .. } => {
                "instance_unreachable"
            }
            Self::Lost { .. } => "connection_lost",
            Self::DeadlineExceeded(_) => "deadline_exceeded",
        }
    }

    fn details(&self) -> Details {
        match self {
            Self::Open { retry_after, .. } => Details {
                retry_after: Some(*retry_after),
                ..Details::default()
            },
            _ => Details::default(),
        }
    }
}
