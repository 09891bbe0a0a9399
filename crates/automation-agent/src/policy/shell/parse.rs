//! Groups tokens into simple commands; what surrounds them (loops, conditions) only adds order.

use super::lexer::{Token, Unreadable, Word, lex};

/// Reserved words after which a command begins.
const BEFORE_COMMAND: [&str; 13] = [
    "if", "then", "elif", "else", "fi", "while", "until", "do", "done", "!", "{", "}", "time",
];
/// Reserved words whose grammar is not known here.
const NOT_READ: [&str; 4] = ["case", "select", "coproc", "function"];

/// A script as a list of commands, in order.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) commands: Vec<Command>,
    /// Values that the loops give to their variables.
    pub(crate) loops: Vec<(String, Vec<Word>)>,
    /// Something is started in the background.
    pub(crate) background: bool,
    /// Functions, and whether their body names them.
    pub(crate) functions: Vec<(String, bool)>,
}

/// A command with its surroundings.
#[derive(Debug, Default)]
pub(crate) struct Command {
    /// `name=value` before the command, or alone.
    pub(crate) assignments: Vec<(String, Word)>,
    /// Name and arguments.
    pub(crate) words: Vec<Word>,
    pub(crate) redirects: Vec<(&'static str, Word)>,
}

/// Reads a script.
pub(crate) fn parse(script: &str) -> Result<Script, Unreadable> {
    let mut parser = Parser {
        tokens: lex(script)?,
        at: 0,
        script: Script::default(),
        command: Command::default(),
    };
    parser.run()?;
    Ok(parser.script)
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    script: Script,
    command: Command,
}

impl Parser {
    fn run(&mut self) -> Result<(), Unreadable> {
        while let Some(token) = self.next() {
            match token {
                Token::Word(word) => self.word(word)?,
                Token::Redirect(operator, target) => {
                    self.command.redirects.push((operator, target));
                }
                Token::End | Token::Close => self.flush(),
                Token::Background => {
                    self.script.background = true;
                    self.flush();
                }
                Token::Open => self.open()?,
            }
        }
        self.flush();
        Ok(())
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn flush(&mut self) {
        let command = std::mem::take(&mut self.command);
        if !command.is_empty() {
            self.script.commands.push(command);
        }
    }

    fn open(&mut self) -> Result<(), Unreadable> {
        match self.command.words.as_slice() {
            [] if self.command.assignments.is_empty() => Ok(()),
            [name] if self.tokens.get(self.at) == Some(&Token::Close) => {
                let name = name.text.clone();
                self.at += 1;
                let calls_itself = self.body_names(&name);
                self.script.functions.push((name, calls_itself));
                self.command = Command::default();
                Ok(())
            }
            _ => Err(Unreadable("a parenthesis in the middle of a command")),
        }
    }

    /// Looks for the name in what follows, up to the brace that closes the body.
    fn body_names(&self, name: &str) -> bool {
        let mut depth = 0_i32;
        for token in self.tokens.iter().skip(self.at) {
            let Token::Word(word) = token else {
                continue;
            };
            depth += i32::from(word.is("{")) - i32::from(word.is("}"));
            if word.text == name {
                return true;
            }
            if depth <= 0 && word.is("}") {
                return false;
            }
        }
        false
    }

    fn word(&mut self, word: Word) -> Result<(), Unreadable> {
        if self.command.words.is_empty() {
            if NOT_READ.iter().any(|reserved| word.is(reserved)) {
                return Err(Unreadable("this kind of compound command"));
            }
            if self.command.assignments.is_empty() {
                if word.is("for") {
                    return self.for_loop();
                }
                if BEFORE_COMMAND.iter().any(|reserved| word.is(reserved)) {
                    return Ok(());
                }
            }
            if let Some(assignment) = assignment(&word) {
                self.command.assignments.push(assignment);
                return Ok(());
            }
        }
        self.command.words.push(word);
        Ok(())
    }

    /// Takes `NAME in WORDS` up to the end of the list.
    fn for_loop(&mut self) -> Result<(), Unreadable> {
        const ODD: Unreadable = Unreadable("a loop of an unusual form");
        let Some(Token::Word(name)) = self.next() else {
            return Err(ODD);
        };
        match self.next() {
            Some(Token::Word(word)) if word.is("in") => {}
            _ => return Err(ODD),
        }
        let mut values = Vec::new();
        loop {
            match self.next() {
                Some(Token::Word(word)) => values.push(word),
                Some(Token::End) => break,
                _ => return Err(ODD),
            }
        }
        self.script.loops.push((name.text, values));
        Ok(())
    }
}

impl Command {
    fn is_empty(&self) -> bool {
        self.words.is_empty() && self.assignments.is_empty() && self.redirects.is_empty()
    }
}

/// Splits `name=value` or `name+=value`.
pub(crate) fn assignment(word: &Word) -> Option<(String, Word)> {
    let (name, value) = word.text.split_once('=').filter(|_| word.assigns)?;
    let name = name.strip_suffix('+').unwrap_or(name);
    let mut characters = name.chars();
    let plain = characters
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && characters.all(|c| c.is_ascii_alphanumeric() || c == '_');
    plain.then(|| {
        let value = Word {
            text: value.to_owned(),
            ..word.clone()
        };
        (name.to_owned(), value)
    })
}
