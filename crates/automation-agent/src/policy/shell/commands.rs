//! The table of commands: what may be used, how its arguments are read, why others are refused.

use crate::policy::rule::Rule;

/// How a command's arguments are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Arguments are text.
    Text,
    /// Arguments are conditions.
    Condition,
    /// Arguments are paths whose names and sizes are shown.
    Lists,
    /// Arguments are paths whose content is read.
    Reads,
    /// The first argument is a pattern or program, the others are as for `Reads`.
    Filters,
    /// Arguments are paths that are changed.
    Writes,
    /// Arguments are paths that are deleted.
    Deletes,
    /// Arguments are assignments or names of variables.
    Binds,
    /// Options, then another command.
    Wraps,
    /// Reads shell from its argument or its input.
    Shell,
    /// Reads Python from its argument or its input.
    Python,
    /// Reads another language.
    Interpreter,
    /// Fetches by URL; allowed when the network is.
    Fetches,
    /// Has a judge of its own.
    Find,
    /// As `Find`.
    Sed,
    /// As `Find`.
    Awk,
    /// As `Find`.
    Chmod,
    /// As `Find`.
    Dd,
    /// As `Find`.
    Git,
    /// As `Find`.
    Tar,
    /// Never allowed.
    Denied(Rule),
}

type Row = (Class, &'static [&'static str]);

#[rustfmt::skip]
const ROWS: [Row; 31] = [
    (Class::Text, &["echo", "printf", "true", "false", ":", "date", "expr", "seq", "basename", "dirname", "pwd",
        "whoami", "id", "uname", "uptime", "nproc", "free", "cal", "factor", "numfmt", "tr", "set", "shopt", "umask",
        "ulimit", "wait", "exit", "return", "break", "continue", "shift", "type", "which", "sleep",
        "locale", "arch", "groups", "tty", "times", "lscpu", "lsblk", "getconf"]),
    (Class::Condition, &["test", "[", "[["]),
    (Class::Lists, &["ls", "du", "df", "stat", "tree", "realpath", "readlink"]),
    (Class::Reads, &["cat", "head", "tail", "wc", "sort", "uniq", "cut", "paste", "diff", "cmp", "comm", "md5sum",
        "sha1sum", "sha256sum", "sha512sum", "cksum", "od", "hexdump", "strings", "file", "nl", "tac", "rev", "fold",
        "fmt", "column", "base64", "zcat", "join", "cd", "pushd"]),
    (Class::Filters, &["grep", "egrep", "fgrep", "jq"]),
    (Class::Writes, &["touch", "mkdir", "tee", "truncate", "ln", "cp", "mv", "install", "gzip", "gunzip", "split"]),
    (Class::Deletes, &["rm", "rmdir", "unlink", "shred"]),
    (Class::Binds, &["export", "local", "declare", "typeset", "readonly", "read", "unset"]),
    (Class::Wraps, &["env", "nice", "ionice", "timeout", "command", "builtin", "exec", "stdbuf", "time"]),
    (Class::Shell, &["sh", "bash", "dash", "ksh", "ash", "rbash"]),
    (Class::Python, &["python", "python3"]),
    // zsh and fish read texts and variables in their own ways, Python 2 evaluates what it is told.
    (Class::Interpreter, &["zsh", "fish", "python2", "perl", "ruby", "node", "nodejs", "deno", "bun", "php", "lua",
        "tclsh", "osascript", "pwsh", "gdb", "vim", "vi", "ed", "ex", "emacs", "busybox", "expect", "m4", "ghc",
        "rscript", "sqlite3", "psql"]),
    (Class::Fetches, &["curl", "wget"]),
    (Class::Find, &["find"]),
    (Class::Sed, &["sed"]),
    (Class::Awk, &["awk", "gawk", "mawk", "nawk"]),
    (Class::Chmod, &["chmod"]),
    (Class::Dd, &["dd"]),
    (Class::Git, &["git"]),
    (Class::Tar, &["tar"]),
    (Class::Denied(Rule::DestroysData), &["mkfs", "mke2fs", "mkswap", "wipefs", "fdisk", "sfdisk", "gdisk", "sgdisk",
        "parted", "blkdiscard", "hdparm", "badblocks", "cryptsetup", "lvremove", "vgremove", "zpool", "dropdb"]),
    (Class::Denied(Rule::RaisesPrivilege), &["sudo", "su", "doas", "pkexec", "runuser", "setpriv", "capsh", "setcap",
        "chown", "chgrp", "newgrp", "visudo"]),
    (Class::Denied(Rule::StopsHost), &["shutdown", "reboot", "halt", "poweroff", "init", "telinit", "kexec"]),
    (Class::Denied(Rule::StopsProcesses), &["kill", "killall", "killall5", "pkill", "xkill", "fuser"]),
    (Class::Denied(Rule::ReadsCredentials), &["printenv", "gpg", "ssh-keygen", "ssh-add", "pass", "secret-tool",
        "security", "history", "getent"]),
    (Class::Denied(Rule::HiddenCode), &["eval", "source", ".", "trap", "alias", "enable", "let", "bind", "complete",
        "fc", "watch", "script", "parallel", "make"]),
    (Class::Denied(Rule::UnseenArguments), &["xargs"]),
    (Class::Denied(Rule::UsesNetwork), &["nc", "ncat", "netcat", "socat", "telnet", "ssh", "scp", "sftp", "ftp", "tftp",
        "rsync", "ping", "dig", "nslookup", "host", "traceroute", "nmap", "tcpdump", "mail", "sendmail", "openssl",
        "aria2c", "lynx", "w3m", "aws", "gcloud", "az", "gh"]),
    (Class::Denied(Rule::InstallsSoftware), &["apt", "apt-get", "aptitude", "dpkg", "dnf", "yum", "rpm", "apk", "pacman",
        "zypper", "snap", "flatpak", "brew", "pip", "pip3", "pipx", "uv", "npm", "npx", "yarn", "pnpm", "cargo", "gem",
        "go", "conda"]),
    (Class::Denied(Rule::ChangesHost), &["systemctl", "service", "crontab", "mount", "umount", "useradd", "userdel",
        "usermod", "groupadd", "passwd", "chpasswd", "iptables", "nft", "ip", "ifconfig", "route", "sysctl", "modprobe",
        "insmod", "rmmod", "docker", "podman", "kubectl", "nsenter", "unshare", "chroot", "losetup", "swapoff",
        "hostname", "hostnamectl", "timedatectl", "mknod", "setfacl", "loginctl"]),
    (Class::Denied(Rule::OutlivesRun), &["nohup", "setsid", "disown", "at", "batch", "screen", "tmux", "daemonize",
        "systemd-run", "bg"]),
];

/// Commands, the rule that some of their options break, and these options.
type Options = (&'static [&'static str], Rule, &'static [&'static str]);

/// Options that make an allowed command run, read or write something else; a command may have several rows.
///
/// A word without dashes is an argument, `@` the beginning of one.
#[rustfmt::skip]
const OPTIONS: [Options; 25] = [
    (&["sort"],             Rule::HiddenCode,        &["--compress-program", "--files0-from",
        "--temporary-directory", "-T"]),
    (&["split"],            Rule::HiddenCode,        &["--filter"]),
    (&["tar"],              Rule::HiddenCode,        &["--to-command", "--checkpoint-action", "--use-compress-program",
        "--rsh-command", "--rmt-command", "--info-script", "--new-volume-script", "--absolute-names", "--files-from",
        "--transform", "--xform", "-I", "-F", "-P", "-T"]),
    (&["tar"],              Rule::RaisesPrivilege,   &["--mode"]),
    (&["install"],          Rule::HiddenCode,        &["--strip-program"]),
    (&["install"],          Rule::RaisesPrivilege,   &["--owner", "--group", "-o", "-g"]),
    (&["chmod"],            Rule::RaisesPrivilege,   &["--reference"]),
    (&["grep", "egrep", "fgrep"], Rule::UnseenArguments, &["-f", "--file", "--exclude-from"]),
    (&["jq"],               Rule::HiddenCode,        &["-f", "--from-file", "-L", "--library-path"]),
    (&["test", "["],        Rule::HiddenCode,        &["-v"]),
    (&["[["],               Rule::HiddenCode,        &["-v", "-eq", "-ne", "-lt", "-le", "-gt", "-ge"]),
    (&["printf"],           Rule::HiddenCode,        &["-v"]),
    (&["wait"],             Rule::HiddenCode,        &["-p"]),
    (&["getconf"],          Rule::HiddenCode,        &["-v"]),
    // With these, shells take arguments for assignments, and words for others than they are.
    (&["set", "shopt"],     Rule::HiddenCode,        &["-k", "-H", "keyword", "history", "histexpand",
        "cdable_vars", "expand_aliases"]),
    (&["date"],             Rule::ChangesHost,       &["-s", "--set"]),
    (&["ionice"],           Rule::StopsProcesses,    &["-p", "-P", "-u", "--pid", "--pgid", "--uid"]),
    (&["wc"],               Rule::UnseenArguments,   &["--files0-from"]),
    (&["du"],               Rule::UnseenArguments,   &["--files0-from", "--exclude-from", "-X"]),
    (&["file"],             Rule::UnseenArguments,   &["--files-from", "-f"]),
    (&["strings"],          Rule::UnseenArguments,   &["@"]),
    (&["tree"],             Rule::ReadsOutside,      &["--fromfile", "--fromtabfile", "--gitfile", "--infofile",
        "--hintro", "--houtro"]),
    // It writes a page into each folder.
    (&["tree"],             Rule::WritesOutside,     &["-R"]),
    (&["env"],              Rule::HiddenCode,        &["-S", "--split-string"]),
    (&["env"],              Rule::ReadsOutside,      &["-C", "--chdir"]),
];

/// Options that are whole, though dangerous ones begin with the same letters.
const WHOLE: [(&str, &str); 5] = [
    ("grep", "--exclude"),
    ("egrep", "--exclude"),
    ("fgrep", "--exclude"),
    ("du", "--exclude"),
    ("tar", "--file"),
];

/// Options, short and long, whose value is a file that is judged as for the class.
pub(super) const FILES: [(&str, Class, char, &str); 4] = [
    ("sort", Class::Writes, 'o', "--output"),
    ("tree", Class::Writes, 'o', "--output"),
    ("time", Class::Writes, 'o', "--output"),
    ("date", Class::Reads, 'f', "--file"),
];

/// Finds how a command is judged.
pub(super) fn class(name: &str) -> Class {
    // `mkfs.ext4` and `python3.11` are members of a family.
    let family = name.split_once('.').map_or(name, |(family, _)| family);
    let find = |name: &str| {
        let row = ROWS.iter().find(|(_, names)| names.contains(&name));
        row.map(|(class, _)| *class)
    };
    find(name)
        .or_else(|| find(family).filter(|_| !family.is_empty()))
        .unwrap_or(Class::Denied(Rule::CommandNotAllowed))
}

/// Returns the rule that an option of this command breaks.
pub(super) fn denied_option(name: &str, argument: &str) -> Option<Rule> {
    let mut rows = OPTIONS.iter().filter(|(names, ..)| names.contains(&name));
    let row = rows.find(|(.., denied)| denied.iter().any(|known| is_option(name, argument, known)));
    row.map(|(_, rule, _)| *rule)
}

/// Tells whether an argument of this command is the option, in whatever spelling.
fn is_option(name: &str, argument: &str, known: &str) -> bool {
    let (option, _) = argument.split_once('=').unwrap_or((argument, ""));
    if known == "@" {
        argument.starts_with(known)
    } else if known.starts_with("--") {
        // Long options may be shortened.
        let shortened = option.len() > 2 && known.starts_with(option);
        option == known || (shortened && !WHOLE.contains(&(name, option)))
    } else if known.len() == 2 && !argument.starts_with("--") {
        // Short options may be put together, and values appended.
        argument.starts_with('-') && argument.contains(&known[1..])
    } else {
        option == known
    }
}

/// Tells whether some options of this command are judged.
pub(super) fn has_options(name: &str) -> bool {
    OPTIONS.iter().any(|(names, ..)| names.contains(&name))
        || FILES.iter().any(|(command, ..)| *command == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_command_stands_in_the_table_once() {
        let names: Vec<&str> = ROWS.iter().flat_map(|(_, names)| *names).copied().collect();
        let distinct: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(distinct.len(), names.len());
    }

    #[test]
    fn families_and_unknown_commands_are_judged() {
        assert_eq!(class("mkfs.ext4"), Class::Denied(Rule::DestroysData));
        assert_eq!(class("python3.11"), Class::Python);
        assert_eq!(class("frobnicate"), Class::Denied(Rule::CommandNotAllowed));
        assert_eq!(class("."), Class::Denied(Rule::HiddenCode));
    }

    #[test]
    fn dangerous_options_are_found_in_every_spelling() {
        for argument in [
            "--to-command=x",
            "--to-c",
            "-I",
            "-cIf",
            "--use-compress-program",
        ] {
            assert_eq!(
                denied_option("tar", argument),
                Some(Rule::HiddenCode),
                "{argument}"
            );
        }
        for argument in ["-czf", "--create", "--file=a.tar", "--", "notes"] {
            assert_eq!(denied_option("tar", argument), None, "{argument}");
        }
    }

    #[test]
    fn each_row_of_a_command_counts() {
        for (name, argument, rule) in [
            ("tar", "--mode=u+s", Rule::RaisesPrivilege),
            ("tree", "--hintro=x", Rule::ReadsOutside),
            ("tree", "-aR", Rule::WritesOutside),
            ("env", "-iC/", Rule::ReadsOutside),
            ("du", "--exclude-f=x", Rule::UnseenArguments),
            ("set", "history", Rule::HiddenCode),
            ("strings", "@list", Rule::UnseenArguments),
        ] {
            assert_eq!(denied_option(name, argument), Some(rule), "{argument}");
        }
        for (name, argument) in [
            ("du", "--exclude=*.log"),
            ("grep", "--exclude=*.log"),
            ("tree", "-a"),
            ("set", "-euo"),
        ] {
            assert_eq!(denied_option(name, argument), None, "{argument}");
        }
    }
}
