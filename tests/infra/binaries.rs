//! The program of each service, without a single setting.

use std::{
    process::{Command, Output},
    time::{Duration, Instant},
};

use sutazai_cli::configuration::SERVICES;
use system_tests::program::{build, programs};

/// Longest time for a refusal.
const LIMIT: Duration = Duration::from_secs(2);

fn run(service: &str, argument: Option<&str>) -> Output {
    let mut command = Command::new(programs().join(service));
    let output = command.args(argument).env_clear().output();
    output.expect("the program runs")
}

#[test]
fn cfg_01_each_program_names_all_that_is_missing_and_never_a_stack() {
    build(&["--bins"]);
    for service in SERVICES {
        let name = service.as_str();
        let begun = Instant::now();
        let output = run(name, None);
        assert!(begun.elapsed() < LIMIT, "{name} thought for too long");
        assert_eq!(output.status.code(), Some(78), "{name}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        for setting in ["SERVICE_KEY_FILE", "JWKS_FILE", "CONSUL_HTTP_ADDR"] {
            assert!(
                said.contains(setting),
                "{name} does not name {setting}: {said}"
            );
        }
        assert!(
            !said.contains("panicked") && !said.contains("backtrace"),
            "{said}"
        );

        for (argument, shown) in [
            ("--version", env!("CARGO_PKG_VERSION")),
            ("--help", "--selfcheck"),
        ] {
            let output = run(name, Some(argument));
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(
                output.status.success() && said.contains(shown),
                "{name}: {said}"
            );
        }
    }
}
