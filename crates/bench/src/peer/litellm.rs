//! LiteLLM's proxy: one worker, no database, no log; a pinned version from PyPI in an environment
//! of its own.

use std::{fs, net::SocketAddr, time::Duration};

use super::python;
use crate::{
    failure::Failure,
    stage::{Core, Program, Running, Stage, free_address},
    upstream::MODEL,
};

/// Its name in the table.
pub const NAME: &str = "LiteLLM";
/// What is installed.
pub const VERSION: &str = "1.108.7";
/// What its own image holds besides. Without these it tries to import them again for every request,
/// reads a file of 58 KB each time, and takes half as long again (17 in place of 11 ms a chat).
const BESIDE: &str = "opentelemetry-sdk==1.45.2 opentelemetry-exporter-otlp==1.45.2 prisma==0.11.0";
/// Longest time to be ready: it takes seconds.
const LIMIT: Duration = Duration::from_secs(120);

/// Installs it where that was not done, and starts it in front of the upstream.
///
/// # Errors
/// It can not be installed or started.
pub async fn start(
    stage: &Stage,
    upstream: SocketAddr,
    key: &str,
) -> Result<(SocketAddr, Running), Failure> {
    let (at, running, _) = timed(stage, upstream, key).await?;
    Ok((at, running))
}

/// As [`start`]; also returns how long it took until it answered.
///
/// # Errors
/// As [`start`].
pub async fn timed(
    stage: &Stage,
    upstream: SocketAddr,
    key: &str,
) -> Result<(SocketAddr, Running, Duration), Failure> {
    let folder = stage.folder().join("peers/litellm");
    let packages = format!("litellm[proxy]=={VERSION} {BESIDE}");
    let file = python::installed(NAME, &folder, &packages)?.join("litellm");
    let settings = folder.join("config.yaml");
    fs::write(&settings, configuration(upstream))
        .map_err(Failure::doing("write LiteLLM's settings"))?;
    let at = free_address()?;
    let words = [
        "--config".to_owned(),
        settings.display().to_string(),
        "--host=127.0.0.1".to_owned(),
        format!("--port={}", at.port()),
        "--num_workers=1".to_owned(),
    ];
    let program = Program::new("litellm", file, words.to_vec())
        .with("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        .with("LITELLM_MODE", "PRODUCTION")
        .with("LITELLM_LOG", "ERROR")
        // It asks for the same key as ours, and wants it to begin with `sk-` unless told otherwise.
        .with("LITELLM_MASTER_KEY", key)
        .with("LITELLM_ALLOW_WEAK_MASTER_KEY", "True");
    let running = stage.start(&program, Core::Server).await?;
    let took = running.ready(at, "/health/liveliness", LIMIT).await?;
    Ok((at, running, took))
}

fn configuration(upstream: SocketAddr) -> String {
    format!(
        "model_list:\n  - model_name: \"{MODEL}\"\n    litellm_params:\n      model: \"openai/{MODEL}\"\n      \
         api_base: http://{upstream}/v1\n      api_key: none\n\
         litellm_settings:\n  set_verbose: false\n  drop_params: true\n\
         general_settings:\n  disable_spend_logs: true\n"
    )
}
