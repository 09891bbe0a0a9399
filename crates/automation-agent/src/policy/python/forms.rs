//! Finds the forms of code that reach a name by a text, so that no token shows it.

use super::{before, judge_name, lexer::Token, starts_statement};
use crate::policy::{Findings, rule::Rule};

/// Attributes that lead from modules that may be imported to others, or read code out of a text.
const DOORS: [&str; 16] = [
    "bltns",
    "builtins",
    "codecs",
    "copyreg",
    "ctypes",
    "evaluate",
    "importlib",
    "inspect",
    "marshal",
    "monitoring",
    "pickle",
    "posix",
    "runpy",
    "shutil",
    "subprocess",
    "types",
];
/// Names with an underscore that every named tuple has.
const NAMED_TUPLE: [&str; 5] = ["_asdict", "_field_defaults", "_fields", "_make", "_replace"];

/// Tells whether a name inside a module leads past the table of modules.
pub(super) fn is_door(name: &str) -> bool {
    let own = name.starts_with('_') && !name.starts_with("__") && name != "_";
    DOORS.contains(&name) || (own && !NAMED_TUPLE.contains(&name))
}

/// Judges a name by what stands around it.
pub(super) fn judge(tokens: &[Token], at: usize, name: &str, findings: &mut Findings) {
    let attribute = before(tokens, at, 1) == Some(&Token::Sign('.'));
    let hides = match name {
        "format" | "format_map" if attribute => !formats_a_text(tokens, at, findings),
        "case" => is_class_pattern(tokens, at),
        "dataclass" => !decorates_a_class(tokens, at),
        // A class may have its own names with an underscore.
        _ if name.starts_with('_') && is_own(tokens, at) => false,
        _ => attribute && is_door(name),
    };
    if hides {
        findings.add(Rule::HiddenCode, name);
    }
}

/// `self._name`
fn is_own(tokens: &[Token], at: usize) -> bool {
    let object = before(tokens, at, 2).and_then(Token::name);
    matches!(object, Some("self" | "cls"))
}

/// Tells whether a text that stands here itself is formatted, and judges the names in its fields:
/// `{0.environ}` reads an attribute.
fn formats_a_text(tokens: &[Token], at: usize, findings: &mut Findings) -> bool {
    let mut format = String::new();
    let mut found = false;
    for token in tokens.iter().take(at.saturating_sub(1)).rev() {
        match token {
            // Texts side by side are one.
            Token::Text { value, code } if code.is_empty() => {
                format.insert_str(0, value);
                found = true;
            }
            Token::Text { .. } => return false,
            Token::End => {}
            Token::Name(_) | Token::Sign(_) => break,
        }
    }
    for field in format.split('{').skip(1) {
        let field = field.split(['}', ':', '!']).next().unwrap_or_default();
        for name in field.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
            judge_name(name, findings);
        }
    }
    found
}

/// `case Point(x):` takes the attributes that a list of texts in the class names.
fn is_class_pattern(tokens: &[Token], at: usize) -> bool {
    let mut rest = tokens.iter().skip(at + 1).peekable();
    let assigned = matches!(rest.peek(), Some(Token::Sign('=' | '.' | ',' | '+')));
    if !starts_statement(tokens, at) || assigned {
        return false;
    }
    let mut depth = 0_i32;
    let mut named = false;
    for token in rest {
        match token {
            Token::Sign('(') if named => return true,
            Token::Sign('(' | '[' | '{') => depth += 1,
            Token::Sign(')' | ']' | '}') => depth -= 1,
            Token::Sign(':') | Token::End if depth <= 0 => return false,
            // The condition behind a pattern may call what it likes.
            Token::Name(name) if name == "if" => return false,
            _ => {}
        }
        if *token != Token::End {
            named = matches!(token, Token::Name(_));
        }
    }
    false
}

/// Tells whether `dataclass` makes a class that is written out below it.
///
/// It turns the names of fields into code. In `@dataclass class X:` they are names indeed; those of
/// a class from elsewhere, or with a base that prepares them, can be any text.
fn decorates_a_class(tokens: &[Token], at: usize) -> bool {
    let sign = |places: usize, sign: char| before(tokens, at, places) == Some(&Token::Sign(sign));
    let module = matches!(before(tokens, at, 2), Some(Token::Name(_)));
    let decorates = sign(1, '@') || (sign(1, '.') && module && sign(3, '@'));
    let Some(rest) = skip_options(tokens.get(at + 1..).unwrap_or_default()) else {
        return false;
    };
    let mut rest = rest.iter().skip_while(|token| **token == Token::End);
    let class = rest.next().and_then(Token::name) == Some("class");
    let named = matches!(rest.next(), Some(Token::Name(_)));
    decorates && class && named && rest.next() == Some(&Token::Sign(':'))
}

/// Skips `(frozen=True)`; `None` where something else than options is given.
fn skip_options(tokens: &[Token]) -> Option<&[Token]> {
    if tokens.first() != Some(&Token::Sign('(')) {
        return Some(tokens);
    }
    let end = tokens.iter().position(|token| *token == Token::Sign(')'))?;
    let inside = tokens.get(1..end).unwrap_or_default();
    let mut options = inside.split(|token| *token == Token::Sign(','));
    let named = |option: &[Token]| {
        let mut tokens = option.iter().filter(|token| **token != Token::End);
        match (tokens.next(), tokens.next()) {
            (None, _) => true,
            (Some(Token::Name(_)), Some(sign)) => *sign == Token::Sign('='),
            _ => false,
        }
    };
    let plain = options.all(named);
    plain.then(|| tokens.get(end + 1..).unwrap_or_default())
}
