//! Programs under valgrind's callgrind, which counts what they run: the same on a busy machine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    failure::Failure,
    stage::{Program, Running},
};

/// Where the counts of a program go.
#[derive(Debug)]
pub(crate) struct Callgrind {
    file: PathBuf,
    dumps: usize,
}

impl Callgrind {
    /// Counts into files in a folder.
    pub(crate) fn into(folder: &Path, name: &str) -> Self {
        Self {
            file: folder.join(format!("{name}.callgrind")),
            dumps: 0,
        }
    }

    /// Runs a program under it, with its functions under the names that the linker knows.
    pub(crate) fn around(&self, program: Program, options: &[&str]) -> Program {
        let words = ["--tool=callgrind", "--demangle=no"].into_iter();
        let words = words.chain(options.iter().copied()).map(str::to_owned);
        let file = format!("--callgrind-out-file={}", self.file.display());
        program.under("valgrind", words.chain([file]))
    }

    /// Takes what was counted since the last time.
    ///
    /// # Errors
    /// There is nothing.
    pub(crate) fn take(&mut self, running: &Running) -> Result<Counts, Failure> {
        tell(running, &["-d"])?;
        self.dumps += 1;
        let dump = self
            .file
            .with_extension(format!("callgrind.{}", self.dumps));
        let text = fs::read_to_string(&dump).map_err(Failure::doing("read callgrind's counts"))?;
        fs::remove_file(&dump).map_err(Failure::doing("take away callgrind's counts"))?;
        Ok(Counts(text))
    }
}

/// Tells the tool around a program something: `-i on` to count from now, `-z` to count anew.
///
/// # Errors
/// It does not listen.
pub(crate) fn tell(running: &Running, words: &[&str]) -> Result<(), Failure> {
    let output = Command::new("callgrind_control")
        .args(words)
        .arg(running.pid().to_string())
        .output()
        .map_err(Failure::doing("run callgrind_control"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    Err(Failure::wrong(format!("callgrind_control: {said}")))
}

/// What was counted, in callgrind's own format (<https://valgrind.org/docs/manual/cl-format.html>).
#[derive(Debug)]
pub(crate) struct Counts(String);

impl Counts {
    /// Returns the instructions of all threads.
    ///
    /// # Errors
    /// Nothing was counted.
    pub(crate) fn instructions(&self) -> Result<f64, Failure> {
        let line = self.0.lines().rev().find_map(|line| {
            line.strip_prefix("totals:")
                .or(line.strip_prefix("summary:"))
        });
        let total = line.and_then(|line| line.trim().parse().ok());
        total.ok_or_else(|| Failure::wrong("callgrind counted nothing"))
    }

    /// Returns the functions that ran, those of libraries too.
    pub(crate) fn functions(&self) -> impl Iterator<Item = &str> {
        self.0
            .lines()
            .filter_map(|line| named(line, "fn=(").or_else(|| named(line, "cfn=(")))
    }
}

/// Reads a name where it comes first, perhaps as that of a callee; later it is a number.
fn named<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(key)?;
    rest.split_once(") ").map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_and_names_are_read() {
        let text = "version: 1\nevents: Ir\nfn=(1) _ZN1aE\n1 5\ncfn=(2) _ZN1bE\ncalls=1 0\n1 7\n\
                    fn=(2)\n1 7\nsummary: 120\ntotals: 123456\n";
        let counts = Counts(text.to_owned());
        assert_eq!(counts.instructions().ok(), Some(123_456.0));
        assert_eq!(counts.functions().collect::<Vec<_>>(), ["_ZN1aE", "_ZN1bE"]);
        assert!(Counts("events: Ir\n".to_owned()).instructions().is_err());
    }
}
