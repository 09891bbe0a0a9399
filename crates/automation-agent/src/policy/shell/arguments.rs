//! Judges a command by its row in the table.

use super::{
    Judge,
    commands::{Class, FILES, class, denied_option, has_options},
    lexer::{HOLE, Word},
    parse::assignment,
    programs::is_plain_jq,
};
use crate::policy::{paths, rule::Rule};

/// Folders whose programs are known by their bare name.
const SYSTEM_FOLDERS: [&str; 6] = [
    "/bin/",
    "/usr/bin/",
    "/sbin/",
    "/usr/sbin/",
    "/usr/local/bin/",
    "/usr/local/sbin/",
];
/// Refused commands whose arguments are another command, which is judged as well.
const CARRIERS: [&str; 5] = ["sudo", "doas", "nohup", "setsid", "xargs"];
/// Options by which a slash separates, and is no path.
const SEPARATORS: [&str; 9] = [
    "-d/",
    "-s/",
    "-t/",
    "--delimiter=/",
    "--delimiters=/",
    "--field-separator=/",
    "--output-delimiter=/",
    "--output-separator=/",
    "--separator=/",
];
/// Options of curl and wget that only shape the request and the output.
const FETCH_OPTIONS: [&str; 16] = [
    "-s",
    "-S",
    "-sS",
    "-L",
    "-sL",
    "-sSL",
    "-f",
    "-fsS",
    "-fsSL",
    "-o",
    "-O",
    "-I",
    "-q",
    "--fail",
    "--silent",
    "--location",
];

impl Judge<'_> {
    /// Judges a command that has at least a name.
    pub(super) fn run(&mut self, words: &[Word]) {
        let Some((first, arguments)) = words.split_first() else {
            return;
        };
        let Some(name) = name_of(first) else {
            self.findings.add(Rule::HiddenCode, &first.text);
            return;
        };
        let class = class(&name);
        self.options(&name, class, arguments);
        self.files(&name, class, arguments);
        match class {
            Class::Denied(rule) => {
                self.findings.add(rule, &whole(words));
                if CARRIERS.contains(&name.as_str()) {
                    self.wraps(&name, arguments);
                }
            }
            Class::Text | Class::Condition if name == "set" && arguments.is_empty() => {
                self.findings.add(Rule::ReadsCredentials, &name);
            }
            Class::Text if name == "printf" => self.printf(arguments),
            Class::Text | Class::Lists if has_options(&name) => self.no_hidden_option(arguments),
            Class::Text | Class::Condition | Class::Lists => {}
            Class::Reads => self.reading(&name, arguments),
            Class::Filters => self.filters(&name, arguments),
            Class::Writes => {
                if matches!(name.as_str(), "install" | "mkdir") {
                    self.modes(words);
                }
                self.operands(arguments, 0, Self::writes);
            }
            Class::Tar => self.tar(arguments),
            Class::Deletes => self.deletes(words),
            Class::Binds => self.variables(&name, arguments),
            Class::Wraps => self.wraps(&name, arguments),
            Class::Shell | Class::Python | Class::Interpreter => {
                self.interprets(class, words);
            }
            Class::Fetches => self.fetches(words),
            Class::Find => self.find(arguments),
            Class::Sed => self.sed(arguments),
            Class::Awk => self.awk(arguments),
            Class::Chmod => self.chmod(words),
            Class::Dd => self.dd(arguments),
            Class::Git => {
                let remote = [
                    "clone",
                    "fetch",
                    "pull",
                    "push",
                    "ls-remote",
                    "submodule",
                    "remote",
                ];
                let network = arguments
                    .iter()
                    .any(|word| remote.contains(&word.text.as_str()));
                let rule = if network {
                    Rule::UsesNetwork
                } else {
                    Rule::CommandNotAllowed
                };
                self.findings.add(rule, &whole(words));
            }
        }
    }

    /// Judges a command inside another one; they go as deep as scripts.
    pub(super) fn carries(&mut self, command: &[Word]) {
        if self.depth <= 1 {
            let why = "commands are put into commands too deep";
            self.findings.add(Rule::UnreadableScript, why);
            return;
        }
        self.depth -= 1;
        self.run(command);
        self.depth += 1;
    }

    /// Judges what holds for the arguments of any command.
    fn options(&mut self, name: &str, class: Class, arguments: &[Word]) {
        let program = matches!(
            class,
            Class::Filters | Class::Sed | Class::Awk | Class::Shell | Class::Python
        );
        let own = own_arguments(class, arguments).len();
        for (at, argument) in arguments.iter().enumerate() {
            let text = argument.text.as_str();
            // `tar xIf` is `tar -xIf`.
            let bare = class == Class::Tar && at == 0 && !text.starts_with('-');
            let spelled = if bare {
                format!("-{text}")
            } else {
                text.to_owned()
            };
            if let Some(rule) = denied_option(name, &spelled).filter(|_| at < own) {
                self.findings.add(rule, text);
            }
            let unseen = argument.braces || (class != Class::Text && text.contains(HOLE));
            if unseen && spelled.starts_with('-') {
                self.findings.add(Rule::UnseenArguments, text);
            }
            if !program {
                self.no_quoted_code(argument);
            }
        }
    }

    /// Judges the files that options name.
    fn files(&mut self, name: &str, class: Class, arguments: &[Word]) {
        let arguments = own_arguments(class, arguments);
        for (_, access, short, long) in FILES.iter().filter(|(command, ..)| *command == name) {
            // tree takes the next argument, whatever letters are in between.
            let pairs = arguments.windows(2).filter(|pair| has_letter(pair, *short));
            let next = pairs.filter_map(|pair| pair.get(1)).cloned();
            for file in values(arguments, *short, long).into_iter().chain(next) {
                if *access == Class::Writes {
                    self.writes(&file);
                } else {
                    self.reads(&file);
                }
            }
        }
    }

    /// Refuses options that are only known when the script runs.
    fn no_hidden_option(&mut self, arguments: &[Word]) {
        let options = arguments.iter().take_while(|word| word.text != "--");
        for word in options.filter(|word| self.scope.may_be_option(word)) {
            self.findings.add(Rule::UnseenArguments, &word.text);
        }
    }

    /// Refuses `%n`: bash writes the length so far into the variable that is named for it.
    fn printf(&mut self, arguments: &[Word]) {
        let mut arguments = arguments.iter().skip_while(|word| word.text == "--");
        let Some(format) = arguments.next() else {
            return;
        };
        let unseen = !format.expansions.is_empty() || format.braces;
        if counts(&format.text) || (unseen && arguments.next().is_some()) {
            self.findings.add(Rule::AltersEnvironment, &format.text);
        }
    }

    fn reading(&mut self, name: &str, arguments: &[Word]) {
        if matches!(name, "cd" | "pushd") {
            self.moves(name, arguments);
        }
        let separates = |word: &&Word| SEPARATORS.contains(&word.text.as_str());
        let judged: Vec<Word> = arguments
            .iter()
            .filter(|word| !separates(word))
            .cloned()
            .collect();
        self.operands(&judged, 0, Self::reads);
        if name == "uniq" {
            // The second one is where the output goes.
            self.operands(&judged, 1, Self::writes);
        }
    }

    /// A change of folder names one place; else shells go home, or where they were before.
    fn moves(&mut self, name: &str, arguments: &[Word]) {
        let option = |word: &&Word| word.text.starts_with('-') && word.text != "-";
        let mut places = arguments.iter().filter(|word| !option(word));
        let named = places.next().is_some_and(|place| {
            // Without quotes, a variable that is empty leaves nothing.
            let vanishes = !place.quoted && place.text.chars().all(|c| c == HOLE);
            place.text != "-" && !vanishes
        });
        if !named || places.next().is_some() {
            self.findings.add(Rule::ReadsOutside, name);
        }
    }

    fn tar(&mut self, arguments: &[Word]) {
        self.operands(arguments, 0, Self::writes);
        // What stands before a colon is the name of a host.
        let remote = |word: &&Word| word.text.contains(':') || self.scope.may_hold_time(word);
        if let Some(word) = arguments.iter().find(remote) {
            self.findings.add(Rule::UsesNetwork, &word.text);
        }
    }

    /// Judges operands as paths, from the one numbered `from` on, and the values inside options.
    pub(super) fn operands(
        &mut self,
        arguments: &[Word],
        from: usize,
        judge: fn(&mut Self, &Word),
    ) {
        let mut seen = 0;
        let mut only_operands = false;
        for argument in arguments {
            let text = argument.text.as_str();
            if text == "--" && !only_operands {
                only_operands = true;
            } else if text.starts_with('-') && text.len() > 1 && !only_operands {
                self.option_value(argument, judge);
            } else {
                if seen >= from {
                    judge(self, argument);
                }
                seen += 1;
            }
        }
    }

    /// Judges a path that is part of an option: `--file=x`, `-f/x`.
    fn option_value(&mut self, option: &Word, judge: fn(&mut Self, &Word)) {
        let text = option.text.as_str();
        let value = match (text.split_once('='), text.find('/')) {
            (Some((_, value)), _) => value,
            (None, Some(at)) => text.get(at..).unwrap_or_default(),
            (None, None) if text.contains("..") => text.trim_start_matches('-'),
            (None, None) => return,
        };
        let value = Word {
            text: value.to_owned(),
            ..option.clone()
        };
        judge(self, &value);
    }

    fn filters(&mut self, name: &str, arguments: &[Word]) {
        if name == "jq" && !arguments.iter().all(|word| is_plain_jq(&word.text)) {
            self.findings.add(Rule::ReadsCredentials, "jq reaches out");
        }
        // With the pattern inside an option, the first operand is a file already.
        let pattern_in_option = arguments.iter().any(|word| {
            let text = word.text.as_str();
            text.starts_with("--reg")
                || (text.starts_with('-')
                    && !text.starts_with("--")
                    && text.contains('e')
                    && text != "-e")
        });
        // A pattern that begins with something unknown may turn out to be an option.
        let pattern = arguments.iter().find(|word| !word.text.starts_with('-'));
        let unknown =
            |word: &&Word| word.text.starts_with(HOLE) && self.scope.texts(word).is_none();
        if let Some(pattern) = pattern.filter(unknown) {
            self.findings.add(Rule::UnseenArguments, &pattern.text);
        }
        self.operands(arguments, usize::from(!pattern_in_option), Self::reads);
    }

    fn deletes(&mut self, words: &[Word]) {
        let recursive = words.iter().any(|word| {
            let text = word.text.as_str();
            text.starts_with("--r")
                || text.starts_with("--no-p")
                || (text.starts_with('-') && !text.starts_with("--") && text.contains(['r', 'R']))
        });
        for target in words
            .iter()
            .skip(1)
            .filter(|word| !word.text.starts_with('-'))
        {
            let named = target.text.contains(|c| !".*?/{}".contains(c) && c != HOLE);
            let safe = self.scope.texts(target).is_some_and(|texts| {
                let literal = named && target.expansions.is_empty();
                let climbs = |text: &str| target.is_pattern() && paths::climbs(text);
                texts
                    .iter()
                    .all(|text| paths::within(text) && !climbs(text))
                    && (literal || !recursive)
            });
            if !safe {
                self.findings.add(Rule::DestroysData, &whole(words));
            }
        }
    }

    fn variables(&mut self, name: &str, arguments: &[Word]) {
        let plain = |word: &Word| word.text.starts_with('-');
        if name != "read" && arguments.iter().all(plain) {
            self.findings.add(Rule::ReadsCredentials, name);
        }
        let evaluates = |word: &Word| plain(word) && word.text.contains(['i', 'n']);
        if matches!(name, "declare" | "typeset" | "local") && arguments.iter().any(evaluates) {
            self.findings.add(Rule::HiddenCode, name);
        }
        for argument in arguments {
            match assignment(argument) {
                Some((name, value)) => self.assigns(&name, &value),
                None if argument.text.contains([HOLE, '[']) => {
                    self.findings.add(Rule::HiddenCode, &argument.text);
                }
                None => self.binds(&argument.text),
            }
        }
    }

    fn wraps(&mut self, name: &str, arguments: &[Word]) {
        let asks = |word: &Word| word.text == "-v" || word.text == "-V";
        if name == "command" && arguments.first().is_some_and(asks) {
            return;
        }
        let own = own_arguments(Class::Wraps, arguments);
        for (name, value) in own.iter().filter_map(assignment) {
            self.assigns(&name, &value);
        }
        match arguments.get(own.len()..).unwrap_or_default() {
            [] if name == "env" => self.findings.add(Rule::ReadsCredentials, name),
            [] => {}
            command => self.carries(command),
        }
    }

    fn fetches(&mut self, words: &[Word]) {
        if !self.policy.network {
            self.findings.add(Rule::UsesNetwork, &whole(words));
            return;
        }
        for word in words.iter().skip(1) {
            let text = word.text.as_str();
            let url = text.starts_with("https://") || text.starts_with("http://");
            let option = text.starts_with('-');
            if self.scope.texts(word).is_none() || (option && !FETCH_OPTIONS.contains(&text)) {
                self.findings.add(Rule::UnseenArguments, text);
            } else if url {
                // Its last part can be the name of the file.
                self.replaces_module(word);
            } else if text.contains(':') {
                // `file:/etc/passwd`, and what else has no slashes after its name.
                self.findings.add(Rule::ReadsOutside, text);
            } else if !option {
                self.writes(word);
            }
        }
    }
}

/// Returns the bare name of a command; `None` when it is a file, or only known at run time.
fn name_of(word: &Word) -> Option<String> {
    let text = word.text.as_str();
    let folder = SYSTEM_FOLDERS
        .iter()
        .find_map(|folder| text.strip_prefix(folder));
    let name = folder.unwrap_or(text);
    let bare = !name.contains(['/', HOLE]) && !word.braces;
    bare.then(|| name.to_owned())
}

/// Returns the arguments that a command does not hand to another one.
fn own_arguments(class: Class, arguments: &[Word]) -> &[Word] {
    let own = |word: &Word| {
        assignment(word).is_some() || word.text.starts_with('-') || is_duration(&word.text)
    };
    let command = arguments.iter().position(|word| !own(word));
    match command.filter(|_| class == Class::Wraps) {
        Some(at) => arguments.get(..at).unwrap_or_default(),
        None => arguments,
    }
}

/// Returns the values of an option: `-o x`, `-ox`, `--output x`, `--output=x`.
pub(super) fn values(arguments: &[Word], short: char, long: &str) -> Vec<Word> {
    let mut values = Vec::new();
    let options = arguments.iter().take_while(|word| word.text != "--");
    for (at, word) in options.enumerate() {
        let text = word.text.as_str();
        let value = if text.starts_with("--") {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            long.starts_with(name).then_some(value)
        } else if text.starts_with('-') {
            text.split_once(short).map(|(_, value)| value)
        } else {
            None
        };
        match value {
            Some("") => values.extend(arguments.get(at + 1).cloned()),
            Some(value) => values.push(Word {
                text: value.to_owned(),
                ..word.clone()
            }),
            None => {}
        }
    }
    values
}

/// Tells whether an option with this letter stands before something else.
fn has_letter(pair: &[Word], letter: char) -> bool {
    let mut dashed = pair.iter().map(|word| word.text.strip_prefix('-'));
    let letters = dashed.next().flatten();
    letters.is_some_and(|letters| !letters.starts_with('-') && letters.contains(letter))
        && dashed.next().flatten().is_none()
}

/// Tells whether a format of printf holds `%n`.
fn counts(format: &str) -> bool {
    let mut rest = format;
    while let Some((_, after)) = rest.split_once('%') {
        let conversion =
            after.trim_start_matches(|c: char| c.is_ascii_digit() || "#-+ '*.hjlLtz".contains(c));
        if conversion.starts_with('n') {
            return true;
        }
        rest = conversion.strip_prefix('%').unwrap_or(conversion);
    }
    false
}

fn is_duration(text: &str) -> bool {
    let number = text.trim_end_matches(['s', 'm', 'h', 'd']);
    !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

pub(super) fn whole(words: &[Word]) -> String {
    let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    texts.join(" ")
}
