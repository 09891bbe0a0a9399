//! Judges shells, Python and other languages: their code has to be the text after `-c`.

use super::{
    Judge,
    arguments::whole,
    commands::Class,
    lexer::{HOLE, Word},
};
use crate::policy::{paths, python, rule::Rule};

/// Flags of shells after which nothing but that text is run; `-i`, `-l` and `-s` read more.
const SHELL_FLAGS: &str = "abefhmnrtuvxCET";
/// The same, spelled out.
const SHELL_OPTIONS: [&str; 3] = ["--norc", "--noprofile", "--posix"];
/// The same of Python; `-m`, `-W` and `-X` take what follows, be it a `c`.
const PYTHON_FLAGS: &str = "bBEIOPqsuv";

impl Judge<'_> {
    pub(super) fn interprets(&mut self, class: Class, words: &[Word]) {
        let arguments = words.get(1..).unwrap_or_default();
        let asks = |word: &Word| matches!(word.text.as_str(), "--version" | "-V");
        if !arguments.is_empty() && arguments.iter().all(asks) {
            return;
        }
        let operand = arguments.iter().any(|word| !word.text.starts_with('-'));
        match code_argument(class, arguments) {
            Some((code, _)) if !code.expansions.is_empty() || code.braces => {
                self.findings.add(Rule::HiddenCode, &whole(words));
            }
            Some((code, rest)) if class == Class::Python => {
                python::judge(&code.text, self.findings);
                self.are_readable(rest);
            }
            Some((code, _)) => self.nested(&code.text),
            None if operand || class == Class::Interpreter && !arguments.is_empty() => {
                self.findings.add(Rule::HiddenCode, &whole(words));
            }
            None => self.findings.add(Rule::PipesIntoInterpreter, &whole(words)),
        }
    }

    /// Judges what Python code is told, as the texts in it.
    fn are_readable(&mut self, arguments: &[Word]) {
        for word in arguments {
            if !paths::readable(&word.text.replace(HOLE, "x")) {
                self.findings.add(Rule::ReadsOutside, &word.text);
            }
        }
    }
}

/// Returns the code given by `-c` (the next argument or, for Python, the rest of this one), and
/// the arguments after it; `None` where anything else could be read as code.
fn code_argument(class: Class, arguments: &[Word]) -> Option<(Word, &[Word])> {
    let flags = match class {
        Class::Shell => SHELL_FLAGS,
        Class::Python => PYTHON_FLAGS,
        _ => return None,
    };
    let mut rest = arguments;
    loop {
        let (option, others) = rest.split_first()?;
        rest = others;
        let text = option.text.as_str();
        if class == Class::Shell && SHELL_OPTIONS.contains(&text) {
            continue;
        }
        let letters = text.strip_prefix('-').filter(|text| !text.is_empty())?;
        let after = skip_flags(letters, flags);
        match after.strip_prefix('c') {
            Some(code) if class == Class::Python && !code.is_empty() => {
                let code = Word {
                    text: code.to_owned(),
                    ..option.clone()
                };
                return Some((code, rest));
            }
            Some(more) if skip_flags(more, flags).is_empty() => {
                let (code, rest) = rest.split_first()?;
                return Some((code.clone(), rest));
            }
            None if after.is_empty() => {}
            _ => return None,
        }
    }
}

fn skip_flags<'a>(text: &'a str, flags: &str) -> &'a str {
    text.trim_start_matches(|c: char| flags.contains(c))
}
