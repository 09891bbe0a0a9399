//! Somebody else's clients at our doors: Python's grpcio, and the official clients of OpenAI and Ollama, over a fake
//! node and over a real Ollama.
//!
//! Their packages come from PyPI: part of `make test`, not of `make test-fast`.

#![expect(
    clippy::expect_used,
    reason = "an expectation that fails is a test that fails"
)]

mod grpc;
mod models;
mod real_ollama;
