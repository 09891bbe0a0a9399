//! Which paths a plan may touch, and what looks like a secret.

/// Text in a path or word that points to secrets, lower case.
const CREDENTIALS: [&str; 27] = [
    "etc/shadow",
    "etc/gshadow",
    "etc/sudoers",
    "etc/krb5",
    ".ssh",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    "authorized_keys",
    ".aws",
    ".azure",
    ".kube",
    ".gnupg",
    ".netrc",
    ".pgpass",
    ".npmrc",
    ".pypirc",
    ".git-credentials",
    ".docker/config",
    ".config/gcloud",
    "run/secrets",
    "api-key",
    "/environ",
    "_history",
    "169.254.169.254",
    "metadata.google.internal",
];
/// Endings of files that hold keys.
const KEY_ENDINGS: [&str; 4] = [".pem", ".p12", ".pfx", ".key"];
/// Text in a variable's name that says it holds a secret.
const SECRET_NAMES: [&str; 7] = [
    "SECRET",
    "TOKEN",
    "PASSWORD",
    "PASSWD",
    "CREDENTIAL",
    "API_KEY",
    "_KEY",
];
/// Files outside the work folder that anybody may read.
const PUBLIC: [&str; 10] = [
    "/dev/null",
    "/dev/stdin",
    "/etc/os-release",
    "/etc/hostname",
    "/proc/cpuinfo",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/uptime",
    "/proc/version",
    "/usr/share/dict/words",
];
/// Where output may go besides the work folder.
const SINKS: [&str; 3] = ["/dev/null", "/dev/stdout", "/dev/stderr"];

/// Tells whether a path stays in the work folder: relative, and never upwards.
pub(super) fn within(path: &str) -> bool {
    !path.starts_with(['/', '~']) && !path.split('/').any(|component| component == "..")
}

/// Tells whether a plan may read this file.
pub(super) fn readable(path: &str) -> bool {
    within(path) || PUBLIC.contains(&path)
}

/// Tells whether a plan may write this file.
pub(super) fn writable(path: &str) -> bool {
    within(path) || SINKS.contains(&path)
}

/// Tells whether a pattern can match `..`, which some shells count among the names.
pub(super) fn climbs(pattern: &str) -> bool {
    pattern
        .split('/')
        .filter_map(|component| component.strip_prefix('.'))
        .any(may_be_dot)
}

/// Tells whether the rest of a pattern can match the second dot of `..`.
fn may_be_dot(rest: &str) -> bool {
    let wild = |text: &str| text.bytes().all(|b| b"*?.".contains(&b));
    match rest.split_once('[') {
        None => rest.contains(['*', '?']) && wild(rest),
        Some((before, set)) => {
            let (set, _) = set.split_once(']').unwrap_or((set, ""));
            // `[!.]` and `[a-z]` leave the dot out; `[--9]` is a range that holds it.
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
            let without_dot = set.starts_with("!.")
                || (set.bytes().all(plain) && !set.starts_with('-') && !set.contains("--"));
            wild(before) && !without_dot
        }
    }
}

/// Tells whether a name would be taken for an option where a pattern stands for it.
pub(super) fn is_option(path: &str) -> bool {
    path != "-" && path.split('/').any(|component| component.starts_with('-'))
}

/// Tells whether the text names something that holds secrets.
pub(super) fn is_credential(text: &str) -> bool {
    let text = text.to_lowercase();
    let dot_env = |part: &str| part == ".env" || part.starts_with(".env.");
    CREDENTIALS.iter().any(|mark| text.contains(mark))
        || KEY_ENDINGS.iter().any(|ending| text.ends_with(ending))
        || text.split(['/', '=', ':']).any(dot_env)
}

/// Tells whether a variable of this name holds a secret.
pub(super) fn is_secret_name(name: &str) -> bool {
    let name = name.to_uppercase();
    SECRET_NAMES.iter().any(|mark| name.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_folder_has_no_way_out() {
        for path in ["a", "./a", "a/b.txt", "*.log", "a..b", ".hidden"] {
            assert!(within(path), "{path}");
        }
        for path in ["/", "/a", "~", "~root/x", "..", "a/../../b", "../a"] {
            assert!(!within(path), "{path}");
        }
    }

    #[test]
    fn patterns_that_match_the_parent_climb() {
        for pattern in [
            ".*", ".?/x", "a/.*/b", "..*", ".[.]", ".[!a]*", ".[^.]", ".[--9]", ".[+-z]",
        ] {
            assert!(climbs(pattern), "{pattern}");
        }
        for plain in [
            "*", "a.*", ".*.swp", ".git*", ".[!.]*", ".[a-z]*", ".hidden", "a..b",
        ] {
            assert!(!climbs(plain), "{plain}");
        }
    }

    #[test]
    fn names_like_options_are_known() {
        assert!(is_option("-rf") && is_option("a/--x") && is_option("./-x"));
        assert!(!is_option("-") && !is_option("a-b/c-d"));
    }

    #[test]
    fn secrets_are_known_by_name_and_place() {
        for text in [
            "/etc/SHADOW",
            "a/.env",
            "--file=.env",
            "tls/server.key",
            "~/.ssh/config",
        ] {
            assert!(is_credential(text), "{text}");
        }
        for text in [
            "environment.txt",
            "report.env.txt",
            "keyboard",
            "monkey.txt",
        ] {
            assert!(!is_credential(text), "{text}");
        }
        assert!(is_secret_name("jwt_secret") && !is_secret_name("title"));
    }
}
