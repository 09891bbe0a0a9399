//! Splits a shell script into words and operators, with quotes removed as a shell removes them.
//!
//! It knows what POSIX shells and bash share. What it does not know is an error, and an error is a
//! refusal: nothing is skipped, so that every character is judged as part of some word.

mod expansion;

/// Stands for an expansion in [`Word::text`].
pub(crate) const HOLE: char = '\0';

/// The script can not be read with certainty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable(pub(crate) &'static str);

/// A word after the removal of quotes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Word {
    /// Literal text, with [`HOLE`] for each expansion.
    pub(crate) text: String,
    /// What the holes stand for, in order.
    pub(crate) expansions: Vec<Expansion>,
    /// Some of it was quoted, so that it is no reserved word.
    pub(crate) quoted: bool,
    /// Its first `=` comes before any quote, so that it can be an assignment.
    pub(crate) assigns: bool,
    /// Holds an unquoted list or range of letters in braces, which becomes several words.
    pub(crate) braces: bool,
    /// Holds an unquoted pattern, which becomes the names that match.
    pub(crate) globs: bool,
}

/// What is only known when the script runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expansion {
    /// `$name` or `${name}`.
    Variable(String),
    /// `${name…}` with an operator.
    Modified(String),
    /// A command substitution or process substitution: the script inside.
    Command(String),
    /// A formula: the names in it.
    Arithmetic(Vec<String>),
}

/// A part of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Word(Word),
    /// Operator and target; the target of `<<` is the text of the here-document.
    Redirect(&'static str, Word),
    /// `;`, `&&`, `||`, `|` or the end of a line: another command may begin.
    End,
    Background,
    Open,
    Close,
}

/// Redirections, the longest first.
const REDIRECTS: [&str; 12] = [
    "&>>", "<<-", "<<<", "&>", "<<", ">>", ">|", ">&", "<>", "<&", "<", ">",
];
/// Other operators, the longest first.
const OPERATORS: [(&str, Token); 11] = [
    (";;&", Token::End),
    (";;", Token::End),
    ("&&", Token::End),
    ("||", Token::End),
    ("|&", Token::End),
    ("\n", Token::End),
    (";", Token::End),
    ("|", Token::End),
    ("&", Token::Background),
    ("(", Token::Open),
    (")", Token::Close),
];

/// Reads a script.
pub(crate) fn lex(script: &str) -> Result<Vec<Token>, Unreadable> {
    if script
        .chars()
        .any(|c| c.is_control() && !matches!(c, '\n' | '\t'))
    {
        return Err(Unreadable("it holds control characters"));
    }
    let mut lexer = Lexer {
        chars: script.chars().collect(),
        at: 0,
        waiting: Vec::new(),
        tokens: Vec::new(),
    };
    lexer.run()?;
    Ok(lexer.tokens)
}

/// A here-document whose text begins after the line.
struct HereDocument {
    /// Its token, which gets the text.
    token: usize,
    end: String,
    literal: bool,
    tabs: bool,
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    waiting: Vec<HereDocument>,
    tokens: Vec<Token>,
}

impl Lexer {
    fn run(&mut self) -> Result<(), Unreadable> {
        while let Some(c) = self.peek() {
            match c {
                ' ' | '\t' => self.at += 1,
                '#' => self.skip_line(),
                '\\' if self.starts("\\\n") => self.at += 2,
                _ => self.token()?,
            }
        }
        if self.waiting.is_empty() {
            Ok(())
        } else {
            Err(Unreadable("a here-document has no end"))
        }
    }

    fn token(&mut self) -> Result<(), Unreadable> {
        let substitution = self.starts("<(") || self.starts(">(");
        if !substitution {
            if let Some(operator) = self.redirect() {
                return self.target(operator);
            }
            let found = OPERATORS.iter().find(|(text, _)| self.starts(text));
            if let Some((text, token)) = found {
                self.at += text.chars().count();
                self.tokens.push(token.clone());
                return if *text == "\n" {
                    self.here_documents()
                } else {
                    Ok(())
                };
            }
        }
        let word = self.word()?;
        let named = word.text.len() > 2 && word.text.starts_with('{') && word.text.ends_with('}');
        if named && !word.quoted && matches!(self.peek(), Some('<' | '>')) {
            // `{name}>file` gives the variable the number of the open file.
            return Err(Unreadable("a redirection sets a variable"));
        }
        self.tokens.push(Token::Word(word));
        Ok(())
    }

    /// Takes a redirection, with the number before it.
    fn redirect(&mut self) -> Option<&'static str> {
        let digits = self
            .rest()
            .iter()
            .take_while(|c| c.is_ascii_digit())
            .count();
        let start = self.at;
        self.at += digits;
        let found = REDIRECTS.into_iter().find(|text| self.starts(text));
        // `2&>x` is the argument `2`, not a numbered redirection.
        let found = found.filter(|text| digits == 0 || !text.starts_with('&'));
        self.at = found.map_or(start, |text| self.at + text.len());
        found
    }

    fn target(&mut self, operator: &'static str) -> Result<(), Unreadable> {
        while matches!(self.peek(), Some(' ' | '\t')) {
            self.at += 1;
        }
        let word = self.word()?;
        if word == Word::default() {
            return Err(Unreadable("a redirection leads nowhere"));
        }
        if matches!(operator, "<<" | "<<-") {
            if !word.expansions.is_empty() {
                return Err(Unreadable("the end of a here-document is not literal"));
            }
            self.waiting.push(HereDocument {
                token: self.tokens.len(),
                end: word.text.clone(),
                literal: word.quoted,
                tabs: operator == "<<-",
            });
        }
        self.tokens.push(Token::Redirect(operator, word));
        Ok(())
    }

    /// Reads the texts of the here-documents that the line before announced.
    fn here_documents(&mut self) -> Result<(), Unreadable> {
        for document in std::mem::take(&mut self.waiting) {
            let mut text = String::new();
            loop {
                if self.peek().is_none() {
                    return Err(Unreadable("a here-document has no end"));
                }
                let line: String = self.rest().iter().take_while(|c| **c != '\n').collect();
                self.at += line.chars().count() + 1;
                let line = if document.tabs {
                    line.trim_start_matches('\t')
                } else {
                    &line
                };
                if line == document.end {
                    break;
                }
                text.push_str(line);
                text.push('\n');
            }
            let body = if document.literal {
                Word {
                    text,
                    quoted: true,
                    ..Word::default()
                }
            } else {
                quoted_text(&text)?
            };
            if let Some(Token::Redirect(_, target)) = self.tokens.get_mut(document.token) {
                *target = body;
            }
        }
        Ok(())
    }

    fn word(&mut self) -> Result<Word, Unreadable> {
        let mut word = Word::default();
        let mut in_braces = false;
        while let Some(c) = self.peek() {
            let substitution = self.starts("<(") || self.starts(">(");
            if substitution {
                self.at += 1;
                let script = self.balanced('(', ')')?;
                word.expand(Expansion::Command(script));
                continue;
            }
            if matches!(
                c,
                ' ' | '\t' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>'
            ) {
                break;
            }
            self.at += 1;
            match c {
                '\\' => self.escaped(&mut word)?,
                '\'' => self.single_quoted(&mut word)?,
                '"' => self.double_quoted(&mut word)?,
                '$' => self.dollar(&mut word)?,
                '`' => self.backticks(&mut word)?,
                _ => {
                    in_braces |= c == '{';
                    word.braces |= in_braces && (c == ',' || (c == '}' && word.ends_in_letters()));
                    word.globs |= matches!(c, '*' | '?' | '[');
                    word.assigns |= c == '=' && !word.quoted && !word.text.contains('=');
                    word.text.push(c);
                }
            }
        }
        Ok(word)
    }

    fn escaped(&mut self, word: &mut Word) -> Result<(), Unreadable> {
        let c = self.next().ok_or(Unreadable("it ends in a backslash"))?;
        if c != '\n' {
            word.quoted = true;
            word.text.push(c);
        }
        Ok(())
    }

    fn single_quoted(&mut self, word: &mut Word) -> Result<(), Unreadable> {
        word.quoted = true;
        loop {
            match self.next().ok_or(Unreadable("a quote is not closed"))? {
                '\'' => return Ok(()),
                c => word.text.push(c),
            }
        }
    }

    fn double_quoted(&mut self, word: &mut Word) -> Result<(), Unreadable> {
        word.quoted = true;
        loop {
            match self.next().ok_or(Unreadable("a quote is not closed"))? {
                '"' => return Ok(()),
                c => self.inside_quotes(c, word)?,
            }
        }
    }

    /// Takes one character between double quotes, or of a here-document.
    fn inside_quotes(&mut self, c: char, word: &mut Word) -> Result<(), Unreadable> {
        match (c, self.peek()) {
            ('\\', Some('\n')) => self.at += 1,
            ('\\', Some(escaped @ ('$' | '`' | '"' | '\\'))) => {
                self.at += 1;
                word.text.push(escaped);
            }
            // Between quotes these two are ordinary: no `$'…'`, no `$"…"`.
            ('$', Some('\'' | '"')) => word.text.push('$'),
            ('$', _) => self.dollar(word)?,
            ('`', _) => self.backticks(word)?,
            _ => word.text.push(c),
        }
        Ok(())
    }

    fn skip_line(&mut self) {
        while self.peek().is_some_and(|c| c != '\n') {
            self.at += 1;
        }
    }

    fn starts(&self, text: &str) -> bool {
        let mut rest = self.rest().iter();
        text.chars().all(|c| rest.next() == Some(&c))
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

impl Word {
    /// Tells whether this is an unquoted literal, such as a reserved word.
    pub(crate) fn is(&self, text: &str) -> bool {
        !self.quoted && self.text == text
    }

    /// Tells whether a shell may put in names that are not in the text.
    pub(crate) fn is_pattern(&self) -> bool {
        self.globs || !self.expansions.is_empty()
    }

    /// Tells whether the text ends in a range such as `{a..c`, which can spell an option.
    fn ends_in_letters(&self) -> bool {
        let (_, inside) = self.text.rsplit_once('{').unwrap_or_default();
        inside.contains("..") && inside.contains(|c: char| c.is_ascii_alphabetic())
    }

    fn expand(&mut self, expansion: Expansion) {
        self.text.push(HOLE);
        self.expansions.push(expansion);
    }
}

/// Reads text as between double quotes.
fn quoted_text(text: &str) -> Result<Word, Unreadable> {
    let mut lexer = Lexer {
        chars: text.chars().collect(),
        at: 0,
        waiting: Vec::new(),
        tokens: Vec::new(),
    };
    let mut word = Word {
        quoted: true,
        ..Word::default()
    };
    while let Some(c) = lexer.next() {
        lexer.inside_quotes(c, &mut word)?;
    }
    Ok(word)
}
