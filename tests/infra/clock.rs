//! The clock of the machine is set by an hour, under work. What waits, judges or lets others wait goes by
//! a clock that only counts.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use serde_json::json;
use sutazai_testkit::ollama::{FakeNode, Script};
use system_tests::{
    Client,
    platform::{Platform, alone},
    program::root,
};

const HOUR: i64 = 3_600;
/// How long there is work after each change: some times as long as a breaker is open first, and longer
/// than an instance waits between two looks at its own entry.
const WORK: Duration = Duration::from_secs(12);
/// Pause between two requests.
const PAUSE: Duration = Duration::from_millis(100);
/// Counters that say that somebody was judged.
const JUDGED: [&str; 3] = [
    "mesh_ejections_total",
    "breaker_transitions_total{",
    "connection_errors_total",
];

/// The wall clock of all processes of a platform.
struct Clock {
    library: PathBuf,
    file: PathBuf,
    shift: File,
}

impl Clock {
    fn new(folder: &Path) -> Self {
        fs::create_dir_all(folder).expect("a folder");
        let (library, file) = (folder.join("clock.so"), folder.join("clock-shift"));
        let mut compiler = Command::new("cc");
        compiler
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library);
        compiler.arg(root().join("tests/infra/clock.c"));
        let status = compiler.status().expect("a C compiler (build-essential)");
        assert!(status.success());
        fs::write(&file, 0_i64.to_ne_bytes()).expect("a file");
        let shift = File::options().write(true).open(&file);
        Self {
            library,
            file,
            shift: shift.expect("the file"),
        }
    }

    fn set(&self, seconds: i64) {
        let written = self.shift.write_all_at(&seconds.to_ne_bytes(), 0);
        written.expect("the file");
    }
}

/// Says by how many hours the clock of the platform is ahead of ours, by when it was asked something.
async fn hours_ahead(door: &Client) -> i64 {
    let chat = door.chat("What time is it?").await;
    let conversation = chat.json["conversation_id"].as_str().expect("an id");
    let path = format!("/api/v1/chat/conversations/{conversation}");
    let asked = &door.get(&path).await.json["messages"][0]["created_at"];
    let asked: DateTime<Utc> = asked.as_str().expect("a time").parse().expect("a time");
    let ahead = (asked - Utc::now()).num_seconds();
    // Half an hour more or less is rounding.
    (ahead + ahead.signum() * HOUR / 2) / HOUR
}

/// Everything that says of anybody that it failed, as the processes count it.
async fn judgements(platform: &Platform) -> Vec<String> {
    let mut found = Vec::new();
    for (service, instances) in &platform.description().replicas {
        for at in instances {
            let client = Client::new(&format!("http://{}", at.http), None);
            let metrics = client.get("/metrics").await.text;
            let lines = metrics.lines().filter(|line| {
                JUDGED.iter().any(|name| line.starts_with(name)) && !line.ends_with(" 0")
            });
            found.extend(lines.map(|line| format!("{service}: {line}")));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn r6_a_clock_that_jumps_by_an_hour_fails_nothing() {
    let _alone = alone().await;
    let folder = sutazai_servers::scratch::folder().expect("a folder");
    let clock = Clock::new(&folder.join("clock-files"));
    let node = FakeNode::start(Script::new(["tinyllama:latest"])).await;
    let paths = [&clock.library, &clock.file].map(|path| path.display().to_string());
    let [library, file] = paths.each_ref().map(String::as_str);
    let settings = [("LD_PRELOAD", library), ("CLOCK_SHIFT_FILE", file)];
    let platform = Platform::start("clock", 1, vec![node], &settings).await;
    let door = platform.admin();
    let before = judgements(&platform).await;
    let mut tasks = Vec::new();
    for shift in [0, HOUR, 0, -HOUR, 0] {
        clock.set(shift);
        assert_eq!(hours_ahead(&door).await, shift / HOUR);
        let began = Instant::now();
        while began.elapsed() < WORK {
            let chat = door.chat("hello").await;
            assert_eq!(chat.status, 200, "at {shift} s: {}", chat.text);
            tasks.push(
                door.submit("llm.generate", json!({"prompt": "hello"}))
                    .await,
            );
            tokio::time::sleep(PAUSE).await;
        }
        let status = door.get("/api/v1/system/status").await;
        let uptime = status.json["uptime_seconds"].as_i64();
        assert!(
            uptime.is_some_and(|up| (0..HOUR).contains(&up)),
            "{uptime:?}"
        );
    }
    for id in &tasks {
        let task = door.finished(id).await;
        assert_eq!(task["state"], "succeeded", "{task}");
        assert_eq!(task["attempt"], 1, "{task}");
    }
    assert_eq!(judgements(&platform).await, before);
    platform.stop().await;
}
