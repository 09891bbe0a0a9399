//! `deploy/Dockerfile`: one small image, nobody's root, made of what is there.

mod rules;
#[cfg(feature = "clone")]
mod size;

use std::collections::BTreeMap;

use crate::tree::Tree;

const FILE: &str = "deploy/Dockerfile";
const IGNORE: &str = "deploy/Dockerfile.dockerignore";

/// The file, as its instructions.
pub(crate) struct Image<'a> {
    tree: &'a Tree,
    instructions: Vec<(&'a str, String)>,
    /// Variables of the last stage.
    pub(crate) environment: BTreeMap<&'a str, &'a str>,
}

impl<'a> Image<'a> {
    /// Reads the file.
    pub(crate) fn read(tree: &'a Tree) -> Self {
        let text = tree.text(FILE).expect(FILE);
        let mut instructions: Vec<(&str, String)> = Vec::new();
        let mut goes_on = false;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (line, more) = match line.strip_suffix('\\') {
                Some(line) => (line, true),
                None => (line, false),
            };
            match instructions.last_mut() {
                Some((_, rest)) if goes_on => rest.push_str(line),
                _ => instructions.extend(
                    line.split_once(' ')
                        .map(|(name, rest)| (name, rest.to_owned())),
                ),
            }
            goes_on = more;
        }
        let last = text.rsplit_once("\nFROM ").map_or("", |(_, stage)| stage);
        let variables = last.lines().filter_map(|line| line.strip_prefix("ENV "));
        let environment = variables
            .flat_map(|line| line.split_whitespace())
            .filter_map(|pair| pair.split_once('='))
            .collect();
        Self {
            tree,
            instructions,
            environment,
        }
    }

    /// Returns the port that the services serve HTTP on.
    pub(crate) fn http_port(&self) -> &'a str {
        let listen = self.environment.get("HTTP_LISTEN").copied();
        let port = listen.and_then(|address| address.rsplit_once(':'));
        port.map_or("", |(_, port)| port)
    }

    /// Lists what stands behind an instruction, stage by stage.
    fn all(&self, name: &str) -> Vec<&str> {
        let found = self.instructions.iter().filter(|(known, _)| *known == name);
        found.map(|(_, rest)| rest.as_str()).collect()
    }
}

#[test]
fn cfg_11_the_image_is_small_by_its_making_and_runs_as_nobody() {
    let repository = crate::repository();
    crate::assert_none(&Image::read(&repository).faults());
    assert_eq!(Image::read(&repository).http_port(), "8000");
}

/// The file, what stands there, what is put there, and what the fault says.
#[rustfmt::skip]
const PLANTED: [(&str, &str, &str, &str); 16] = [
    (FILE, "USER 65532:65532", "USER 0:0", "runs as `0:0`"),
    (FILE, "USER 65532:65532", "USER sutazai", "runs as `sutazai`"),
    (FILE, "USER 65532:65532\n", "", "runs as ``"),
    (FILE, "FROM scratch", "FROM debian:12", "stages"),
    (FILE, "rust:1.95.0-", "rust:1.94.0-", "stages"),
    (FILE, "RUSTUP_TOOLCHAIN=1.95.0", "RUSTUP_TOOLCHAIN=stable", "toolchain"),
    (FILE, "--profile dist", "--profile fast", "`fast` is no profile"),
    (FILE, "--bin sutazai", "--bin backend-api", "`backend-api` is no program"),
    (FILE, "--locked ", "", "Cargo.lock"),
    (FILE, "[\"/usr/local/bin/sutazai\"]", "[\"/sutazai\"]", "does not start"),
    (IGNORE, "*\n!Cargo.toml", "!Cargo.toml", "unless it is named"),
    (IGNORE, "!consul\n", "", "consul does not reach"),
    (IGNORE, "!deploy/dist.toml\n", "", "deploy/dist.toml does not reach"),
    (IGNORE, "!deploy/dist.profdata.xz\n", "", "deploy/dist.profdata.xz does not reach"),
    (IGNORE, "!deploy/order.txt\n", "", "deploy/order.txt does not reach"),
    (IGNORE, "!crates\n", "!crates\n!secrets\n", "secrets reaches"),
];

#[test]
fn planted_faults_in_the_dockerfile_are_found() {
    let repository = crate::repository();
    for (file, from, to, found) in PLANTED {
        let text = repository.text(file).expect(file);
        let planted = text.replacen(from, to, 1);
        assert_ne!(planted, text, "{from} is not in {file}");
        let tree = repository.with(file, &planted);
        crate::assert_found(&Image::read(&tree).faults(), found);
    }
}
