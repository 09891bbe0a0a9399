//! How long the gateway waits: the outermost rung of the ladder, so the longest on each path.

use std::time::Duration;

/// For a connection, for the next piece of a request, and for the next piece of an ordinary answer.
pub const ORDINARY: Duration = Duration::from_secs(60);

/// Longest time that the platform works on one answer of a model. An answer that is not streamed
/// stays silent until its end.
pub const INFERENCE_TOTAL: Duration = Duration::from_secs(600);

/// For the next piece of a model's answer: longer than all that the platform does behind it, so
/// that the caller gets the platform's own error and never the gateway's.
pub const STREAMING: Duration = Duration::from_secs(INFERENCE_TOTAL.as_secs() + 20);

/// Tries after the first, for ordinary and streaming entities alike: Kong tries a refused
/// connection again for every method, and a request that was sent only for idempotent ones.
pub const RETRIES: u16 = 5;

/// Pause between two health checks of an instance.
pub const HEALTH_CHECK_PAUSE: Duration = Duration::from_secs(30);
