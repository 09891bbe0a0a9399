#![doc = include_str!("../README.md")]

pub mod ollama;
pub mod otlp;
