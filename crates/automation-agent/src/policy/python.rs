//! Judges Python scripts by their tokens: modules, names, attributes, and the texts they hold.

use self::lexer::{Token, lex};
use super::{Findings, paths, rule::Rule};

mod lexer;

/// Modules that a step may import.
const MODULES: [&str; 27] = [
    "__future__",
    "array",
    "bisect",
    "calendar",
    "collections",
    "contextlib",
    "copy",
    "csv",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "fractions",
    "functools",
    "glob",
    "heapq",
    "itertools",
    "json",
    "math",
    "operator",
    "os",
    "pathlib",
    "random",
    "re",
    "statistics",
    "string",
    "typing",
];
/// Further modules without a way out, kept apart for the reader: text and hashes.
const TEXT_MODULES: [&str; 8] = [
    "difflib",
    "hashlib",
    "html",
    "pprint",
    "sys",
    "textwrap",
    "time",
    "unicodedata",
];
/// Modules that are refused for a reason of their own.
#[rustfmt::skip]
const DENIED_MODULES: [(Rule, &[&str]); 5] = [
    (Rule::SpawnsProcess, &["subprocess", "pty", "multiprocessing", "concurrent", "asyncio", "signal", "posix", "_posixsubprocess"]),
    (Rule::UsesNetwork, &["socket", "ssl", "http", "urllib", "urllib3", "requests", "httpx", "aiohttp", "ftplib", "smtplib",
        "imaplib", "poplib", "telnetlib", "socketserver", "xmlrpc", "paramiko", "webbrowser"]),
    (Rule::HiddenCode, &["importlib", "imp", "runpy", "pickle", "marshal", "shelve", "code", "codeop", "builtins", "ctypes",
        "cffi", "types", "inspect", "base64", "binascii", "codecs", "zlib", "zipimport", "pkgutil", "gc", "site"]),
    (Rule::DestroysData, &["shutil"]),
    (Rule::ReadsCredentials, &["getpass", "keyring", "netrc", "pwd", "grp", "spwd", "dotenv"]),
];
/// Names that are refused wherever they stand, attributes included.
#[rustfmt::skip]
const DENIED_NAMES: [(Rule, &[&str]); 6] = [
    (Rule::HiddenCode, &["eval", "exec", "compile", "__import__", "getattr", "setattr", "delattr", "globals", "locals",
        "vars", "breakpoint", "attrgetter", "methodcaller", "modules", "meta_path", "path_hooks", "_getframe", "chr",
        "fromhex", "bytearray", "__builtins__", "settrace", "setprofile"]),
    (Rule::SpawnsProcess, &["system", "popen", "fork", "forkpty", "spawnl", "spawnle", "spawnlp", "spawnv", "spawnve",
        "spawnvp", "posix_spawn", "posix_spawnp", "execl", "execle", "execlp", "execv", "execve", "execvp", "execvpe", "startfile"]),
    (Rule::StopsProcesses, &["kill", "killpg", "abort"]),
    (Rule::ReadsCredentials, &["environ", "environb", "getenv", "getenvb", "expandvars"]),
    (Rule::DestroysData, &["unlink", "rmdir", "removedirs", "rmtree", "truncate"]),
    (Rule::RaisesPrivilege, &["chmod", "lchmod", "chown", "lchown", "setuid", "setgid", "seteuid", "setegid"]),
];
/// Ways out of the work folder without a text that shows it.
const OUTWARD: [&str; 13] = [
    "home",
    "expanduser",
    "parents",
    "pardir",
    "chdir",
    "fchdir",
    "chroot",
    "symlink",
    "symlink_to",
    "link",
    "hardlink_to",
    "mkfifo",
    "mknod",
];
/// Names with two underscores that only shape a program's own classes.
const DUNDERS: [&str; 15] = [
    "__future__",
    "__name__",
    "__main__",
    "__file__",
    "__doc__",
    "__init__",
    "__str__",
    "__repr__",
    "__eq__",
    "__lt__",
    "__hash__",
    "__len__",
    "__iter__",
    "__enter__",
    "__exit__",
];

/// Judges a Python script.
pub(super) fn judge(script: &str, findings: &mut Findings) {
    match lex(script) {
        Ok(tokens) => judge_tokens(&tokens, findings),
        Err(why) => findings.add(Rule::UnreadableScript, why),
    }
}

fn judge_tokens(tokens: &[Token], findings: &mut Findings) {
    imports(tokens, findings);
    let mut before = None;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Name(name) => judge_name(name, findings),
            Token::Text { value, code } => {
                let next = tokens.get(at + 1);
                judge_text(value, is_separator(before, next), findings);
                for part in code {
                    judge(part, findings);
                }
            }
            Token::Sign(_) | Token::End => {}
        }
        before = Some(token);
    }
}

fn judge_name(name: &str, findings: &mut Findings) {
    let denied = DENIED_NAMES.iter().find(|(_, names)| names.contains(&name));
    if let Some((rule, _)) = denied {
        findings.add(*rule, name);
    } else if OUTWARD.contains(&name) {
        findings.add(Rule::WritesOutside, name);
    } else if !name.is_ascii() {
        // Python folds letters of other alphabets into plain ones.
        findings.add(Rule::HiddenCode, name);
    } else if name.starts_with("__") && name.ends_with("__") && !DUNDERS.contains(&name) {
        findings.add(Rule::HiddenCode, name);
    } else if paths::is_secret_name(name) && name.chars().any(char::is_uppercase) {
        findings.add(Rule::ReadsCredentials, name);
    }
}

fn judge_text(value: &str, separator: bool, findings: &mut Findings) {
    if paths::is_credential(value) {
        findings.add(Rule::ReadsCredentials, value);
    }
    // "/ 100" is no path.
    let spaced = value.starts_with('/')
        && value
            .trim_start_matches('/')
            .starts_with(char::is_whitespace);
    let harmless = paths::readable(value) || spaced || (separator && value == "/");
    if !harmless {
        findings.add(Rule::ReadsOutside, value);
    }
    if value.contains("http://") || value.contains("https://") {
        findings.add(Rule::UsesNetwork, value);
    }
}

/// `"/".join(…)`, `split("/")`: a slash that is no path.
fn is_separator(before: Option<&Token>, next: Option<&Token>) -> bool {
    let sign = |token: Option<&Token>, sign: char| token == Some(&Token::Sign(sign));
    sign(next, '.') || (sign(before, '(') && sign(next, ')'))
}

/// Judges the statements `import a.b as c, d` and `from a import b`.
fn imports(tokens: &[Token], findings: &mut Findings) {
    let mut rest = tokens;
    let mut start = true;
    while let Some((token, others)) = rest.split_first() {
        let word = token.name().unwrap_or_default();
        if start && (word == "import" || word == "from") {
            let statement: Vec<&Token> = others
                .iter()
                .take_while(|token| **token != Token::End)
                .collect();
            import(word == "from", &statement, findings);
        }
        start = matches!(token, Token::End | Token::Sign(':' | ';'));
        rest = others;
    }
}

fn import(from: bool, statement: &[&Token], findings: &mut Findings) {
    let mut at_module = true;
    for token in statement {
        match token {
            Token::Name(name) if name == "as" => at_module = false,
            // `from a import b`: b is judged as any name is.
            Token::Name(name) if from && name == "import" => at_module = false,
            Token::Name(name) if at_module => {
                module(name, findings);
                at_module = false;
            }
            Token::Sign(',') if !from => at_module = true,
            Token::Sign('*') => findings.add(Rule::HiddenCode, "import *"),
            _ => {}
        }
    }
}

fn module(name: &str, findings: &mut Findings) {
    if MODULES.contains(&name) || TEXT_MODULES.contains(&name) {
        return;
    }
    let denied = DENIED_MODULES
        .iter()
        .find(|(_, modules)| modules.contains(&name));
    let rule = denied.map_or(Rule::ModuleNotAllowed, |(rule, _)| *rule);
    findings.add(rule, name);
}
