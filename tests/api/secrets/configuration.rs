//! What a service says about its settings, and about those that are wrong.

use sutazai_auth::api_key::ApiKey;
use sutazai_runtime::config::{Configured, Setting, Source, load};

/// Stands in every secret below.
const CANARY: &str = "f3Zp9vQ1xK7mW2rT8yB4nC6dG5hJ0sLa";

/// Settings of all services, with every secret by value.
fn source() -> Source {
    Source::from_pairs([
        ("SUTAZAI_PROFILE", "dev"),
        ("SERVICE_KEY_FILE", "keys/service.pem"),
        ("JWKS_FILE", "jwks.json"),
        ("OLLAMA_URLS", "http://127.0.0.1:11434"),
        ("SECRET_KEY", CANARY),
        ("JWT_SECRET", CANARY),
        ("ADMIN_PASSWORD", CANARY),
    ])
    .with(
        "DATABASE_URL",
        format!("postgres://someone:{CANARY}@127.0.0.1/sutazai"),
    )
}

/// Returns what a service shows of its settings and, where those do not suffice, of their faults.
fn shown<C: Configured>(source: &Source) -> Result<Vec<Setting>, String> {
    match load::<C>(source) {
        Ok(loaded) => Ok(loaded.settings),
        Err(faults) => Err(format!("{faults}\n{faults:?}")),
    }
}

fn of_all(source: &Source) -> [Result<Vec<Setting>, String>; 5] {
    [
        shown::<backend::Config>(source),
        shown::<task_coordinator::Config>(source),
        shown::<agent_orchestrator::Config>(source),
        shown::<ollama_proxy::Config>(source),
        shown::<automation_agent::Config>(source),
    ]
}

#[test]
fn cfg_09_the_effective_configuration_masks_every_secret() {
    let key = ApiKey::generate("dev").expect("a key");
    let source = source().with("ADMIN_API_KEY", key.expose());
    let mut masked = 0;
    for settings in of_all(&source) {
        for setting in settings.expect("a good configuration") {
            let value = setting.value_shown.unwrap_or_default();
            assert!(!value.contains(CANARY), "{} shows its secret", setting.name);
            assert!(
                !value.contains(&key.expose()[12..]),
                "{} shows a key",
                setting.name
            );
            masked += usize::from(setting.secret && !value.is_empty());
        }
    }
    // Four of the backend's own, and the database's URL in four services.
    assert!(masked >= 8, "{masked}");
}

#[test]
fn cfg_09_a_fault_in_a_secret_does_not_repeat_it() {
    let canary = "canary-7f3a";
    for name in [
        "SECRET_KEY",
        "JWT_SECRET",
        "ADMIN_PASSWORD",
        "ADMIN_API_KEY",
        "DATABASE_URL",
    ] {
        let source = source().with(name, canary);
        let faults: Vec<String> = of_all(&source)
            .into_iter()
            .filter_map(Result::err)
            .collect();
        assert!(
            faults.iter().any(|fault| fault.contains(name)),
            "{name}: {faults:?}"
        );
        assert!(
            faults.iter().all(|fault| !fault.contains(canary)),
            "{name}: {faults:?}"
        );
    }
    let source = source().with("OLLAMA_URLS", format!("http://someone:{canary}@node"));
    let faults: Vec<String> = of_all(&source)
        .into_iter()
        .filter_map(Result::err)
        .collect();
    assert!(
        faults.iter().all(|fault| !fault.contains(canary)),
        "{faults:?}"
    );
}
