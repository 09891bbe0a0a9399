//! Judges Python scripts by their tokens: modules, names, attributes, and the texts they hold.

pub(super) use self::modules::is_module_file;
use self::{
    lexer::{Token, lex},
    modules::denied_module,
};
use super::{Findings, paths, rule::Rule};

mod forms;
mod lexer;
mod modules;

/// Names that are refused wherever they stand, attributes included.
#[rustfmt::skip]
const DENIED_NAMES: [(Rule, &[&str]); 9] = [
    (Rule::HiddenCode, &["eval", "exec", "compile", "__import__", "getattr", "setattr", "delattr", "globals", "locals",
        "vars", "breakpoint", "attrgetter", "methodcaller", "modules", "meta_path", "path_hooks", "_getframe", "chr",
        "fromhex", "bytearray", "__builtins__", "settrace", "setprofile"]),
    // These read names or code out of texts.
    (Rule::HiddenCode, &["Formatter", "get_field", "get_type_hints", "ForwardRef", "evaluate_forward_ref", "singledispatch",
        "singledispatchmethod", "update_wrapper", "wraps", "global_enum", "make_dataclass", "dispatch_table", "metaclass",
        "help", "breakpointhook", "execfile", "_convert_", "_old_convert_", "_create_fn", "_FuncBuilder", "_process_class",
        "_eval_type", "_evaluate", "_stream", "_old_targets", "_attr_name", "_cls_type", "_simple_enum",
        "_test_simple_enum"]),
    // These load files, or hand out the code and the variables of other functions.
    (Rule::HiddenCode, &["path_importer_cache", "find_spec", "find_module", "find_loader", "load_module", "exec_module",
        "create_module", "import_module", "module_from_spec", "spec_from_file_location", "run_path", "run_module",
        "get_code", "source_to_code", "remote_exec", "f_globals", "f_locals", "f_builtins", "f_back", "f_code",
        "tb_frame", "gi_frame", "gi_code", "cr_frame", "cr_code", "ag_frame", "ag_code", "func_globals", "func_code",
        "_getframemodulename", "_current_frames", "_current_exceptions"]),
    (Rule::SpawnsProcess, &["system", "popen", "fork", "forkpty", "spawnl", "spawnle", "spawnlp", "spawnlpe", "spawnv",
        "spawnve", "spawnvp", "spawnvpe", "posix_spawn", "posix_spawnp", "execl", "execle", "execlp", "execlpe", "execv",
        "execve", "execvp", "execvpe", "startfile"]),
    (Rule::StopsProcesses, &["kill", "killpg", "abort"]),
    (Rule::ReadsCredentials, &["environ", "environb", "getenv", "getenvb", "expandvars"]),
    (Rule::AltersEnvironment, &["putenv", "unsetenv"]),
    (Rule::DestroysData, &["unlink", "rmdir", "removedirs", "rmtree", "truncate"]),
    (Rule::RaisesPrivilege, &["chmod", "lchmod", "fchmod", "chown", "lchown", "fchown", "setuid", "setgid", "seteuid",
        "setegid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups", "initgroups"]),
];
/// Ways out of the work folder without a text that shows it.
const OUTWARD: [&str; 14] = [
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
    "link_to",
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

/// Methods of texts that take a slash as a separator.
const CUTTERS: [&str; 16] = [
    "count",
    "endswith",
    "find",
    "index",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "rfind",
    "rindex",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "startswith",
    "strip",
];

/// Judges a Python script.
pub(super) fn judge(script: &str, findings: &mut Findings) {
    match lex(script) {
        Ok(tokens) => judge_tokens(&tokens, findings),
        Err(why) => findings.add(Rule::UnreadableScript, why),
    }
}

fn judge_tokens(tokens: &[Token], findings: &mut Findings) {
    let mut imported = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Name(name) => {
                if starts_statement(tokens, at) && (name == "import" || name == "from") {
                    imported = imported.max(import(tokens, at, findings));
                }
                judge_name(name, findings);
                if at >= imported {
                    forms::judge(tokens, at, name, findings);
                }
            }
            Token::Text { value, code } => {
                judge_text(value, is_separator(tokens, at), findings);
                for part in code {
                    judge(part, findings);
                }
            }
            Token::Sign(_) | Token::End => {}
        }
    }
}

/// Returns the token that stands so many places before another one.
fn before(tokens: &[Token], at: usize, places: usize) -> Option<&Token> {
    at.checked_sub(places).and_then(|at| tokens.get(at))
}

fn starts_statement(tokens: &[Token], at: usize) -> bool {
    matches!(
        before(tokens, at, 1),
        None | Some(Token::End | Token::Sign(':' | ';'))
    )
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
    if is_module_file(value.rsplit('/').next().unwrap_or(value)) {
        findings.add(Rule::HiddenCode, value);
    }
}

/// `"/".join(…)`, `x.split("/")`: a slash that is no path.
fn is_separator(tokens: &[Token], at: usize) -> bool {
    let next = tokens.get(at + 1);
    let called = before(tokens, at, 2).and_then(Token::name);
    let cuts = called.is_some_and(|name| CUTTERS.contains(&name))
        && before(tokens, at, 1) == Some(&Token::Sign('('))
        && before(tokens, at, 3) == Some(&Token::Sign('.'));
    next == Some(&Token::Sign('.')) || (cuts && matches!(next, Some(Token::Sign(')' | ','))))
}

/// Judges the statement `import a.b as c, d` or `from a import b`; returns where it ends.
fn import(tokens: &[Token], at: usize, findings: &mut Findings) -> usize {
    let from = tokens.get(at).and_then(Token::name) == Some("from");
    let statement = statement(tokens.get(at + 1..).unwrap_or_default());
    let mut at_module = true;
    let mut last = "";
    for token in statement {
        match token {
            Token::Name(name) if name == "as" => {
                at_module = false;
                // Its uses would go by another name.
                if last == "dataclass" {
                    findings.add(Rule::HiddenCode, "dataclass as");
                }
            }
            // `from a import b`: b is judged as any name is.
            Token::Name(name) if from && name == "import" => at_module = false,
            Token::Name(name) if at_module => {
                if let Some(rule) = denied_module(name) {
                    findings.add(rule, name);
                }
                at_module = false;
            }
            Token::Name(name) if last != "as" && forms::is_door(name) => {
                findings.add(Rule::HiddenCode, name);
            }
            Token::Sign(',') if !from => at_module = true,
            Token::Sign('*') => findings.add(Rule::HiddenCode, "import *"),
            _ => {}
        }
        last = token.name().unwrap_or_default();
    }
    // `yield from` can stand at the beginning of a line.
    let imports = !from || statement.iter().any(|token| token.name() == Some("import"));
    if imports { at + 1 + statement.len() } else { 0 }
}

/// Returns the tokens up to the end of a statement; between brackets a line may end.
fn statement(tokens: &[Token]) -> &[Token] {
    let mut depth = 0_i32;
    let end = tokens.iter().position(|token| {
        match token {
            Token::Sign('(') => depth += 1,
            Token::Sign(')') => depth -= 1,
            _ => {}
        }
        depth <= 0 && matches!(token, Token::End | Token::Sign(';'))
    });
    tokens
        .get(..end.unwrap_or(tokens.len()))
        .unwrap_or_default()
}
