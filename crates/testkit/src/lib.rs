#![doc = include_str!("../README.md")]

pub mod consul;
pub mod docker;
pub mod kong;
pub mod ollama;
pub mod otlp;
