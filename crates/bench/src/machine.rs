//! What a run was made on, and with which versions.

use std::{collections::BTreeMap, fs, process::Command};

use sutazai_cli::generate::results::Machine;

use crate::stage::cores;

/// Programs whose version is part of the result, with the words that make them say it.
const PROGRAMS: [(&str, &[&str]); 6] = [
    ("rustc", &["--version"]),
    ("postgres", &["--version"]),
    ("redis-server", &["--version"]),
    ("valgrind", &["--version"]),
    ("strace", &["--version"]),
    ("nginx", &["-v"]),
];

/// Looks at the machine.
pub fn look() -> Machine {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let memory = field(&read("/proc/meminfo"), "MemTotal:");
    let memory = memory
        .split_whitespace()
        .next()
        .and_then(|kib| kib.parse::<u64>().ok());
    Machine {
        cores: cores::count(),
        memory_mib: memory.unwrap_or(0) / 1024,
        processor: field(&read("/proc/cpuinfo"), "model name")
            .trim_start_matches(':')
            .trim()
            .to_owned(),
        system: field(&read("/etc/os-release"), "PRETTY_NAME=")
            .trim_matches('"')
            .to_owned(),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
    }
}

/// Asks the programs for their versions; one that is not there has none.
pub fn versions() -> BTreeMap<String, String> {
    let own = ("sutazai".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    let asked = PROGRAMS.into_iter().filter_map(|(program, words)| {
        let output = Command::new(program).args(words).output().ok()?;
        // Some say it on their standard error.
        let said = [output.stdout, output.stderr].concat();
        let line = String::from_utf8_lossy(&said)
            .lines()
            .next()?
            .trim()
            .to_owned();
        Some((program.to_owned(), line))
    });
    asked.chain([own]).collect()
}

fn field(text: &str, name: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_known() {
        let machine = look();
        assert!(machine.cores > 0 && machine.memory_mib > 0, "{machine:?}");
        assert_eq!(field("a: 1\nMemTotal:  2048 kB\n", "MemTotal:"), "2048 kB");
        assert!(versions().contains_key("sutazai"));
    }
}
