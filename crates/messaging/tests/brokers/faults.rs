//! What happens to RabbitMQ in real life.

mod answers;
mod network;
mod node;
mod proxy;
mod topology;
