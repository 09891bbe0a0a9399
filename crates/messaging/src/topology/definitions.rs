//! A topology as RabbitMQ's definitions file, for who sets up a broker before the platform runs.

use serde_json::{Map, Value, json};

use super::{Argument, Topology};

/// Renders a topology for the default virtual host. It holds no users: who imports it adds to a
/// broker that has its own.
pub fn render(topology: &Topology) -> String {
    let exchanges: Vec<Value> = topology
        .exchanges
        .iter()
        .map(|exchange| {
            json!({
                "name": exchange.name,
                "vhost": "/",
                "type": exchange.kind.as_str(),
                "durable": true,
                "auto_delete": false,
                "internal": false,
                "arguments": table(exchange.arguments()),
            })
        })
        .collect();
    let queues: Vec<Value> = topology
        .queues
        .iter()
        .map(|queue| {
            json!({
                "name": queue.name,
                "vhost": "/",
                "durable": true,
                "auto_delete": false,
                "arguments": table(queue.arguments()),
            })
        })
        .collect();
    let bindings: Vec<Value> = topology
        .bindings
        .iter()
        .map(|binding| {
            json!({
                "source": binding.exchange,
                "vhost": "/",
                "destination": binding.queue,
                "destination_type": "queue",
                "routing_key": binding.key,
                "arguments": {},
            })
        })
        .collect();
    let definitions = json!({
        "vhosts": [{ "name": "/" }],
        "exchanges": exchanges,
        "queues": queues,
        "bindings": bindings,
    });
    format!("{definitions:#}\n")
}

fn table(arguments: Vec<(&'static str, Argument)>) -> Map<String, Value> {
    let value = |argument| match argument {
        Argument::Text(text) => Value::from(text),
        Argument::Number(number) => Value::from(number),
    };
    arguments
        .into_iter()
        .map(|(name, argument)| (name.to_owned(), value(argument)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology;

    #[test]
    fn tsk_03_the_file_has_everything_and_no_password() {
        let platform = topology::platform();
        let text = render(&platform);
        let file: Value = serde_json::from_str(&text).unwrap();
        for (part, count) in [
            ("exchanges", platform.exchanges.len()),
            ("queues", platform.queues.len()),
            ("bindings", platform.bindings.len()),
        ] {
            assert_eq!(file[part].as_array().unwrap().len(), count, "{part}");
        }
        let events = &file["queues"][2];
        assert_eq!(events["name"], topology::COORDINATOR_EVENTS);
        assert_eq!(
            events["arguments"]["x-dead-letter-strategy"],
            "at-least-once"
        );
        assert_eq!(events["arguments"]["x-delivery-limit"], 5);
        assert!(!text.contains("password") && file.get("users").is_none());
    }
}
