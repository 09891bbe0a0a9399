//! Stories across the services: everything real but the model nodes.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "an expectation that fails is a test that fails"
)]

mod agents;
mod automation;
mod chat;
mod deadline;
mod doctor;
mod drain;
mod effects;
mod grpc;
mod producers;
mod restart;
mod tasks;
