//! Networks that are used as they are meant, and waits that end.

use super::{Compose, entries, keys};

pub(super) fn faults(compose: &Compose<'_>) -> Vec<String> {
    [networks(compose), order(compose)].concat()
}

/// Networks are declared and used. A service finds its own address by its only way out; a port on
/// the host leads in by the only way out.
fn networks(compose: &Compose<'_>) -> Vec<String> {
    let declared = &compose.root["networks"];
    let mut faults = Vec::new();
    let mut unused = keys(declared);
    for (name, container) in compose.services() {
        let used = keys(&container["networks"]);
        for network in &used {
            unused.remove(network);
            if declared[network].is_null() {
                faults.push(format!("{name} is in the network {network}, which is none"));
            }
        }
        let out = used
            .iter()
            .filter(|network| declared[**network]["internal"] != true)
            .count();
        if out > 1 {
            faults.push(format!(
                "{name} has {out} ways out, so its address is not known"
            ));
        }
        if out == 0 && !container["ports"].is_null() {
            faults.push(format!("{name} has a port on the host, and no way out"));
        }
    }
    faults.extend(
        unused
            .iter()
            .map(|network| format!("nobody is in {network}")),
    );
    faults
}

/// Who waits for another waits for something that comes.
fn order(compose: &Compose<'_>) -> Vec<String> {
    let containers = &compose.root["services"];
    let mut faults = Vec::new();
    for (name, container) in compose.services() {
        for (other, wait) in entries(&container["depends_on"]) {
            let comes = match wait["condition"].as_str() {
                Some("service_healthy") => !containers[other]["healthcheck"].is_null(),
                Some("service_completed_successfully") => containers[other]["restart"] == "no",
                _ => false,
            };
            if !comes || !containers[other]["profiles"].is_null() {
                faults.push(format!("{name} waits for {other} in vain"));
            }
        }
    }
    faults
}
