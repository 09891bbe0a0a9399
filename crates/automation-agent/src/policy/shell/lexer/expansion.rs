//! What begins with `$` or a backtick.

use super::{Expansion, Lexer, Unreadable, Word, quoted_text};

impl Lexer {
    /// Takes what follows a `$`.
    pub(super) fn dollar(&mut self, word: &mut Word) -> Result<(), Unreadable> {
        let expansion = match self.peek() {
            Some('(') => self.substitution(word)?,
            Some('{') => self.parameter(word)?,
            Some('\'') => return Err(Unreadable("escapes can spell anything")),
            Some('[') => return Err(Unreadable("a formula of the old form")),
            // `$"…"` is translated text: the quotes come next.
            Some('"') => return Ok(()),
            Some(c) if is_name(c) && !c.is_ascii_digit() => {
                let name: String = self.rest().iter().take_while(|c| is_name(**c)).collect();
                self.at += name.len();
                Expansion::Variable(name)
            }
            Some(c) if c.is_ascii_digit() || "@*#?-$!".contains(c) => {
                self.at += 1;
                Expansion::Variable(c.to_string())
            }
            _ => {
                word.text.push('$');
                return Ok(());
            }
        };
        word.expand(expansion);
        Ok(())
    }

    /// Takes `$(…)` or `$((…))`.
    fn substitution(&mut self, word: &mut Word) -> Result<Expansion, Unreadable> {
        let inside = self.balanced('(', ')')?;
        // A shell reads `$((` as arithmetic only where both parentheses close together at the end.
        let Some(formula) = inside
            .strip_prefix('(')
            .and_then(|rest| rest.strip_suffix(')'))
        else {
            return Ok(Expansion::Command(inside));
        };
        let mut depth = 0_i32;
        for c in formula.chars() {
            depth += i32::from(c == '(') - i32::from(c == ')');
            if depth < 0 {
                return Ok(Expansion::Command(inside));
            }
            if matches!(c, '\'' | '"' | '\\' | '`' | ';' | '\n' | '[') {
                return Err(Unreadable("a formula holds more than numbers"));
            }
        }
        word.nested(formula)?;
        Ok(Expansion::Arithmetic(names(formula)))
    }

    /// Takes `${…}`.
    fn parameter(&mut self, word: &mut Word) -> Result<Expansion, Unreadable> {
        let inside = self.balanced('{', '}')?;
        let counted = inside.strip_prefix('#').unwrap_or(&inside);
        let length = counted.chars().take_while(|c| is_name(*c)).count();
        let (name, operator) = counted.split_at(length);
        if name.is_empty() {
            return Err(Unreadable("a parameter has no plain name"));
        }
        if operator.is_empty() && counted.len() == inside.len() {
            return Ok(Expansion::Variable(name.to_owned()));
        }
        let known = matches!(operator, "" | "[@]" | "[*]")
            || (operator.starts_with([':', '-', '%', '#', '/', ',', '^'])
                && !operator.starts_with(":=")
                && !operator.contains('@'));
        if !known {
            // Indirection, prompts and computed subscripts can run what a variable holds; `:=`
            // changes the variable.
            return Err(Unreadable("a parameter is expanded in an unusual way"));
        }
        word.nested(operator)?;
        // `${x:1:2}` cuts by formulas, `${x:-…}` and its like hold text.
        let cuts = operator.strip_prefix(':');
        if let Some(formula) = cuts.filter(|rest| !rest.starts_with(['-', '+', '?'])) {
            if formula.contains(['\\', '[']) {
                return Err(Unreadable("a formula holds more than numbers"));
            }
            word.expand(Expansion::Arithmetic(names(formula)));
        }
        Ok(Expansion::Modified(name.to_owned()))
    }

    pub(super) fn backticks(&mut self, word: &mut Word) -> Result<(), Unreadable> {
        let mut script = String::new();
        loop {
            match self.next().ok_or(Unreadable("a backtick is not closed"))? {
                '`' => break,
                '\\' if matches!(self.peek(), Some('`' | '\\' | '$')) => {
                    script.extend(self.next());
                }
                c => script.push(c),
            }
        }
        word.expand(Expansion::Command(script));
        Ok(())
    }

    /// Takes everything up to the bracket that closes the one here.
    ///
    /// Quotes and comments hide brackets. Where shells disagree with themselves about what a quote
    /// means (in `${…}`) or hide text in another way (here-documents), reading ends.
    pub(super) fn balanced(&mut self, open: char, close: char) -> Result<String, Unreadable> {
        const UNCLOSED: Unreadable = Unreadable("a bracket is not closed");
        let start = self.at + 1;
        let mut depth = 0_usize;
        let mut before = ' ';
        while let Some(c) = self.next() {
            match c {
                '\\' => self.at += 1,
                '\'' | '"' | '`' if open == '{' => {
                    return Err(Unreadable("a quote inside a parameter"));
                }
                // Shells end at the first brace, whatever was opened in between.
                '{' if open == '{' && depth > 0 => {
                    return Err(Unreadable("a brace inside a parameter"));
                }
                '<' if self.starts("<") => {
                    return Err(Unreadable("a here-document inside a substitution"));
                }
                '`' => self.backticks(&mut Word::default())?,
                '\'' => self.single_quoted(&mut Word::default())?,
                '"' => self.double_quoted(&mut Word::default())?,
                '#' if open == '(' && " \t\n;|&(".contains(before) => self.skip_line(),
                _ if c == open => depth += 1,
                _ if c == close => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        let inside = self.chars.get(start..self.at - 1);
                        return inside.map(|c| c.iter().collect()).ok_or(UNCLOSED);
                    }
                }
                _ => {}
            }
            before = c;
        }
        Err(UNCLOSED)
    }
}

impl Word {
    /// Keeps the expansions inside an expansion, whose own text does not matter.
    fn nested(&mut self, text: &str) -> Result<(), Unreadable> {
        for expansion in quoted_text(text)?.expansions {
            self.expand(expansion);
        }
        Ok(())
    }
}

/// Lists the names in a formula.
fn names(formula: &str) -> Vec<String> {
    let names = formula.split(|c| !is_name(c));
    let names = names.filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
