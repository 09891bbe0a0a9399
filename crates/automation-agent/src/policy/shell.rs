//! Judges shell scripts, word by word.

use self::{
    lexer::{Expansion, HOLE, Unreadable, Word},
    parse::{Command, Script, parse},
    scope::Scope,
};
use super::{Findings, Policy, paths, python, rule::Rule};

mod arguments;
mod commands;
mod interpreters;
mod lexer;
mod parse;
mod programs;
mod scope;
mod special;

/// How deep scripts may be put into scripts.
const DEPTH: u32 = 6;
/// Variables by which other programs find code, files or the way, exact or by prefix.
const STEERING: [&str; 42] = [
    "PATH",
    "IFS",
    "ENV",
    "BASH",
    "SHELL",
    "PS4",
    "PROMPT_COMMAND",
    "HOME",
    "PWD",
    "OLDPWD",
    "CDPATH",
    "FPATH",
    "DIRSTACK",
    "TMPDIR",
    "HISTFILE",
    "LD_",
    "DYLD_",
    "PYTHON",
    "PERL",
    "RUBY",
    "NODE",
    "GIT_",
    "EDITOR",
    "VISUAL",
    "PAGER",
    "LESS",
    "TAR_",
    "GREP_",
    "GZIP",
    "JAVA",
    "GLIBC_",
    "MALLOC_",
    "GCONV_PATH",
    "GETCONF_DIR",
    "LOCPATH",
    "NLSPATH",
    "MAGIC",
    "CURL_",
    "SSLKEYLOGFILE",
    "WGETRC",
    "SYSTEM_WGETRC",
    "TAPE",
];

/// Judges a shell script.
pub(super) fn judge(policy: Policy, script: &str, findings: &mut Findings) {
    judge_within(policy, script, &Scope::default(), DEPTH, findings);
}

fn judge_within(policy: Policy, script: &str, outer: &Scope, depth: u32, findings: &mut Findings) {
    let parsed = match depth {
        0 => Err(Unreadable("scripts are put into scripts too deep")),
        _ => parse(script),
    };
    match parsed {
        Ok(parsed) => {
            let scope = Scope::of(&parsed, outer);
            Judge {
                policy,
                scope,
                depth,
                findings,
            }
            .script(&parsed);
        }
        Err(Unreadable(why)) => findings.add(Rule::UnreadableScript, why),
    }
}

struct Judge<'a> {
    policy: Policy,
    scope: Scope,
    depth: u32,
    findings: &'a mut Findings,
}

impl Judge<'_> {
    fn script(&mut self, script: &Script) {
        if script.background {
            self.findings.add(Rule::OutlivesRun, "&");
        }
        for (name, calls_itself) in &script.functions {
            let rule = if *calls_itself {
                Rule::ForkBomb
            } else {
                Rule::UnreadableScript
            };
            self.findings.add(rule, &format!("{name}()"));
        }
        for (name, values) in &script.loops {
            self.binds(name);
            for value in values {
                self.word(value);
                self.replaces_module(value);
            }
        }
        for command in &script.commands {
            self.command(command);
        }
    }

    fn command(&mut self, command: &Command) {
        for (name, value) in &command.assignments {
            self.assigns(name, value);
        }
        for (operator, target) in &command.redirects {
            self.redirect(operator, target);
        }
        for word in &command.words {
            self.word(word);
        }
        if !command.words.is_empty() {
            self.run(&command.words);
        }
    }

    fn assigns(&mut self, name: &str, value: &Word) {
        self.binds(name);
        self.word(value);
        self.replaces_module(value);
        self.no_quoted_code(value);
    }

    fn binds(&mut self, name: &str) {
        let steers = STEERING.iter().any(|steering| name.starts_with(steering));
        if steers || name.to_lowercase().ends_with("_proxy") {
            self.findings.add(Rule::AltersEnvironment, name);
        }
    }

    /// Judges what holds for any word: secrets by name, and the code inside expansions.
    fn word(&mut self, word: &Word) {
        if paths::is_credential(&word.text) {
            self.findings.add(Rule::ReadsCredentials, &word.text);
        }
        for expansion in &word.expansions {
            match expansion {
                Expansion::Variable(name) | Expansion::Modified(name) => {
                    if paths::is_secret_name(name) {
                        self.findings.add(Rule::ReadsCredentials, name);
                    }
                }
                Expansion::Command(script) => self.nested(script),
                Expansion::Arithmetic(names) => {
                    // A formula can assign.
                    for name in names {
                        self.binds(name);
                    }
                    let unknown = names.iter().find(|name| !self.scope.may_be_evaluated(name));
                    if let Some(name) = unknown {
                        self.findings.add(Rule::HiddenCode, name);
                    }
                }
            }
        }
    }

    fn nested(&mut self, script: &str) {
        judge_within(
            self.policy,
            script,
            &self.scope,
            self.depth - 1,
            self.findings,
        );
    }

    /// Refuses literal text that becomes code where a shell evaluates variables: in formulas.
    fn no_quoted_code(&mut self, word: &Word) {
        if word.text.contains("$(") || word.text.contains('`') {
            self.findings.add(Rule::HiddenCode, &word.text);
        }
    }

    fn redirect(&mut self, operator: &str, target: &Word) {
        self.word(target);
        match operator {
            "<<" | "<<-" | "<<<" => {}
            "<&" | ">&" if target.text.bytes().all(|b| b.is_ascii_digit() || b == b'-') => {}
            _ if target.text.starts_with("/dev/tcp/") || target.text.starts_with("/dev/udp/") => {
                self.findings.add(Rule::UsesNetwork, &target.text);
            }
            "<" => self.reads(target),
            _ => self.writes(target),
        }
    }

    fn reads(&mut self, word: &Word) {
        self.path(word, paths::readable, Rule::ReadsOutside);
    }

    fn writes(&mut self, word: &Word) {
        self.path(word, paths::writable, Rule::WritesOutside);
        self.replaces_module(word);
        // `tar c *` would take the name of such a file for an option.
        if paths::is_option(&word.text) {
            self.findings.add(Rule::UnseenArguments, &word.text);
        }
    }

    /// Refuses names of files that Python would load in place of a module.
    fn replaces_module(&mut self, word: &Word) {
        let name = word.text.rsplit('/').next().unwrap_or_default();
        let loaded = match (name.split_once(HOLE), name.rsplit_once(HOLE)) {
            (Some((head, _)), Some((_, tail))) => {
                // What fills the holes can complete the module before a dot, or what is after it.
                let fillings = ["", "p", "py", "y", "s", "so", "o"];
                let completed = fillings.map(|filling| format!("{head}{filling}{tail}"));
                let ends = python::is_module_file(&format!("_{tail}"));
                let begins = completed.iter().any(|name| python::is_module_file(name));
                ends || begins
            }
            _ => python::is_module_file(name),
        };
        if loaded {
            self.findings.add(Rule::HiddenCode, &word.text);
        }
    }

    fn path(&mut self, word: &Word, allowed: fn(&str) -> bool, rule: Rule) {
        let known = self.scope.texts(word);
        let likely = [word.text.replace(HOLE, "x")];
        let inside = |text: &String| allowed(text) && !(word.is_pattern() && paths::climbs(text));
        if !known
            .as_ref()
            .map_or(&likely[..], |texts| &texts[..])
            .iter()
            .all(inside)
        {
            self.findings.add(rule, &word.text);
        } else if known.is_none() {
            self.findings.add(Rule::UnseenArguments, &word.text);
        }
    }
}
