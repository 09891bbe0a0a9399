//! What people and machines see: a spinner on a terminal, plain lines elsewhere, JSON when asked.

use std::{
    error::Error,
    fmt::Display,
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use sutazai_proto::status::chain;

const GREEN: Style = AnsiColor::Green.on_default();
const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const BOLD: Style = Style::new().bold();

/// Where progress and results go: progress to standard error, results to standard output.
#[derive(Clone, Debug)]
pub struct Screen {
    json: bool,
    color: bool,
    spinner: bool,
    silent: bool,
}

/// What a mark in front of a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It works.
    Good,
    /// It does not.
    Bad,
    /// It was not judged, or needs a look.
    Open,
    /// It does nothing.
    Idle,
}

impl Screen {
    /// Looks at the terminal and at `NO_COLOR` (no-color.org).
    pub fn new(json: bool) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let terminal = io::stderr().is_terminal();
        Self {
            json,
            color: !json && !plain && io::stdout().is_terminal(),
            spinner: !json && terminal,
            silent: false,
        }
    }

    /// Makes a screen that shows nothing, for a platform inside another program.
    pub fn silent() -> Self {
        Self {
            json: false,
            color: false,
            spinner: false,
            silent: true,
        }
    }

    /// Says whether machines read the output.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Begins a step that takes a while.
    pub fn step(&self, name: &'static str) -> Step<'_> {
        let bar = self.spinner.then(|| {
            let bar = ProgressBar::new_spinner().with_message(name);
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(80));
            bar
        });
        Step {
            screen: self,
            name,
            bar,
            begun: Instant::now(),
        }
    }

    /// Says that a step ended well.
    pub fn finished(&self, name: &str, what: &str, seconds: f64) {
        if self.json {
            self.event(&serde_json::json!({
                "event": "step", "name": name, "detail": what, "seconds": seconds,
            }));
        } else {
            let mark = self.mark(Mark::Good);
            self.err_line(&format!("{mark} {name}: {what} ({seconds:.2} s)"));
        }
    }

    /// Says something that needs attention.
    pub fn note(&self, text: &str) {
        if self.json {
            self.event(&serde_json::json!({"event": "note", "text": text}));
        } else {
            self.err_line(&format!("{} {text}", self.mark(Mark::Open)));
        }
    }

    /// Says why the command failed.
    pub fn failed(&self, error: &dyn Error) {
        let text = chain(error);
        if self.json {
            self.event(&serde_json::json!({"event": "failed", "error": text}));
        } else {
            self.err_line(&format!("{} {text}", self.mark(Mark::Bad)));
        }
    }

    /// Prints a line of the result.
    pub fn line(&self, text: impl Display) {
        if !self.silent {
            // A reader that went away (`| head`) is no fault of ours.
            let _ = writeln!(io::stdout().lock(), "{text}");
        }
    }

    /// Prints one JSON document on a line of the result.
    pub fn event(&self, document: &impl Serialize) {
        if let Ok(text) = serde_json::to_string(document) {
            self.line(text);
        }
    }

    /// Returns the mark as a sign, coloured where that can be seen.
    pub fn mark(&self, mark: Mark) -> String {
        let (style, sign) = match mark {
            Mark::Good => (GREEN, "✓"),
            Mark::Bad => (RED, "✗"),
            Mark::Open => (YELLOW, "•"),
            Mark::Idle => (BOLD, "○"),
        };
        self.styled(style, sign)
    }

    /// Returns a heading.
    pub fn bold(&self, text: &str) -> String {
        self.styled(BOLD, text)
    }

    fn styled(&self, style: Style, text: &str) -> String {
        if self.color {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    fn err_line(&self, text: &str) {
        if !self.silent {
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }
}

/// A step in progress; dropped without [`Step::done`] it vanishes, and the error says the rest.
pub struct Step<'a> {
    screen: &'a Screen,
    name: &'static str,
    bar: Option<ProgressBar>,
    begun: Instant,
}

impl Step<'_> {
    /// Ends the step well.
    pub fn done(mut self, what: &str) {
        let seconds = self.begun.elapsed().as_secs_f64();
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.screen.finished(self.name, what, seconds);
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
