//! Modules by name: what may be imported, and which files would be loaded in their place.

use crate::policy::rule::Rule;

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
/// The other modules of the standard library: those that may be imported load some of them.
#[rustfmt::skip]
const STANDARD: [&str; 176] = [
    "abc", "aifc", "annotationlib", "argparse", "ast", "asynchat", "asyncio", "asyncore", "atexit", "audioop",
    "base64", "bdb", "binascii", "binhex", "builtins", "bz2", "cgi", "cgitb", "chunk", "cmath", "cmd", "code",
    "codecs", "codeop", "colorsys", "compileall", "compression", "concurrent", "configparser", "contextvars",
    "copyreg", "cProfile", "crypt", "ctypes", "curses", "dbm", "dis", "distutils", "doctest", "email", "encodings",
    "ensurepip", "errno", "faulthandler", "fcntl", "filecmp", "fileinput", "fnmatch", "ftplib", "gc", "genericpath",
    "getopt", "getpass", "gettext", "graphlib", "grp", "gzip", "hmac", "http", "imaplib", "imghdr", "imp",
    "importlib", "inspect", "io", "ipaddress", "keyword", "linecache", "locale", "logging", "lzma", "mailbox",
    "mailcap", "marshal", "mimetypes", "mmap", "modulefinder", "multiprocessing", "netrc", "nis", "nntplib", "ntpath",
    "nturl2path", "numbers", "opcode", "optparse", "pdb", "pickle", "pickletools", "pipes", "pkgutil", "platform",
    "plistlib", "poplib", "posix", "posixpath", "profile", "pstats", "pty", "pwd", "py_compile", "pyclbr", "pydoc",
    "pydoc_data", "pyexpat", "queue", "quopri", "readline", "reprlib", "resource", "rlcompleter", "runpy", "sched",
    "secrets", "select", "selectors", "shelve", "shlex", "shutil", "signal", "site", "sitecustomize", "smtpd",
    "smtplib", "sndhdr", "socket", "socketserver", "spwd", "sqlite3", "sre_compile", "sre_constants", "sre_parse",
    "ssl", "stat", "stringprep", "struct", "subprocess", "sunau", "symtable", "sysconfig", "syslog", "tabnanny",
    "tarfile", "telnetlib", "tempfile", "termios", "threading", "timeit", "tkinter", "token", "tokenize", "tomllib",
    "trace", "traceback", "tracemalloc", "tty", "types", "unittest", "urllib", "usercustomize", "uu", "uuid", "venv",
    "warnings", "wave", "weakref", "webbrowser", "wsgiref", "xdrlib", "xml", "xmlrpc", "zipapp", "zipfile",
    "zipimport", "zlib", "zoneinfo",
];

/// Returns the rule that the import of a module breaks.
pub(crate) fn denied_module(name: &str) -> Option<Rule> {
    if is_allowed(name) {
        return None;
    }
    let mut rows = DENIED_MODULES.iter();
    let denied = rows.find(|(_, modules)| modules.contains(&name));
    Some(denied.map_or(Rule::ModuleNotAllowed, |(rule, _)| *rule))
}

/// Tells whether Python would load a file of this name in place of a module.
pub(crate) fn is_module_file(name: &str) -> bool {
    let Some((stem, ending)) = name.split_once('.') else {
        return false;
    };
    let (_, last) = ending.rsplit_once('.').unwrap_or(("", ending));
    let loaded = matches!(ending, "py" | "pyc" | "pyw") || last == "so";
    // An underscore stands before what modules have for themselves: `__init__`, `_weakrefset`.
    loaded && (stem.starts_with('_') || is_allowed(stem) || STANDARD.contains(&stem))
}

fn is_allowed(name: &str) -> bool {
    MODULES.contains(&name) || TEXT_MODULES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_stand_in_for_modules_are_known() {
        for name in [
            "csv.py",
            "keyword.pyc",
            "json.cpython-311-x86_64-linux-gnu.so",
            "__init__.py",
            "_strptime.py",
        ] {
            assert!(is_module_file(name), "{name}");
        }
        for name in [
            "csv",
            ".py",
            "csv.txt",
            "report.py",
            "json.dumps",
            "random.csv",
            "lib.so",
            "py",
            "a.json.py",
        ] {
            assert!(!is_module_file(name), "{name}");
        }
    }
}
