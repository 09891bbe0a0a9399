//! A program that is about to be started.

use std::path::PathBuf;

/// How a program is run.
#[derive(Clone, Debug)]
pub struct Program {
    pub(super) name: String,
    pub(super) file: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(&'static str, String)>,
}

impl Program {
    /// Makes a program with its arguments; secrets never stand there.
    pub fn new(name: &str, file: PathBuf, arguments: Vec<String>) -> Self {
        Self {
            name: name.to_owned(),
            file,
            arguments,
            environment: Vec::new(),
        }
    }

    /// Sets a variable.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// Runs it under another program, like `valgrind`, which takes its command last.
    #[must_use]
    pub fn under(mut self, file: &str, arguments: impl IntoIterator<Item = String>) -> Self {
        let command = self.file.display().to_string();
        let own = std::mem::take(&mut self.arguments);
        self.arguments = arguments.into_iter().chain([command]).chain(own).collect();
        self.file = PathBuf::from(file);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_under_another_keeps_its_arguments() {
        let program =
            Program::new("a", "/bin/a".into(), vec!["1".into()]).under("strace", ["-f".into()]);
        assert_eq!(program.file, PathBuf::from("strace"));
        assert_eq!(program.arguments, ["-f", "/bin/a", "1"]);
    }
}
