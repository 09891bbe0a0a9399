//! `--selfcheck`: the configuration verified and every dependency reached once, with evidence.

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use serde::Serialize;
use sutazai_mesh::registry::Registry;
use sutazai_messaging::Broker;
use sutazai_proto::status::chain;
use tokio::time::sleep;

use super::{
    EntryError, Need,
    arguments::{Arguments, print},
    connect, load, runtime,
};
use crate::{
    config::{Configured, Links, Source},
    probe::{Evidence, Failure},
};

/// Time for a link that connects in the background to be there.
const LINK_LIMIT: Duration = Duration::from_secs(4);
/// Pause between two looks at it.
const PACE: Duration = Duration::from_millis(200);

/// What was seen of one part.
#[derive(Serialize)]
struct Row {
    part: String,
    ok: bool,
    /// What was seen, or why the part can not be used.
    text: String,
    took_ms: u128,
}

#[derive(Serialize)]
struct Report<'a> {
    service: &'a str,
    ok: bool,
    parts: &'a [Row],
}

/// Looks at everything and prints it; success only when every part can be used.
pub(super) fn run<C: Configured>(arguments: Arguments) -> Result<ExitCode, EntryError> {
    let loaded = load::<C>(&Source::process())?;
    let runtime = runtime()?;
    let mut rows = vec![Row {
        part: "configuration".to_owned(),
        ok: true,
        text: format!("{} settings, all valid", loaded.settings.len()),
        took_ms: 0,
    }];
    rows.extend(runtime.block_on(async {
        let needs = loaded.config.service.needs().into_iter();
        let needs = needs.chain(links::<C>(&loaded.config.links));
        join_all(needs.map(row)).await
    }));
    let ok = rows.iter().all(|row| row.ok);
    if arguments.json {
        let report = Report {
            service: C::SERVICE.as_str(),
            ok,
            parts: &rows,
        };
        print(&serde_json::to_string(&report).unwrap_or_default());
    } else {
        for Row { part, ok, text, .. } in &rows {
            print(&format!(
                "{} {part:<20} {text}",
                if *ok { "✓" } else { "✗" }
            ));
        }
    }
    Ok(ExitCode::from(u8::from(!ok)))
}

async fn row(need: Need) -> Row {
    let (part, began) = (need.part.clone(), Instant::now());
    let (ok, text) = match need.look().await {
        Ok(Evidence { text, .. }) => (true, text),
        Err(Failure { cause }) => (false, cause),
    };
    Row {
        part,
        ok,
        text,
        took_ms: began.elapsed().as_millis(),
    }
}

/// Lists the links of the service as needs.
fn links<C: Configured>(links: &Links) -> Vec<Need> {
    let parts = match connect::parts::<C>(links) {
        Ok(parts) => parts,
        Err(error) => {
            let cause = chain(&error);
            return vec![Need::new("links", async move { Err::<String, _>(cause) })];
        }
    };
    let registry: Arc<dyn Registry> = parts.registry;
    let broker: Arc<dyn Broker> = parts.broker;
    let mut needs = vec![Need::new(
        "registry",
        patient(async move || registry.ping().await),
    )];
    if C::USES_BROKER {
        needs.push(Need::new(
            "broker",
            patient(async move || broker.ping().await),
        ));
    }
    if parts.cache.redis().is_some() {
        let cache = parts.cache;
        needs.push(Need::new(
            "redis",
            patient(async move || cache.check().await),
        ));
    }
    needs
}

/// Asks until there is an answer: links connect in the background, so the first look may be early.
async fn patient<E: std::error::Error + Send + 'static>(
    ask: impl AsyncFn() -> Result<String, E>,
) -> Result<String, String> {
    let give_up = Instant::now() + LINK_LIMIT;
    loop {
        match ask().await {
            Ok(text) => return Ok(text),
            Err(error) if Instant::now() > give_up => return Err(chain(&error)),
            Err(_) => sleep(PACE).await,
        }
    }
}
