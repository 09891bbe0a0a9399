//! Judges awk programs by their code: what texts, patterns and comments hold is none.

use std::{iter::Peekable, str::Chars};

/// Names that reach files, programs or the environment, or call by name.
const REACHES_OUT: [&str; 8] = [
    "system", "getline", "ENVIRON", "ARGV", "PROCINFO", "SYMTAB", "FUNCTAB", "@",
];
/// Signs after which a slash begins a pattern.
const BEFORE_PATTERN: &str = "\n{};(,!~&|=<>*/%^?:$+-";
/// Words after which it does.
const WORDS_BEFORE_PATTERN: [&str; 8] = [
    "print", "printf", "return", "in", "else", "do", "case", "exit",
];
/// Signs at the end of a line that end the statement; after others it goes on.
const ENDS: &str = "_)]}\";";

/// Tells whether an awk program only computes and prints.
pub(crate) fn is_plain_awk(program: &str) -> bool {
    let Some(code) = code_of(program) else {
        return false;
    };
    let pipes = code.replace("||", "").contains('|');
    let mut prints = code
        .match_indices("print")
        .filter_map(|(at, _)| code.get(at..));
    !pipes && !prints.any(redirects) && !REACHES_OUT.iter().any(|word| code.contains(word))
}

/// Tells whether a statement prints into a file: `>` between brackets compares.
fn redirects(statement: &str) -> bool {
    let mut depth = 0_i32;
    let mut before = ';';
    for c in statement.chars() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '>' if depth <= 0 => return true,
            ';' | '}' => return false,
            '\n' if before.is_alphanumeric() || ENDS.contains(before) => return false,
            _ => {}
        }
        if !c.is_whitespace() {
            before = c;
        }
    }
    false
}

/// Returns a program with a quote for each text and pattern, and without comments.
///
/// `None` where it depends on the awk which parts these are.
fn code_of(program: &str) -> Option<String> {
    let mut code = String::new();
    let mut rest = program.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' => {
                skip_text(&mut rest)?;
                code.push('"');
            }
            '/' if begins_pattern(&code, rest.clone())? => {
                skip_pattern(&mut rest)?;
                code.push('"');
            }
            '#' => while rest.next_if(|c| *c != '\n').is_some() {},
            '\\' => {
                // The line goes on.
                rest.next().filter(|c| *c == '\n')?;
            }
            _ => code.push(c),
        }
    }
    Some(code)
}

/// Tells whether a slash begins a pattern; else it divides.
fn begins_pattern(code: &str, mut rest: Peekable<Chars<'_>>) -> Option<bool> {
    let before = code.trim_end_matches([' ', '\t']);
    let word = before.rsplit(|c| !is_name(c)).next().unwrap_or_default();
    let counts = before.ends_with("++") || before.ends_with("--");
    match before.chars().next_back() {
        None => Some(true),
        Some('"' | ']' | '.') => Some(false),
        Some(c) if is_name(c) && word != "length" => Some(WORDS_BEFORE_PATTERN.contains(&word)),
        Some(c) if BEFORE_PATTERN.contains(c) && !counts => Some(true),
        // `(a) / b` divides, but after `if (a)` a pattern can follow.
        Some(_) => {
            let closes = rest.clone().any(|c| c == '/');
            let hides = rest.any(|c| matches!(c, '"' | '#' | '\\'));
            (!closes || !hides).then_some(false)
        }
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Takes a text up to the quote that closes it.
fn skip_text(rest: &mut Peekable<Chars<'_>>) -> Option<()> {
    loop {
        match rest.next()? {
            '"' => return Some(()),
            '\n' => return None,
            '\\' => {
                rest.next()?;
            }
            _ => {}
        }
    }
}

/// Takes a pattern up to the slash that closes it.
fn skip_pattern(rest: &mut Peekable<Chars<'_>>) -> Option<()> {
    loop {
        match rest.next()? {
            '/' => return Some(()),
            '\n' => return None,
            '\\' => {
                rest.next().filter(|c| *c != '\n')?;
            }
            '[' => skip_set(rest)?,
            _ => {}
        }
    }
}

/// Takes a set of characters, in which a slash means itself to some and the end to others.
fn skip_set(rest: &mut Peekable<Chars<'_>>) -> Option<()> {
    rest.next_if_eq(&'^');
    rest.next_if_eq(&']');
    loop {
        match rest.next()? {
            ']' => return Some(()),
            '/' | '\n' => return None,
            '\\' => {
                rest.next().filter(|c| !matches!(c, ']' | '\n'))?;
            }
            '[' => {
                // `[:alpha:]`
                if let Some(kind) = rest.next_if(|c| matches!(c, ':' | '.' | '=')) {
                    let inside = |c: &char| *c != kind && !matches!(c, '/' | '\n');
                    while rest.next_if(inside).is_some() {}
                    rest.next_if_eq(&kind)?;
                    rest.next_if_eq(&']')?;
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_compute_and_print_are_plain() {
        for plain in [
            "{print $1}",
            "$3 > 100 {print $1}",
            "NR==1 || /x/ {s += $2} END {print s}",
            "{print \"a > b | c; system @\"}",
            "{print ($1 > 5 ? \"much\" : \"little\")}",
            "{if ($1 > 5) print \"a\"; else if ($1 > 3) print \"b\"}",
            "{gsub(/\"/, \"\"); print $1 / 2 \" %\"}",
            "/^[[:space:]]*#/ {next} {n++} END {print n}",
            "{print $1,\n $2}\n$3 > 5 {n++}",
            "{print $1\n}\n# more > less\n$2 > 1 {n++}",
            "END {print (a + b) / 2}",
            "{print a[1] / 2 \" km/h\"}",
        ] {
            assert!(is_plain_awk(plain), "{plain}");
        }
    }

    #[test]
    fn programs_that_reach_out_are_found() {
        for reaching in [
            "BEGIN {system(\"id\")}",
            "{print > \"/etc/x\"}",
            "{print | \"sh\"}",
            "BEGIN {while ((getline line < \"/etc/passwd\") > 0) print line}",
            "BEGIN {print \"x;\" > \"/etc/x\"}",
            "BEGIN {print \"}\" > \"/etc/x\"}",
            "BEGIN {print \"\\\";\" >> \"/etc/x\"}",
            "BEGIN {print \"x\",\n\"y\" > \"/etc/x\"}",
            "BEGIN {print 1 &&\n2 > \"/etc/x\"}",
            "BEGIN {print \"x\" \\\n > \"/etc/x\"}",
            "BEGIN {print (1)(2) > \"/etc/x\"}",
            "/\"/ {x = 1} BEGIN {print > \"/etc/x\"} /\"/",
            "BEGIN {if (1) /\"/; print > \"/etc/x\"; /\"/}",
            "BEGIN {x++ /\"/; print > \"/etc/x\"; /\"/}",
            "/[/\"]/ {print > \"/etc/x\"} /\"/",
            "/[[:alpha:]/\"]/ {print > \"/etc/x\"} /\"/",
            "BEGIN { # \" \\\nprint > \"/etc/x\" # \"\n}",
            "BEGIN {for (i in SYMTAB) print i}",
            "{print \"open}",
        ] {
            assert!(!is_plain_awk(reaching), "{reaching}");
        }
    }
}
