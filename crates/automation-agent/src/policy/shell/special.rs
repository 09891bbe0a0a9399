//! Judges the commands whose arguments follow rules of their own.

use super::{
    Judge,
    arguments::{values, whole},
    lexer::{Expansion, HOLE, Word},
    programs::{is_plain_awk, is_plain_sed},
    scope::FOUND,
};
use crate::policy::rule::Rule;

impl Judge<'_> {
    pub(super) fn find(&mut self, arguments: &[Word]) {
        // Options about links and speed come before the roots.
        let is_option = |word: &&Word| {
            matches!(word.text.as_str(), "-H" | "-L" | "-P" | "--") || word.text.starts_with("-O")
        };
        let is_root = |word: &&Word| !word.text.starts_with(['-', '(', '!']);
        let after_options = arguments.iter().skip_while(is_option);
        let roots: Vec<&Word> = after_options.take_while(is_root).collect();
        let has = |names: &[&str]| {
            arguments
                .iter()
                .any(|word| names.contains(&word.text.as_str()))
        };
        let acts = has(&["-exec", "-execdir", "-ok", "-okdir", "-delete"]);
        if acts {
            for root in roots {
                self.reads(root);
            }
        }
        if has(&["-delete"]) && !has(&["-name", "-iname", "-path", "-regex"]) {
            self.findings.add(Rule::DestroysData, "find -delete");
        }
        if let Some(unknown) = arguments
            .iter()
            .find(|word| self.scope.texts(word).is_none())
        {
            self.findings.add(Rule::UnseenArguments, &unknown.text);
        }
        let mut rest = arguments;
        while let Some((word, others)) = rest.split_first() {
            rest = others;
            match word.text.as_str() {
                "-exec" | "-execdir" | "-ok" | "-okdir" => {
                    let end = (0..others.len()).find(|at| ends_command(others, *at));
                    let (command, after) = others.split_at(end.unwrap_or(others.len()));
                    let command: Vec<Word> = command.iter().map(found).collect();
                    self.carries(&command);
                    rest = after;
                }
                "-fprint" | "-fprint0" | "-fprintf" | "-fls" => {
                    if let Some(file) = others.first() {
                        self.writes(file);
                    }
                }
                "-files0-from" | "-D" => self.findings.add(Rule::UnseenArguments, &word.text),
                _ => {}
            }
        }
    }

    pub(super) fn sed(&mut self, arguments: &[Word]) {
        const PLAIN: [&str; 9] = ["-n", "-E", "-r", "-i", "-s", "-z", "-u", "-nE", "-i.bak"];
        let mut after_e = false;
        let mut operand_is_program = !arguments.iter().any(|word| word.text == "-e");
        for word in arguments {
            let text = word.text.as_str();
            if after_e || (operand_is_program && !text.starts_with('-')) {
                self.program(word, is_plain_sed(text));
                operand_is_program &= after_e;
                after_e = false;
            } else if text == "-e" {
                after_e = true;
            } else if !text.starts_with('-') {
                self.writes(word);
            } else if !PLAIN.contains(&text) {
                self.findings.add(Rule::HiddenCode, text);
            }
        }
    }

    pub(super) fn awk(&mut self, arguments: &[Word]) {
        let is_option = |word: &&Word| word.text.len() > 1 && word.text.starts_with('-');
        let mut rest = arguments;
        while let Some((word, others)) = rest.split_first() {
            match word.text.as_str() {
                "-F" | "-v" => rest = others.get(1..).unwrap_or_default(),
                text if text.starts_with("-F") || text.starts_with("-v") => rest = others,
                text if text.starts_with('-') => {
                    self.findings.add(Rule::HiddenCode, text);
                    rest = others;
                }
                text => {
                    self.program(word, is_plain_awk(text));
                    self.operands(others, 0, Self::reads);
                    // Some find options even here: `-f` is another program.
                    if let Some(option) = others.iter().find(is_option) {
                        self.findings.add(Rule::HiddenCode, &option.text);
                    }
                    return;
                }
            }
        }
    }

    fn program(&mut self, word: &Word, plain: bool) {
        if !plain || !word.expansions.is_empty() || word.braces {
            self.findings.add(Rule::HiddenCode, &word.text);
        }
    }

    pub(super) fn chmod(&mut self, words: &[Word]) {
        let arguments = words.get(1..).unwrap_or_default();
        // `-w,u+s` is a mode too.
        let dashed = |word: &&Word| {
            let flags = word.text.strip_prefix('-');
            let is_flag = |flags: &str| flags.starts_with('-') || flags.chars().all(is_chmod_flag);
            flags.is_some_and(|flags| !is_flag(flags))
        };
        let mut modes: Vec<&Word> = arguments.iter().filter(dashed).collect();
        let operands_from = usize::from(modes.is_empty());
        if modes.is_empty() {
            modes.extend(arguments.iter().find(|word| !word.text.starts_with('-')));
        }
        if modes.is_empty() || modes.into_iter().any(raises) {
            self.findings.add(Rule::RaisesPrivilege, &whole(words));
        }
        self.operands(arguments, operands_from, Self::writes);
    }

    /// Judges the modes that `install` and `mkdir` give to what they make.
    pub(super) fn modes(&mut self, words: &[Word]) {
        let arguments = words.get(1..).unwrap_or_default();
        if values(arguments, 'm', "--mode").iter().any(raises) {
            self.findings.add(Rule::RaisesPrivilege, &whole(words));
        }
    }

    pub(super) fn dd(&mut self, arguments: &[Word]) {
        for word in arguments {
            if !word.expansions.is_empty() || word.braces {
                self.findings.add(Rule::UnseenArguments, &word.text);
            }
            let Some((name, value)) = word.text.split_once('=') else {
                continue;
            };
            let path = Word {
                text: value.to_owned(),
                ..word.clone()
            };
            match name {
                "of" if value.starts_with("/dev/") => {
                    self.findings.add(Rule::DestroysData, &word.text);
                }
                "of" => self.writes(&path),
                "if" => self.reads(&path),
                _ => {}
            }
        }
    }
}

/// Tells whether a command inside a search ends here: `+` does so only after `{}`.
fn ends_command(arguments: &[Word], at: usize) -> bool {
    let text = |at: usize| arguments.get(at).map(|word| word.text.as_str());
    let before = at.checked_sub(1).and_then(text);
    text(at) == Some(";") || (text(at) == Some("+") && before == Some(FOUND))
}

/// Puts a hole for each `{}`: as code or as a command, what is found would be unseen.
fn found(word: &Word) -> Word {
    let names = word.text.matches(FOUND);
    let names = names.map(|name| Expansion::Variable(name.to_owned()));
    Word {
        expansions: word.expansions.iter().cloned().chain(names).collect(),
        text: word.text.replace(FOUND, &HOLE.to_string()),
        ..word.clone()
    }
}

/// Tells whether a letter is an option of chmod, and no part of a mode.
fn is_chmod_flag(c: char) -> bool {
    "Rcfv".contains(c)
}

/// Tells whether a mode can lend the rights of a file's owner or group to who runs it.
fn raises(mode: &Word) -> bool {
    let mut numbers = mode.text.split(|c: char| !c.is_ascii_digit());
    mode.text.contains(['s', '{', HOLE])
        || numbers.any(|number| number.trim_start_matches('0').len() > 3)
}
