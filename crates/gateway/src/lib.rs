#![doc = include_str!("../README.md")]

pub mod check;
pub mod deadlines;
pub mod drift;
pub mod kong;
pub mod model;
pub mod openapi;
pub mod routes;
