//! What people see of the running platform: a table of addresses, and where the credentials are.

use crate::{screen::Screen, site::Description};

/// Prints where everything is.
pub(super) fn print(description: &Description, screen: &Screen) {
    if screen.is_json() {
        let commands: std::collections::BTreeMap<_, _> = description.commands().into();
        screen.event(
            &serde_json::json!({"event": "ready", "platform": description, "commands": commands}),
        );
        return;
    }
    screen.line("");
    for (name, value, credential) in rows(description) {
        screen.line(format!("  {name:<24} {value:<34} {credential}"));
    }
    screen.line("");
    for (service, instances) in &description.replicas {
        for at in instances {
            screen.line(format!(
                "  {service:<24} http {}  grpc {}",
                at.http, at.grpc
            ));
        }
    }
    screen.line("");
    for (name, process) in &description.processes {
        let restarts = match process.restarts {
            0 => String::new(),
            times => format!(", started again {times} times"),
        };
        screen.line(format!("  {name:<24} process {}{restarts}", process.pid));
    }
    for (what, command) in description.commands() {
        screen.line(format!("\n{}", screen.bold(&format!("  {what}:"))));
        screen.line(command);
    }
    screen.line("\n`sutazai logs -f` follows it, `sutazai down` stops it; what was stored stays.");
}

/// Rows of name, address and where its credential is.
fn rows(description: &Description) -> Vec<(&'static str, String, String)> {
    let key = format!("key in {}", description.api_key_file.display());
    let mut rows = vec![
        ("API", description.api.clone(), key),
        (
            "Documentation",
            format!("{}/docs", description.api),
            String::new(),
        ),
        (
            "Models (Ollama, OpenAI)",
            description.models.clone(),
            String::new(),
        ),
        ("Model node", description.nodes.join(", "), String::new()),
        (
            "Postgres",
            format!("127.0.0.1:{}", description.postgres_port),
            format!(
                "passwords in {}",
                description.keys.with_file_name("secrets").display()
            ),
        ),
    ];
    if let Some(gateway) = &description.gateway {
        let admin = format!("admin API {}", gateway.admin);
        rows.push(("Gateway (Kong)", gateway.proxy.clone(), admin));
    }
    if let Some(servers) = &description.servers {
        let login = format!(
            "user {}, password in {}",
            servers.rabbitmq_user,
            servers.rabbitmq_password_file.display()
        );
        let redis = format!("password in {}", servers.redis_password_file.display());
        rows.extend([
            (
                "Consul's pages",
                format!("{}/ui", servers.consul),
                format!(
                    "to look at without a token; tokens in {}",
                    servers
                        .consul_token_file
                        .with_file_name("consul-*")
                        .display()
                ),
            ),
            ("RabbitMQ's pages", servers.rabbitmq.clone(), login.clone()),
            (
                "RabbitMQ",
                format!("127.0.0.1:{}", servers.amqp_port),
                login,
            ),
            ("Redis", format!("127.0.0.1:{}", servers.redis_port), redis),
        ]);
    }
    rows
}
