//! ollama-proxy as a running service, over fake nodes.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod access;
mod grpc;
mod harness;
mod native;
mod openai;
mod streaming;
