//! Text files by path, read from the repository or made up by a test.

use std::{collections::BTreeMap, fs, path::Path};

/// Folders that are no source.
const PASSED_OVER: [&str; 5] = [".git", "target", ".run", "node_modules", ".sqlx"];

/// Text files by their path from the root, with `/` between the parts.
pub(crate) struct Tree(BTreeMap<String, String>);

impl Tree {
    /// Reads a folder; files that are no UTF-8 text are left out.
    pub(crate) fn read(root: &Path) -> Self {
        let mut files = BTreeMap::new();
        collect(root, root, &mut files);
        Self(files)
    }

    /// Makes a tree for a planted fault.
    pub(crate) fn of<const N: usize>(files: [(&str, &str); N]) -> Self {
        Self(
            files
                .map(|(path, text)| (path.to_owned(), text.to_owned()))
                .into(),
        )
    }

    /// Returns the same tree with one file changed, for a planted fault.
    pub(crate) fn with(&self, path: &str, text: &str) -> Self {
        let mut files = self.0.clone();
        files.insert(path.to_owned(), text.to_owned());
        Self(files)
    }

    /// Iterates over the files.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Iterates over the Rust sources of crates, without their tests.
    pub(crate) fn sources(&self) -> impl Iterator<Item = Source<'_>> {
        self.files().filter_map(|(path, text)| {
            let (name, file) = path.strip_prefix("crates/")?.split_once("/src/")?;
            let is_test = file
                .split('/')
                .any(|part| part == "tests.rs" || part == "tests");
            (path.ends_with(".rs") && !is_test).then_some(Source {
                path,
                name,
                file,
                text,
            })
        })
    }

    /// Returns the text of a file.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }
}

/// A Rust source of a crate.
pub(crate) struct Source<'a> {
    /// From the root of the repository.
    pub(crate) path: &'a str,
    /// Folder of the crate.
    pub(crate) name: &'a str,
    /// From `src/` of the crate.
    pub(crate) file: &'a str,
    text: &'a str,
}

impl Source<'_> {
    /// Numbers the lines of code: comments and the trailing test module are left out.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self
            .text
            .lines()
            .take_while(|line| !line.starts_with("#[cfg(test)]"));
        lines
            .enumerate()
            .map(|(i, line)| (i + 1, line))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<String, String>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if PASSED_OVER.iter().any(|passed| name == *passed) {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, files);
        } else if let (Ok(text), Ok(relative)) =
            (fs::read_to_string(&path), path.strip_prefix(root))
        {
            files.insert(relative.display().to_string(), text);
        }
    }
}
