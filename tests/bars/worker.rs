//! A worker of the bars' own: started, killed, started again; and the effects that it left.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use sutazai_servers::process::{Options, Process};
use system_tests::{
    eventually,
    platform::{Platform, within},
};

/// What it is called among the victims.
pub(crate) const NAME: &str = "puppet";

/// The worker that lives now.
pub(crate) struct Worker {
    process: Process,
    options: Options,
    folder: PathBuf,
    lives: u32,
}

/// The file of its effects.
pub(crate) struct Effects(PathBuf);

impl Worker {
    /// Starts it and waits until the platform knows what it can do.
    pub(crate) async fn start(platform: &Platform) -> Self {
        let folder = platform.data().to_owned();
        let options = Options {
            name: NAME.to_owned(),
            program: env!("CARGO_BIN_EXE_puppet").into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            log: folder.join("puppet.log"),
            grace: Duration::ZERO,
        };
        let worker = Self {
            process: live(&options, &folder, 1).await,
            options,
            folder,
            lives: 1,
        };
        let client = platform.admin();
        within("the puppet's task types", async || {
            let types = client.get("/api/v1/tasks/types").await.text;
            types.contains("test.poison").then_some(())
        })
        .await;
        worker
    }

    /// Kills it; another one takes its place under a name of its own.
    pub(crate) async fn kill(&mut self) {
        let pid = i32::try_from(self.process.pid()).ok();
        let pid = pid.and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, Signal::KILL).expect("the puppet runs");
        eventually("the puppet's end", async || {
            self.process.has_ended().then_some(())
        })
        .await;
        self.lives += 1;
        self.process = live(&self.options, &self.folder, self.lives).await;
    }

    /// Returns where it leaves its effects.
    pub(crate) fn effects(&self) -> Effects {
        Effects(effects(&self.folder))
    }
}

impl Effects {
    /// Counts the effects of each key.
    pub(crate) fn count(&self) -> BTreeMap<String, usize> {
        let of_keys = self.times().into_iter();
        of_keys.map(|(key, times)| (key, times.len())).collect()
    }

    /// Returns when each key had its effects, in milliseconds since the epoch.
    pub(crate) fn times(&self) -> BTreeMap<String, Vec<u64>> {
        let text = fs::read_to_string(&self.0).expect("the file of effects");
        let mut times: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for line in text.lines() {
            let (at, key) = line.split_once(' ').expect("a time and a key");
            let at = at.parse().expect("milliseconds");
            times.entry(key.to_owned()).or_default().push(at);
        }
        times
    }
}

fn effects(folder: &Path) -> PathBuf {
    folder.join("puppet.effects")
}

async fn live(options: &Options, folder: &Path, life: u32) -> Process {
    let options = Options {
        arguments: vec![
            folder.display().to_string(),
            effects(folder).display().to_string(),
            format!("{NAME}-{life}"),
        ],
        ..options.clone()
    };
    let started = Process::start(&options).await;
    started.expect("the puppet runs")
}
