#![doc = include_str!("../README.md")]

pub mod postgres;
pub mod rabbitmq;
pub mod redis;
pub mod scratch;

mod account;
mod child;
mod orphan;
