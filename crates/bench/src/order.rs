//! Which functions the services run: the linker lays them side by side, and the pages of all others are
//! never asked for.

use std::{collections::BTreeSet, fs, net::SocketAddr, path::Path, time::Duration};

use sutazai_mesh::catalog::ServiceName;

use crate::{
    callgrind::{Callgrind, Counts},
    failure::Failure,
    load::{self, Connection},
    noop::Noop,
    rows::{
        doors::{PATH, short_chat},
        footprint::SERVICES,
    },
    stage::{Core, Running, Stage, free_address},
};

/// Longest time to take work under valgrind, which is fifty times slower.
const LIMIT: Duration = Duration::from_secs(900);
/// Requests of each kind, and tasks: enough for timers, pools and heartbeats to have their turn.
const REQUESTS: usize = 100;
/// What stands above the names.
const HEADER: &str = "\
# Functions that the services run, at work and then at their start: the linker lays them side by side.
# Written by `make order`; never edit it.
";
/// What begins the name of a function that a Rust compiler wrote.
const RUST: [&str; 2] = ["_ZN", "_R"];

/// A service under valgrind.
struct Watched {
    service: ServiceName,
    at: SocketAddr,
    running: Running,
    callgrind: Callgrind,
}

/// Runs one more instance of each service under valgrind, lets all work, and writes the names of the
/// functions that ran: first those that work asked for, then those of the start.
///
/// # Errors
/// Something does not start or does not work, or the programs have no names of functions.
pub(crate) async fn write(stage: &Stage, file: &Path) -> Result<usize, Failure> {
    let folder = stage.folder().join("order");
    fs::create_dir_all(&folder).map_err(Failure::doing("make a folder"))?;
    let (mut start, mut work) = (Names::default(), Names::default());
    let mut watched = Vec::new();
    // One after the other: slowed down fifty times, they would wait for each other in vain.
    for (service, _) in SERVICES {
        let at = free_address()?;
        let mut callgrind = Callgrind::into(&folder, service.as_str());
        let program = callgrind.around(stage.twin(service, at).await?, &[]);
        let running = stage.start(&program, Core::All).await?;
        running.ready(at, "/readyz", LIMIT).await?;
        start.add(&callgrind.take(&running)?);
        watched.push(Watched {
            service,
            at,
            running,
            callgrind,
        });
    }
    for one in &watched {
        ask(stage, one).await?;
    }
    submit(stage).await?;
    for one in &mut watched {
        work.add(&one.callgrind.take(&one.running)?);
    }
    for one in watched {
        one.running.stop().await;
    }
    let text = work.then(&start)?;
    fs::write(file, &text).map_err(Failure::doing("write the order"))?;
    Ok(text.lines().count() - HEADER.lines().count())
}

/// Asks for what a service does over HTTP. Nothing here is kept in a cache: its clock is read from the
/// kernel's own page in each process, which valgrind hides.
async fn ask(stage: &Stage, watched: &Watched) -> Result<(), Failure> {
    let chat = short_chat();
    let stream = chat.replacen('{', r#"{"stream":true,"#, 1);
    let task = r#"{"type":"llm.generate","input":{"prompt":"Is it well?"}}"#;
    let requests: &[(&str, Option<&str>)] = match watched.service {
        ServiceName::OllamaProxy => &[(PATH, Some(chat.as_str())), (PATH, Some(stream.as_str()))],
        ServiceName::Backend => &[
            ("/api/v1/tasks", Some(task)),
            ("/api/v1/tasks", None),
            ("/api/v1/chat", Some(r#"{"message":"Is it well?"}"#)),
            (
                "/api/v1/chat",
                Some(r#"{"message":"Is it well?","stream":true}"#),
            ),
        ],
        _ => &[],
    };
    let key = stage.platform().await?.api_key()?;
    let always = [("/health", None), ("/metrics", None)];
    for (path, body) in requests.iter().chain(&always) {
        let request = load::request(watched.at, path, Some(&key), *body);
        let mut connection = Connection::to(watched.at).await?;
        for _ in 0..REQUESTS {
            let asked = connection.text(&request).await;
            let whose = |error| Failure::wrong(format!("{} {path}: {error}", watched.service));
            asked.map_err(whose)?;
        }
    }
    Ok(())
}

/// Has tasks run, of which the instances under valgrind have their share.
async fn submit(stage: &Stage) -> Result<(), Failure> {
    let mut noop = Noop::start(stage).await?;
    let door = noop.door();
    for _ in 0..REQUESTS {
        door.submit().await?;
        noop.next().await?;
    }
    noop.stop().await;
    Ok(())
}

/// Names of functions, sorted: those of one module stand together, and two runs differ in little.
#[derive(Debug, Default)]
struct Names(BTreeSet<String>);

impl Names {
    fn add(&mut self, counts: &Counts) {
        let ours = |name: &&str| RUST.iter().any(|start| name.starts_with(start));
        self.0
            .extend(counts.functions().filter(ours).map(str::to_owned));
    }

    /// Writes these, and then those of `others` that are not among them.
    fn then(&self, others: &Self) -> Result<String, Failure> {
        if self.0.is_empty() {
            return Err(Failure::wrong(
                "the programs have no names of functions: they were linked without symbols",
            ));
        }
        let names = self.0.iter().chain(others.0.difference(&self.0));
        let lines = names.flat_map(|name| [name.as_str(), "\n"]);
        Ok(HEADER.to_owned() + &lines.collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Names {
        Names(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn what_works_stands_before_what_starts_and_each_name_once() {
        let text = names(&["_ZN2b", "_ZN1c"]).then(&names(&["_ZN1a", "_ZN2b"]));
        let text = text.ok().unwrap_or_default();
        assert_eq!(text.strip_prefix(HEADER), Some("_ZN1c\n_ZN2b\n_ZN1a\n"));
        assert!(names(&[]).then(&names(&["_ZN1a"])).is_err());
    }
}
