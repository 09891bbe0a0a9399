//! What the file, and what it is built from, have to be.

use std::collections::BTreeSet;

use super::{IGNORE, Image};

/// Where the program is in the image.
const PROGRAM: &str = "/usr/local/bin/sutazai";

/// What every build reads.
const WORKSPACE: [&str; 6] = [
    "Cargo.toml",
    "Cargo.lock",
    "rust-toolchain.toml",
    "crates",
    "tests",
    "proto",
];

impl Image<'_> {
    pub(super) fn faults(&self) -> Vec<String> {
        [self.stages(), self.program(), self.context()].concat()
    }

    /// A pinned compiler builds; the image itself begins empty and ends as nobody.
    fn stages(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let toolchain = self.tree.text("rust-toolchain.toml").expect("toolchain");
        let version = toolchain.split('"').nth(1).unwrap_or_default();
        match self.all("FROM").as_slice() {
            [build, "scratch"] if build.starts_with(&format!("rust:{version}-")) => {}
            stages => faults.push(format!(
                "stages {stages:?}: not Rust {version}, then nothing"
            )),
        }
        if !self.all("ENV")[0].contains(&format!("RUSTUP_TOOLCHAIN={version}")) {
            faults.push("the image's own toolchain is not used".to_owned());
        }
        let user = self.all("USER").last().copied().unwrap_or_default();
        let parts = user.split(':');
        if parts.clone().count() != 2
            || parts.into_iter().any(|id| id.parse().unwrap_or(0_u32) == 0)
        {
            faults.push(format!(
                "the image runs as `{user}`, not as a number that is not root's"
            ));
        }
        faults
    }

    /// The program is built by a profile that exists, and is what the image starts.
    fn program(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let build = self.build();
        let after = |flag| word_after(&build, flag);
        let manifest = self.tree.text("Cargo.toml").expect("Cargo.toml");
        let profile = after("--profile").unwrap_or_default();
        if !manifest.contains(&format!("\n[profile.{profile}]")) {
            faults.push(format!("`{profile}` is no profile"));
        }
        let cli = self.tree.text("crates/cli/Cargo.toml").expect("cli");
        let bin = after("--bin").unwrap_or_default();
        if !cli.contains(&format!("[[bin]]\nname = \"{bin}\"")) || !PROGRAM.ends_with(bin) {
            faults.push(format!("`{bin}` is no program"));
        }
        if !build.contains(&"--locked") {
            faults.push("the versions of packages are not those of Cargo.lock".to_owned());
        }
        if self.all("ENTRYPOINT") != [format!("[\"{PROGRAM}\"]")] {
            faults.push(format!("the image does not start {PROGRAM}"));
        }
        faults
    }

    /// Returns the words of the command that builds the program.
    fn build(&self) -> Vec<&str> {
        let runs = self.all("RUN").into_iter();
        runs.filter(|run| run.contains("cargo build"))
            .flat_map(str::split_whitespace)
            .collect()
    }

    /// Only named folders reach the build: all with sources, none with a secret.
    fn context(&self) -> Vec<String> {
        let lines = self.tree.text(IGNORE).expect(IGNORE).lines();
        let lines: Vec<&str> = lines.filter(|line| !line.starts_with('#')).collect();
        let mut faults = Vec::new();
        if lines.first() != Some(&"*") {
            faults.push("everything reaches the build unless it is named".to_owned());
        }
        let let_in: BTreeSet<&str> = lines
            .iter()
            .filter_map(|line| line.strip_prefix('!'))
            .collect();
        for needed in self.needed() {
            if !let_in.contains(needed.as_str()) {
                faults.push(format!("{needed} does not reach the build"));
            }
        }
        let secret = let_in.iter().find(|path| {
            [".env", ".run", "secrets", "target"]
                .iter()
                .any(|kept| path.starts_with(kept))
        });
        faults.extend(secret.map(|path| format!("{path} reaches the build")));
        faults
    }

    /// Lists what compiling reads: the workspace, and folders that sources include files of.
    fn needed(&self) -> BTreeSet<String> {
        let mut needed: BTreeSet<String> = WORKSPACE.map(str::to_owned).into();
        let build = self.build();
        let named = build.iter().filter_map(|word| word.split_once("deploy/"));
        let named = named.filter_map(|(_, file)| file.split('"').next());
        needed.extend(named.map(|file| format!("deploy/{file}")));
        for source in self.tree.sources() {
            for (_, line) in source.code() {
                let Some((_, path)) = line.split_once("include_str!(\"") else {
                    continue;
                };
                let path = path.split('"').next().unwrap_or_default();
                let depth = path.matches("../").count();
                // From a file in `crates/NAME/src`, so many steps lead out of `crates`.
                if depth == source.path.matches('/').count() {
                    let outside = path.trim_start_matches("../");
                    needed.extend(outside.split('/').next().map(str::to_owned));
                }
            }
        }
        needed
    }
}

/// Returns the word behind a flag.
fn word_after<'a>(words: &[&'a str], flag: &str) -> Option<&'a str> {
    let mut pairs = words.windows(2);
    pairs.find(|pair| pair[0] == flag).map(|pair| pair[1])
}
