//! With Consul there, nobody is told where a service is.

use std::fs;

use sutazai_cli::configuration::{SERVICES, settings};

use crate::platform::shared;

#[tokio::test(flavor = "multi_thread")]
async fn msh_10_no_process_is_told_where_another_service_listens() {
    let platform = shared().await;
    let description = platform.description();
    let doors: Vec<(&String, u16)> = description
        .replicas
        .iter()
        .flat_map(|(service, all)| {
            all.iter()
                .flat_map(move |at| [(service, at.grpc.port()), (service, at.http.port())])
        })
        .collect();
    assert!(doors.len() >= 4 * SERVICES.len(), "{doors:?}");
    for (name, process) in &description.processes {
        let Some(service) = SERVICES
            .iter()
            .find(|service| name.starts_with(service.as_str()))
        else {
            continue;
        };
        let environment =
            fs::read(format!("/proc/{}/environ", process.pid)).expect("its variables");
        let arguments = fs::read(format!("/proc/{}/cmdline", process.pid)).expect("its arguments");
        let told = String::from_utf8_lossy(&environment).into_owned()
            + &String::from_utf8_lossy(&arguments);
        assert!(told.contains("CONSUL_HTTP_ADDR="), "{name}: {told}");
        for (other, port) in doors.iter().filter(|(other, _)| *other != service.as_str()) {
            assert!(
                !told.contains(&format!(":{port}")),
                "{name} is told where {other} listens"
            );
        }
    }
}

#[test]
fn msh_10_no_setting_names_a_service() {
    for service in SERVICES {
        for setting in settings(service) {
            let named = SERVICES.iter().find(|other| {
                let name = other.as_str().replace('-', "_").to_uppercase();
                setting.name.contains(&name)
            });
            assert!(named.is_none(), "{service} reads {}", setting.name);
        }
    }
}
