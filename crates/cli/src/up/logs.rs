//! The logs of all processes: shown, followed, and kept short.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Error, LOGS};
use crate::{args::LogsArgs, screen::Screen, site::description::UP_FOLDER};

/// Lines of each log that are shown at first.
const LINES: usize = 20;
/// Most bytes that are read to find them.
const TAIL: u64 = 64 * 1024;
/// Pause between two looks at a followed log.
const PACE: Duration = Duration::from_millis(250);
/// Size at which a log is cut; one older piece is kept.
const LONGEST: u64 = 16 * 1024 * 1024;
/// Pause between two looks at the sizes.
const SIZES: Duration = Duration::from_secs(30);

/// Shows the end of the logs, and with `--follow` what is added.
///
/// # Errors
/// There is no such log, or it can not be read.
pub async fn command(args: LogsArgs, screen: &Screen) -> Result<(), Error> {
    let folder = args.data.join(UP_FOLDER).join(LOGS);
    let chosen = choose(&folder, args.name.as_deref())?;
    let mut ends = BTreeMap::new();
    for (name, path) in &chosen {
        let read = |source| Error::Read {
            path: path.clone(),
            source,
        };
        for line in tail(path, LINES).map_err(read)? {
            show(screen, name, &line, chosen.len());
        }
        ends.insert(name, fs::metadata(path).map_err(read)?.len());
    }
    if !args.follow {
        return Ok(());
    }
    loop {
        tokio::time::sleep(PACE).await;
        for (name, path) in &chosen {
            let end = ends.entry(name).or_default();
            // A log that is cut or gone for a moment is looked at again.
            for line in added(path, end).unwrap_or_default() {
                show(screen, name, &line, chosen.len());
            }
        }
    }
}

/// Lists the logs by name: all, or those of one service or server.
fn choose(folder: &Path, name: Option<&str>) -> Result<BTreeMap<String, PathBuf>, Error> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let logs = entries.filter_map(|entry| {
        let path = entry.path();
        let log = path.file_name()?.to_str()?.strip_suffix(".log")?.to_owned();
        let of_it = |name: &str| log.strip_prefix(name).is_some_and(is_replica);
        name.is_none_or(of_it).then_some((log, path))
    });
    let logs: BTreeMap<_, _> = logs.collect();
    if logs.is_empty() {
        return Err(Error::NoLog {
            what: name.unwrap_or("a platform").to_owned(),
            folder: folder.to_owned(),
        });
    }
    Ok(logs)
}

/// Says whether what follows a name makes it the name of a replica, or nothing does.
fn is_replica(rest: &str) -> bool {
    let number = rest.strip_prefix('-');
    rest.is_empty() || number.is_some_and(|number| number.parse::<u16>().is_ok())
}

fn show(screen: &Screen, name: &str, line: &str, logs: usize) {
    if screen.is_json() {
        screen.event(&serde_json::json!({"log": name, "line": line}));
    } else if logs == 1 {
        screen.line(line);
    } else {
        screen.line(format!("{name:<20} {line}"));
    }
}

/// Returns the last lines of a file.
pub(super) fn tail(path: &Path, lines: usize) -> io::Result<Vec<String>> {
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    let shown = &all[all.len().saturating_sub(lines)..];
    Ok(shown.iter().map(|line| (*line).to_owned()).collect())
}

/// Returns the whole lines that were added since `end`, and moves it.
fn added(path: &Path, end: &mut u64) -> io::Result<Vec<String>> {
    let mut file = fs::File::open(path)?;
    if file.metadata()?.len() < *end {
        *end = 0;
    }
    file.seek(SeekFrom::Start(*end))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n');
    let whole = whole.map_or(0, |at| at + 1);
    *end += whole as u64;
    let text = String::from_utf8_lossy(&bytes[..whole]).into_owned();
    Ok(text.lines().map(str::to_owned).collect())
}

/// Cuts logs that got long: what stands in them moves to a second file, and writing goes on, because
/// it appends.
pub(super) async fn keep_short(folder: PathBuf) {
    loop {
        tokio::time::sleep(SIZES).await;
        for path in choose(&folder, None).unwrap_or_default().into_values() {
            if let Err(error) = cut(&path) {
                tracing::warn!(%error, log = %path.display(), "the log can not be cut");
            }
        }
    }
}

fn cut(path: &Path) -> io::Result<()> {
    // Servers write their own logs and rotate them themselves where they want to.
    if fs::symlink_metadata(path)?.is_symlink() || fs::metadata(path)?.len() < LONGEST {
        return Ok(());
    }
    fs::copy(path, path.with_extension("log.1"))?;
    fs::OpenOptions::new().write(true).open(path)?.set_len(0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_name_means_its_replicas_and_no_longer_name() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["backend", "backend-2", "backend-door", "consul"] {
            fs::write(folder.path().join(format!("{name}.log")), "").unwrap();
        }
        let chosen = choose(folder.path(), Some("backend")).unwrap();
        let names: Vec<_> = chosen.keys().map(String::as_str).collect();
        assert_eq!(names, ["backend", "backend-2"]);
        assert!(matches!(
            choose(folder.path(), Some("nobody")),
            Err(Error::NoLog { .. })
        ));
    }

    #[test]
    fn a_followed_log_gives_whole_lines_and_survives_a_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        fs::write(&path, "one\ntw").unwrap();
        let mut end = 0;
        assert_eq!(added(&path, &mut end).unwrap(), ["one"]);
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"o\n").unwrap();
        assert_eq!(added(&path, &mut end).unwrap(), ["two"]);
        fs::write(&path, "new\n").unwrap();
        assert_eq!(added(&path, &mut end).unwrap(), ["new"]);
    }

    #[test]
    fn a_long_log_is_cut_and_its_writer_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut writer = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .unwrap();
        writer.set_len(LONGEST).unwrap();
        cut(&path).unwrap();
        writer.write_all(b"after\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "after\n");
        let kept = fs::metadata(path.with_extension("log.1")).unwrap();
        assert_eq!(kept.len(), LONGEST);
    }
}
