//! Consul's pages in a browser.

use std::{collections::BTreeMap, fs};

use serde_json::json;
use sutazai_cli::configuration::SERVICES;
use sutazai_mesh::catalog::ServiceName;
use system_tests::{PythonScript, program::target};

use crate::platform::shared;

#[tokio::test(flavor = "multi_thread")]
async fn msh_01_consuls_pages_show_every_service_passing() {
    let platform = shared().await;
    let screenshot = target().join("screenshots/consul.png");
    fs::create_dir_all(screenshot.parent().expect("a folder")).expect("the folder");
    let _ = fs::remove_file(&screenshot);
    let names = SERVICES.map(ServiceName::as_str);
    let script = PythonScript::named("consul_ui.py").await;
    let input = json!({
        "url": format!("{}/ui/", platform.servers().consul),
        "services": names,
        "screenshot": screenshot,
    });
    let shown: BTreeMap<String, Vec<String>> = script.input(input).answer().await;
    for name in names {
        let health = shown.get(name).map(Vec::as_slice);
        assert!(
            health.is_some_and(|marks| marks.contains(&"passing".to_owned())),
            "{name}: {shown:?}"
        );
    }
    let picture = fs::read(&screenshot).expect("the picture of the page");
    assert!(picture.starts_with(b"\x89PNG"), "{screenshot:?}");
}
