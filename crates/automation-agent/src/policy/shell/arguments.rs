//! Judges a command by its row in the table.

use super::{
    Judge,
    commands::{Class, class, denied_option},
    lexer::{HOLE, Word},
    parse::assignment,
    programs::{is_plain_awk, is_plain_jq, is_plain_sed},
};
use crate::policy::{paths, python, rule::Rule};

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
            Class::Text | Class::Condition | Class::Lists => {}
            Class::Reads if name == "cd" && arguments.is_empty() => {
                self.findings.add(Rule::ReadsOutside, &name);
            }
            Class::Reads => self.operands(arguments, 0, Self::reads),
            Class::Filters => self.filters(&name, arguments),
            Class::Writes | Class::Tar => self.operands(arguments, 0, Self::writes),
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

    /// Judges what holds for the arguments of any command.
    fn options(&mut self, name: &str, class: Class, arguments: &[Word]) {
        let program = matches!(
            class,
            Class::Filters | Class::Sed | Class::Awk | Class::Shell | Class::Python
        );
        for (at, argument) in arguments.iter().enumerate() {
            let text = argument.text.as_str();
            // `tar xIf` is `tar -xIf`.
            let bare = class == Class::Tar && at == 0 && !text.starts_with('-');
            let spelled = if bare {
                format!("-{text}")
            } else {
                text.to_owned()
            };
            if let Some(rule) = denied_option(name, &spelled) {
                self.findings.add(rule, text);
            }
            if class != Class::Text && spelled.starts_with('-') && text.contains(HOLE) {
                self.findings.add(Rule::UnseenArguments, text);
            }
            if !program {
                self.no_quoted_code(argument);
            }
        }
    }

    /// Judges operands as paths, from the one numbered `from` on, and the values inside options.
    fn operands(&mut self, arguments: &[Word], from: usize, judge: fn(&mut Self, &Word)) {
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
        // A lone slash is a separator: `cut -d/`.
        if value != "/" {
            let value = value.to_owned();
            judge(
                self,
                &Word {
                    text: value,
                    ..option.clone()
                },
            );
        }
    }

    fn filters(&mut self, name: &str, arguments: &[Word]) {
        if name == "jq" && !arguments.iter().all(|word| is_plain_jq(&word.text)) {
            self.findings
                .add(Rule::ReadsCredentials, "jq reads the environment");
        }
        // With the pattern inside an option, the first operand is a file already.
        let pattern_in_option = arguments.iter().any(|word| {
            let text = word.text.as_str();
            text.starts_with("--regexp")
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
                texts.iter().all(|text| paths::within(text)) && (literal || !recursive)
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
        let mut rest = arguments;
        while let Some((word, others)) = rest.split_first() {
            if let Some((name, value)) = assignment(word) {
                self.assigns(&name, &value);
            } else if !word.text.starts_with('-') && !is_duration(&word.text) {
                break;
            }
            rest = others;
        }
        match rest {
            [] if name == "env" => self.findings.add(Rule::ReadsCredentials, name),
            [] => {}
            command => self.run(command),
        }
    }

    fn interprets(&mut self, class: Class, words: &[Word]) {
        let arguments = words.get(1..).unwrap_or_default();
        let asks = |word: &Word| matches!(word.text.as_str(), "--version" | "-V");
        if !arguments.is_empty() && arguments.iter().all(asks) {
            return;
        }
        let code = match class {
            Class::Shell => code_argument(arguments, false),
            Class::Python => code_argument(arguments, true),
            _ => None,
        };
        let operand = arguments.iter().any(|word| !word.text.starts_with('-'));
        match code {
            Some(code) if !code.expansions.is_empty() || code.braces => {
                self.findings.add(Rule::HiddenCode, &whole(words));
            }
            Some(code) if class == Class::Python => python::judge(&code.text, self.findings),
            Some(code) => self.nested(&code.text),
            None if operand || class == Class::Interpreter && !arguments.is_empty() => {
                self.findings.add(Rule::HiddenCode, &whole(words));
            }
            None => self.findings.add(Rule::PipesIntoInterpreter, &whole(words)),
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
            } else if !url && !option {
                self.writes(word);
            }
        }
    }

    fn find(&mut self, arguments: &[Word]) {
        let is_root = |word: &&Word| !word.text.starts_with(['-', '(', '!']);
        let roots: Vec<&Word> = arguments.iter().take_while(is_root).collect();
        let has = |names: &[&str]| {
            arguments
                .iter()
                .any(|word| names.contains(&word.text.as_str()))
        };
        let acts = has(&["-exec", "-execdir", "-ok", "-okdir", "-delete"]);
        if acts {
            for root in roots {
                self.reads(root);
            }
        }
        if has(&["-delete"]) && !has(&["-name", "-iname", "-path", "-regex"]) {
            self.findings.add(Rule::DestroysData, "find -delete");
        }
        if let Some(unknown) = arguments
            .iter()
            .find(|word| self.scope.texts(word).is_none())
        {
            self.findings.add(Rule::UnseenArguments, &unknown.text);
        }
        let mut rest = arguments;
        while let Some((word, others)) = rest.split_first() {
            rest = others;
            match word.text.as_str() {
                "-exec" | "-execdir" | "-ok" | "-okdir" => {
                    let end = others
                        .iter()
                        .position(|word| matches!(word.text.as_str(), ";" | "+"));
                    let command = others
                        .get(..end.unwrap_or(others.len()))
                        .unwrap_or_default();
                    self.run(command);
                }
                "-fprint" | "-fprint0" | "-fprintf" | "-fls" => {
                    if let Some(file) = others.first() {
                        self.writes(file);
                    }
                }
                "-files0-from" => self.findings.add(Rule::UnseenArguments, &word.text),
                _ => {}
            }
        }
    }

    fn sed(&mut self, arguments: &[Word]) {
        const PLAIN: [&str; 9] = ["-n", "-E", "-r", "-i", "-s", "-z", "-u", "-nE", "-i.bak"];
        let mut after_e = false;
        let mut operand_is_program = !arguments.iter().any(|word| word.text == "-e");
        for word in arguments {
            let text = word.text.as_str();
            if after_e || (operand_is_program && !text.starts_with('-')) {
                self.program(word, is_plain_sed(text));
                operand_is_program &= after_e;
                after_e = false;
            } else if text == "-e" {
                after_e = true;
            } else if !text.starts_with('-') {
                self.writes(word);
            } else if !PLAIN.contains(&text) {
                self.findings.add(Rule::HiddenCode, text);
            }
        }
    }

    fn awk(&mut self, arguments: &[Word]) {
        let mut rest = arguments;
        while let Some((word, others)) = rest.split_first() {
            match word.text.as_str() {
                "-F" | "-v" => rest = others.get(1..).unwrap_or_default(),
                text if text.starts_with("-F") || text.starts_with("-v") => rest = others,
                text if text.starts_with('-') => {
                    self.findings.add(Rule::HiddenCode, text);
                    rest = others;
                }
                text => {
                    self.program(word, is_plain_awk(text));
                    self.operands(others, 0, Self::reads);
                    return;
                }
            }
        }
    }

    fn program(&mut self, word: &Word, plain: bool) {
        if !plain || !word.expansions.is_empty() || word.braces {
            self.findings.add(Rule::HiddenCode, &word.text);
        }
    }

    fn chmod(&mut self, words: &[Word]) {
        let arguments = words.get(1..).unwrap_or_default();
        let mode = arguments.iter().find(|word| !word.text.starts_with('-'));
        let raises = mode.is_none_or(|mode| {
            let numeric = mode.text.bytes().all(|b| b.is_ascii_digit());
            let special = mode.text.len() > 3 && !mode.text.starts_with('0');
            mode.text.contains(['s', HOLE]) || (numeric && special)
        });
        if raises {
            self.findings.add(Rule::RaisesPrivilege, &whole(words));
        }
        self.operands(arguments, 1, Self::writes);
    }

    fn dd(&mut self, arguments: &[Word]) {
        for word in arguments {
            if !word.expansions.is_empty() || word.braces {
                self.findings.add(Rule::UnseenArguments, &word.text);
            }
            let Some((name, value)) = word.text.split_once('=') else {
                continue;
            };
            let path = Word {
                text: value.to_owned(),
                ..word.clone()
            };
            match name {
                "of" if value.starts_with("/dev/") => {
                    self.findings.add(Rule::DestroysData, &word.text);
                }
                "of" => self.writes(&path),
                "if" => self.reads(&path),
                _ => {}
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

/// Returns the code given by `-c`: the next argument, or (for Python) the rest of this one.
fn code_argument(arguments: &[Word], attached: bool) -> Option<Word> {
    let is_c = |word: &Word| {
        let text = word.text.as_str();
        text.starts_with('-') && !text.starts_with("--") && text.contains('c')
    };
    // An operand before it would be a script's name.
    let mut options = arguments
        .iter()
        .take_while(|word| word.text.starts_with('-'));
    let at = options.position(is_c)?;
    let option = arguments.get(at)?;
    let (_, rest) = option.text.split_once('c')?;
    if rest.is_empty() || !attached {
        return arguments.get(at + 1).cloned();
    }
    Some(Word {
        text: rest.to_owned(),
        ..option.clone()
    })
}

fn is_duration(text: &str) -> bool {
    let number = text.trim_end_matches(['s', 'm', 'h', 'd']);
    !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

fn whole(words: &[Word]) -> String {
    let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    texts.join(" ")
}
