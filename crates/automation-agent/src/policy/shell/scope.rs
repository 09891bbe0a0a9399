//! What is known about the variables of a script.

use std::collections::BTreeSet;

use super::{
    commands::{Class, class},
    lexer::{Expansion, HOLE, Word},
    parse::{Command, Script, assignment},
};
use crate::policy::paths::{climbs, within};

/// What `find` puts in for `{}`; it lies below the roots.
pub(super) const FOUND: &str = "{}";

/// Variables that do not change what the script touches, whatever branch it takes.
///
/// Such a variable has a lower-case name (so it comes from the script, not from the environment),
/// and each value that the script gives it is a plain name within the work folder, or a number.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    known: BTreeSet<String>,
    /// Every name that is bound; the others are empty.
    bound: BTreeSet<String>,
    /// Names of which some value can be an option, or be split so that one stands alone.
    dashed: BTreeSet<String>,
    /// Some value is a date with colons.
    colons: bool,
}

impl Scope {
    /// Extends a scope by what a script binds.
    pub(super) fn of(script: &Script, outer: &Self) -> Self {
        let bindings = bindings(script);
        let mut scope = outer.clone();
        scope
            .bound
            .extend(bindings.iter().map(|(name, _)| name.clone()));
        let candidates = bindings.iter().filter(|(name, _)| {
            !outer.bound.contains(name) && !name.chars().any(|c| c.is_ascii_uppercase())
        });
        scope.known.extend(candidates.map(|(name, _)| name.clone()));
        let dashed = bindings.iter().filter(|(_, value)| {
            value.as_ref().is_none_or(|word| {
                word.text.starts_with(['-', '{']) || word.text.contains([' ', '\t', '\n', HOLE])
            })
        });
        scope.dashed.extend(dashed.map(|(name, _)| name.clone()));
        scope.colons |= bindings
            .iter()
            .any(|(_, value)| value.as_ref().is_some_and(is_timed));
        // Values may name other variables: what depends on something unknown is unknown too.
        loop {
            let unknown: Vec<&String> = bindings
                .iter()
                .filter(|(name, value)| {
                    scope.known.contains(name) && !scope.is_plain(value.as_ref())
                })
                .map(|(name, _)| name)
                .collect();
            if unknown.is_empty() {
                return scope;
            }
            for name in unknown {
                scope.known.remove(name);
            }
        }
    }

    /// Returns the texts that a word can become: its holes filled, empty, and with a pattern.
    ///
    /// `None` when what fills them is only known when the script runs.
    pub(super) fn texts(&self, word: &Word) -> Option<[String; 3]> {
        if word.braces {
            return None;
        }
        let known = word.expansions.iter().all(|expansion| match expansion {
            Expansion::Variable(name) => {
                self.known.contains(name) || matches!(name.as_str(), "?" | "#" | "$" | FOUND)
            }
            Expansion::Command(script) => is_date(script),
            Expansion::Arithmetic(_) => true,
            Expansion::Modified(_) => false,
        });
        known.then(|| ["x", "", "*"].map(|filling| word.text.replace(HOLE, filling)))
    }

    /// Tells whether a word can turn out to be an option.
    pub(super) fn may_be_option(&self, word: &Word) -> bool {
        let literal = word.text.trim_start_matches(HOLE);
        let holes = word.text.len() - literal.len();
        // What the script binds may still be empty when it comes to the word.
        let plain = word.expansions.iter().take(holes).all(|expansion| {
            matches!(expansion, Expansion::Variable(name)
                if name == FOUND || (self.bound.contains(name) && !self.dashed.contains(name)))
        });
        let listed = word.braces && literal.starts_with('{') && literal.contains('-');
        listed || (holes > 0 && (literal.starts_with('-') || !plain))
    }

    /// Tells whether a word can hold a colon from a date.
    pub(super) fn may_hold_time(&self, word: &Word) -> bool {
        is_timed(word) || (self.colons && !word.expansions.is_empty())
    }

    /// Tells whether a formula may use this name: shells evaluate what the variable holds.
    pub(super) fn may_be_evaluated(&self, name: &str) -> bool {
        self.known.contains(name) || !self.bound.contains(name)
    }

    fn is_plain(&self, value: Option<&Word>) -> bool {
        let Some(texts) = value.and_then(|word| self.texts(word)) else {
            return false;
        };
        is_range(&texts[0]) || texts.iter().all(|text| is_plain_text(text))
    }
}

fn is_plain_text(text: &str) -> bool {
    let mut characters = text.chars();
    characters
        .next()
        .is_none_or(|c| c.is_ascii_alphanumeric() || c == '*' || c == '_')
        && characters.all(|c| c.is_ascii_alphanumeric() || "*?._-/+".contains(c))
        && !text.ends_with(['.', '/'])
        && within(text)
        && !climbs(text)
}

/// Tells whether a word holds a date with colons.
fn is_timed(word: &Word) -> bool {
    let mut expansions = word.expansions.iter();
    expansions
        .any(|expansion| matches!(expansion, Expansion::Command(script) if script.contains(':')))
}

/// `{1..5}`
fn is_range(text: &str) -> bool {
    let inside = text
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    let ends = inside.and_then(|inside| inside.split_once(".."));
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    ends.is_some_and(|(from, to)| number(from) && number(to))
}

/// A date in a format without slashes or spaces is a plain name.
fn is_date(script: &str) -> bool {
    let format = script.trim().strip_prefix("date").map(str::trim_start);
    let format = format.map(|rest| rest.trim_matches(['"', '\'']));
    format.is_some_and(|format| {
        format.starts_with('+')
            && format
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+%_.:-".contains(&b))
            && !format.contains("..")
            && !["%D", "%x", "%c", "%n", "%t"]
                .iter()
                .any(|odd| format.contains(odd))
    })
}

/// Lists each value that a variable gets, `None` where it is not in the script.
fn bindings(script: &Script) -> Vec<(String, Option<Word>)> {
    let mut found = Vec::new();
    for (name, values) in &script.loops {
        found.extend(
            values
                .iter()
                .map(|value| (name.clone(), Some(value.clone()))),
        );
    }
    for command in &script.commands {
        found.extend(
            command
                .assignments
                .iter()
                .map(|(name, value)| (name.clone(), Some(value.clone()))),
        );
        found.extend(bound_by_arguments(command));
    }
    found
}

fn bound_by_arguments(command: &Command) -> Vec<(String, Option<Word>)> {
    let Some((name, arguments)) = command.words.split_first() else {
        return Vec::new();
    };
    if class(&name.text) != Class::Binds {
        return Vec::new();
    }
    let reads = name.text == "read";
    arguments
        .iter()
        .filter(|word| !word.text.starts_with('-'))
        .filter_map(|word| match assignment(word) {
            Some((name, value)) => Some((name, Some(value))),
            None if reads => Some((word.text.clone(), None)),
            None => None,
        })
        .collect()
}
