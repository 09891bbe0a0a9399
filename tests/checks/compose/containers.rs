//! What every container has, and what none may do (TGT-12, OPS-01).

use serde_json::Value;

use super::{Compose, texts};

/// Tags that other files decide about: where the tag stands after, and in which file.
const PINNED: [(&str, &str, &str); 3] = [
    (
        "hashicorp/consul",
        "crates/servers/programs/consul/go.mod",
        "github.com/hashicorp/consul v",
    ),
    (
        "ollama/ollama",
        "crates/servers/programs/ollama/go.mod",
        "github.com/ollama/ollama v",
    ),
    ("sutazai", "Cargo.toml", "version = \""),
];
/// The gateway that the configuration was written for.
const KONG: (&str, &str) = ("kong", sutazai_gateway::kong::VERSION);

pub(super) fn faults(compose: &Compose<'_>) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, service) in compose.services() {
        faults.extend(
            life(service)
                .into_iter()
                .map(|fault| format!("{name} {fault}")),
        );
        faults.extend(
            walls(service)
                .into_iter()
                .map(|fault| format!("{name} {fault}")),
        );
        faults.extend(image(compose, name, service));
    }
    for (name, program) in compose.programs() {
        let user = program["user"].as_str().unwrap_or_default();
        if !user.starts_with("${SUTAZAI_UID:-1000}:") {
            faults.push(format!(
                "{name} runs as root, or as nobody who may read its secrets"
            ));
        }
    }
    faults
}

/// Nothing runs without a limit; what goes on running is asked for its health and started again.
fn life(service: &Value) -> Vec<&'static str> {
    let limits = &service["deploy"]["resources"]["limits"];
    let unlimited = ["cpus", "memory", "pids"]
        .iter()
        .any(|limit| limits[limit].is_null());
    let restart = service["restart"].as_str();
    let ends = restart == Some("no");
    let mut faults = Vec::new();
    if unlimited {
        faults.push("has no limit of processor, memory or processes");
    }
    if !ends && service["healthcheck"]["test"].is_null() {
        faults.push("has no health check");
    }
    if !ends && restart != Some("unless-stopped") {
        faults.push("does not say when it starts again");
    }
    faults
}

fn walls(service: &Value) -> Vec<&'static str> {
    let holds = |list: &str, text: &str| texts(&service[list]).any(|found| found == text);
    let mut faults = Vec::new();
    if service["read_only"] != true {
        faults.push("writes to its image");
    }
    if !holds("cap_drop", "ALL") {
        faults.push("keeps capabilities that it does not name");
    }
    if !holds("security_opt", "no-new-privileges:true") {
        faults.push("may gain privileges");
    }
    faults
}

/// Every image is a version, and the one that the rest of the repository speaks of.
fn image(compose: &Compose<'_>, name: &str, service: &Value) -> Option<String> {
    let image = service["image"].as_str().unwrap_or_default();
    let (image_name, tag) = image.split_once(':').unwrap_or((image, ""));
    let version = tag.split('-').next().unwrap_or_default();
    let parts = version.split('.');
    if parts.clone().count() < 2 || !parts.into_iter().all(|part| part.parse::<u32>().is_ok()) {
        return Some(format!("{name} has the image {image}, which is no version"));
    }
    let wanted = match PINNED.iter().find(|(known, ..)| *known == image_name) {
        Some((_, file, before)) => {
            let text = compose.tree.text(file).expect(file);
            let at = text.find(before).expect(before) + before.len();
            let digits = |c: char| c.is_ascii_digit() || c == '.';
            let end = text[at..].find(|c| !digits(c)).unwrap_or_default();
            &text[at..at + end]
        }
        None if image_name == KONG.0 => KONG.1,
        None => return None,
    };
    (version != wanted).then(|| format!("{name} has {image}, but {wanted} is spoken of elsewhere"))
}
