//! Splits Python into names, texts and signs. Comments are dropped, escapes in texts are resolved.

/// A part of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Name(String),
    /// A string, and the code inside the braces of a formatted one.
    Text {
        value: String,
        code: Vec<String>,
    },
    /// One character of an operator, or a bracket.
    Sign(char),
    /// The end of a line.
    End,
}

impl Token {
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            _ => None,
        }
    }
}

/// Reads a program.
pub(super) fn lex(script: &str) -> Result<Vec<Token>, &'static str> {
    if script
        .chars()
        .any(|c| c.is_control() && !matches!(c, '\n' | '\t'))
    {
        return Err("it holds control characters");
    }
    let mut lexer = Lexer {
        chars: script.chars().collect(),
        at: 0,
        tokens: Vec::new(),
    };
    lexer.run()?;
    Ok(lexer.tokens)
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    tokens: Vec<Token>,
}

impl Lexer {
    fn run(&mut self) -> Result<(), &'static str> {
        while let Some(c) = self.peek() {
            match c {
                ' ' | '\t' => self.at += 1,
                '\n' => self.push(Token::End),
                '#' => self.comment()?,
                '\\' if self.chars.get(self.at + 1) == Some(&'\n') => self.at += 2,
                '\'' | '"' => self.text("", c)?,
                _ if c.is_alphanumeric() || c == '_' => self.word()?,
                _ => self.push(Token::Sign(c)),
            }
        }
        Ok(())
    }

    fn push(&mut self, token: Token) {
        self.tokens.push(token);
        self.at += 1;
    }

    fn comment(&mut self) -> Result<(), &'static str> {
        let comment: String = self.rest().iter().take_while(|c| **c != '\n').collect();
        self.at += comment.chars().count();
        // A declared encoding can turn comments and texts into something else.
        if comment.contains("coding") {
            return Err("it declares an encoding");
        }
        Ok(())
    }

    /// Takes a name, a number, or the prefix of a text.
    fn word(&mut self) -> Result<(), &'static str> {
        let in_word = |c: &&char| c.is_alphanumeric() || **c == '_';
        let word: String = self.rest().iter().take_while(in_word).collect();
        self.at += word.chars().count();
        let prefix = word.to_lowercase();
        match self.peek() {
            Some(quote @ ('\'' | '"')) if is_prefix(&prefix) => self.text(&prefix, quote),
            _ => {
                self.tokens.push(Token::Name(word));
                Ok(())
            }
        }
    }

    fn text(&mut self, prefix: &str, quote: char) -> Result<(), &'static str> {
        let triple = self.rest().iter().take(3).filter(|c| **c == quote).count() == 3;
        let length = if triple { 3 } else { 1 };
        self.at += length;
        let raw = prefix.contains('r');
        let formatted = prefix.contains(['f', 't']);
        let mut value = String::new();
        loop {
            let c = self.peek().ok_or("a text is not closed")?;
            let closing = self.rest().iter().take_while(|c| **c == quote).count();
            if c == quote && closing >= length {
                self.at += length;
                break;
            }
            self.at += 1;
            match c {
                '\n' if !triple => return Err("a text is not closed"),
                '\\' if raw => {
                    value.push(c);
                    value.extend(self.next());
                }
                '\\' => {
                    let length = value.len();
                    self.escape(&mut value)?;
                    // Such a brace is text: with one beside it, it is no pair.
                    if formatted && value.len() > length && value.ends_with(['{', '}']) {
                        return Err("a brace is escaped");
                    }
                }
                _ => value.push(c),
            }
        }
        let code = if formatted {
            braces(&value)?
        } else {
            Vec::new()
        };
        self.tokens.push(Token::Text { value, code });
        Ok(())
    }

    fn escape(&mut self, value: &mut String) -> Result<(), &'static str> {
        let c = self.next().ok_or("a text is not closed")?;
        let digits = match c {
            '\n' => return Ok(()),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            'N' => return Err("a character is spelled by its name"),
            '0'..='7' => return self.octal(c, value),
            'n' => {
                value.push('\n');
                return Ok(());
            }
            't' => {
                value.push('\t');
                return Ok(());
            }
            _ => {
                value.push(c);
                return Ok(());
            }
        };
        let text: String = self.rest().iter().take(digits).collect();
        self.at += digits;
        let code = u32::from_str_radix(&text, 16).map_err(|_| "an escape is damaged")?;
        value.push(char::from_u32(code).ok_or("an escape is no character")?);
        Ok(())
    }

    fn octal(&mut self, first: char, value: &mut String) -> Result<(), &'static str> {
        let octal = |c: &&char| ('0'..='7').contains(*c);
        let more: String = self.rest().iter().take(2).take_while(octal).collect();
        self.at += more.len();
        let code = u32::from_str_radix(&format!("{first}{more}"), 8);
        let code = code.map_err(|_| "an escape is damaged")?;
        value.push(char::from_u32(code).ok_or("an escape is no character")?);
        Ok(())
    }

    fn rest(&self) -> &[char] {
        self.chars.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }
}

fn is_prefix(word: &str) -> bool {
    matches!(
        word,
        "r" | "u" | "b" | "f" | "t" | "br" | "rb" | "fr" | "rf" | "tr" | "rt"
    )
}

/// Returns the code inside the braces of a formatted text; formats nest at most as deep as braces.
fn braces(text: &str) -> Result<Vec<String>, &'static str> {
    let mut code = Vec::new();
    let mut depth = 0_usize;
    let mut current = String::new();
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            // Doubled outside a field, a brace means itself.
            '{' | '}' if depth == 0 && characters.peek() == Some(&c) => {
                characters.next();
            }
            '{' if depth == 0 => depth = 1,
            '{' => {
                depth += 1;
                // The field of a nested format is code as well.
                current.push(' ');
            }
            '}' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    code.push(std::mem::take(&mut current));
                }
            }
            '}' => return Err("a brace is not open"),
            _ if depth > 0 => current.push(c),
            _ => {}
        }
    }
    if depth == 0 {
        Ok(code)
    } else {
        Err("a brace is not closed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(script: &str) -> Vec<String> {
        let text = |token| match token {
            Token::Text { value, .. } => Some(value),
            _ => None,
        };
        lex(script).unwrap().into_iter().filter_map(text).collect()
    }

    #[test]
    fn texts_are_read_as_python_reads_them() {
        let script = "a = '\\x2fetc' + \"\\057x\" + r'\\x2f' + '''a\n'b''' + b'\\u002f' # 'no'\n";
        assert_eq!(texts(script), ["/etc", "/x", "\\x2f", "a\n'b", "/"]);
    }

    #[test]
    fn formatted_texts_show_their_code() {
        let tokens = lex("print(f'{a!r:>{w}} {{x}}')").unwrap();
        let code = tokens.iter().find_map(|token| match token {
            Token::Text { code, .. } => Some(code.clone()),
            _ => None,
        });
        assert_eq!(code, Some(vec!["a!r:> w".to_owned()]));
    }

    #[test]
    fn damaged_programs_are_errors() {
        for script in [
            "'a",
            "'''a'",
            "'\\x2'",
            "# -*- coding: utf-7 -*-",
            "f'{a'",
            "f'\\x7b{a}\\x7d'",
            "\r",
        ] {
            assert!(lex(script).is_err(), "{script:?}");
        }
    }
}
