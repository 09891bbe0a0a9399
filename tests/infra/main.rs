//! The services as processes of their own over real RabbitMQ, Consul, Redis and Postgres.

#![expect(clippy::expect_used, reason = "a test may panic")]

mod addresses;
mod binaries;
mod breakers;
mod cancel;
mod clock;
mod consul;
mod crash;
mod doctor;
mod nodes;
mod own_ollama;
mod pages;
mod platform;
mod replicas;
mod rights;
mod selfcheck;
mod stop;
mod up;
mod work;
