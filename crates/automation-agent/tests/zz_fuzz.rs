//! x
use automation_agent::plan::{Plan, Step, StepKind};
use automation_agent::policy::Policy;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
#[test]
fn fuzz() {
    let parts = vec![
        "{",
        "}",
        "{ ",
        "}",
        "${x:-",
        "${y}",
        "${x%",
        "${x/",
        "}\n",
        "$(",
        ")",
        "\"$(",
        ").",
        "`",
        "$(",
        "${x",
        "${x:-",
        "$((",
        "))",
        ")",
        "}",
        "`",
        "'",
        "\"",
        "\\",
        "\n",
        "<<E",
        "<<'E'",
        "<<-E",
        "\nE\n",
        "|",
        "&&",
        ";",
        "{ ",
        "a=",
        "$x",
        "echo ",
        " ",
        "#",
        "PWN",
        "\nPWN\n",
        ";PWN;",
        "$'",
        "(",
        "1",
        "<",
        ">",
        "if ",
        "then ",
        "fi",
        "while ",
        "do ",
        "done",
        "for x in ",
        "[[ ",
        " ]]",
        "\t",
        "~",
        "!",
        "2>",
        "<<<",
        "cat ",
        "true",
        "sh -c ",
        "set -- ",
    ];
    let strat =
        proptest::collection::vec(proptest::sample::select(parts), 1..14).prop_map(|p| p.concat());
    let mut runner = TestRunner::default();
    let (mut allowed, mut ran) = (0u64, 0u64);
    let dir = std::env::temp_dir().join("zzfuzz");
    std::fs::create_dir_all(&dir).unwrap();
    let start = std::time::Instant::now();
    let mut n = 0u64;
    while start.elapsed().as_secs() < 300 {
        n += 1;
        let script = strat.new_tree(&mut runner).unwrap().current();
        if !script.contains("PWN") {
            continue;
        }
        let plan = Plan {
            summary: String::new(),
            steps: vec![Step {
                title: "t".into(),
                kind: StepKind::Shell,
                script: script.clone(),
            }],
        };
        if !(Policy { network: false }).judge(&plan).is_empty() {
            continue;
        }
        allowed += 1;
        for shell in ["/bin/bash", "/bin/dash"] {
            let out = std::process::Command::new("timeout")
                .args(["1", shell, "-c", &script])
                .current_dir(&dir)
                .env_clear()
                .env("PATH", "/tmp/zzbin")
                .stdin(std::process::Stdio::null())
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&out.stderr).into_owned();
            // PWN is not found when it runs
            if text
                .lines()
                .any(|l| l.contains(": PWN: command not found") || l.contains(": PWN: not found"))
            {
                ran += 1;
                println!("HIDDEN {shell}: {script:?}\n   {text}");
            }
        }
    }
    println!("n {n} allowed {allowed} ran {ran}");
}
