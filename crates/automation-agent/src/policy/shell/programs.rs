//! Small languages inside arguments: only what is known to be harmless passes.

pub(super) use self::awk::is_plain_awk;

mod awk;

/// Tells whether a sed program only shows, deletes and substitutes lines.
///
/// `w`, `r` and `e`, and the flags of `s` by the same names, reach files and programs.
pub(super) fn is_plain_sed(program: &str) -> bool {
    let mut rest = program;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n', ';', '{', '}']);
        let Some(after_address) = skip_addresses(rest) else {
            return false;
        };
        let mut characters = after_address.chars();
        match characters.next() {
            None => return true,
            Some('s' | 'y') => match skip_substitution(characters.as_str()) {
                Some(after) => rest = after,
                None => return false,
            },
            Some('p' | 'd' | 'q' | '=' | 'n' | 'N' | 'D' | 'P' | 'g' | 'G' | 'h' | 'H' | 'x') => {
                rest = characters.as_str();
            }
            Some(_) => return false,
        }
        // A command ends at a separator, so that nothing is read as two.
        if !rest.is_empty() && !rest.starts_with([' ', '\n', ';', '}']) {
            return false;
        }
    }
}

fn skip_addresses(mut text: &str) -> Option<&str> {
    loop {
        text = text.trim_start_matches(|c: char| c.is_ascii_digit() || " ,$+~!".contains(c));
        match text.strip_prefix('/') {
            Some(pattern) => text = skip_to(pattern, '/')?,
            None => return Some(text),
        }
    }
}

fn skip_substitution(text: &str) -> Option<&str> {
    let mut characters = text.chars();
    let delimiter = characters
        .next()
        .filter(|c| c.is_ascii_punctuation() && *c != '\\')?;
    let rest = skip_to(characters.as_str(), delimiter)?;
    let rest = skip_to(rest, delimiter)?;
    Some(rest.trim_start_matches(|c: char| c.is_ascii_digit() || "gpIi".contains(c)))
}

/// Returns what follows the next delimiter that no backslash hides.
fn skip_to(text: &str, delimiter: char) -> Option<&str> {
    let mut hidden = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if hidden => hidden = false,
            '\\' => hidden = true,
            // Inside brackets the delimiter may mean itself or not, depending on the program.
            '[' => return None,
            _ if c == delimiter => return text.get(at + c.len_utf8()..),
            _ => {}
        }
    }
    None
}

/// Tells whether a jq program leaves the environment and other programs alone.
pub(super) fn is_plain_jq(program: &str) -> bool {
    const REACHES_OUT: [&str; 4] = ["env", "import", "include", "modulemeta"];
    let mut names = program.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'));
    !program.contains("$ENV")
        && !names.any(|name| REACHES_OUT.contains(&name) || name.starts_with("env."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sed_programs_are_read_to_their_end() {
        for plain in [
            "s/a/b/g",
            "1,5p",
            "$d",
            "/^#/d",
            "s|a/b|c|; s/x//2",
            "2q",
            "/a/,/b/p",
            "1!G;h;$!d",
        ] {
            assert!(is_plain_sed(plain), "{plain}");
        }
        for reaching in [
            "1e rm x",
            "s/a/b/e",
            "s/a/b/w out",
            "w /tmp/x",
            "r /etc/passwd",
            "s/a/b",
            "e",
            "p w x",
            "s/[/]/x/e",
        ] {
            assert!(!is_plain_sed(reaching), "{reaching}");
        }
    }

    #[test]
    fn jq_programs_compute_only() {
        assert!(is_plain_jq(".items[] | {name, environment}") && is_plain_jq(".import.include"));
        for reaching in ["env.PATH", "$ENV", "[env]", "import \"x\" as $x; $x"] {
            assert!(!is_plain_jq(reaching), "{reaching}");
        }
    }
}
