#![doc = include_str!("../README.md")]

pub mod consul;
pub mod moved;
pub mod ollama;
pub mod passage;
pub mod postgres;
pub mod process;
pub mod programs;
pub mod rabbitmq;
pub mod redis;
pub mod scratch;

mod account;
mod child;
mod orphan;
mod probe;
mod start;

pub use start::LaunchError;
