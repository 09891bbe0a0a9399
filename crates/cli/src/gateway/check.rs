//! `sutazai gateway check`.

use std::{fs, path::Path, process::ExitCode};

use sutazai_gateway::{
    check::{check, memory},
    kong::{
        self, Site,
        conf::{self, Conf},
        entity::Declaration,
    },
    openapi::Document,
};

use super::{Error, say};
use crate::screen::{Mark, Screen};

/// Judges a configuration and prints every fault.
///
/// # Errors
/// A file can not be read.
pub(super) fn command(
    file: Option<&Path>,
    settings: Option<&Path>,
    screen: &Screen,
) -> Result<ExitCode, Error> {
    let declaration = match file {
        Some(path) => Declaration::from_yaml(&read(path)?)?,
        None => kong::declaration(&Site::default()),
    };
    let settings = settings.map_or_else(|| Ok(conf::text()), read)?;
    let conf = Conf::parse(&settings)?;
    let document = Document::parse(backend::OPENAPI).map_err(Error::Document)?;
    let faults = check(&declaration, &conf, &document);
    let budget = memory::Budget::of(&conf).ok();
    if screen.is_json() {
        let texts: Vec<_> = faults.iter().map(ToString::to_string).collect();
        screen.event(&serde_json::json!({
            "faults": faults,
            "texts": texts,
            "memory_kibibytes": budget,
            "memory_mebibytes": budget.map(|budget| budget.mebibytes()),
            "memory_limit_mebibytes": memory::LIMIT,
        }));
    }
    if faults.is_empty() {
        let routes: usize = declaration
            .services
            .iter()
            .map(|one| one.routes.len())
            .sum();
        let memory = budget.map_or(0, |budget| budget.mebibytes());
        let text = format!(
            "{} services, {routes} routes, no faults; memory {memory} of {} MiB",
            declaration.services.len(),
            memory::LIMIT
        );
        say(screen, "checked", &text);
        return Ok(ExitCode::SUCCESS);
    }
    if !screen.is_json() {
        for fault in &faults {
            screen.line(format!("{} {fault}", screen.mark(Mark::Bad)));
        }
    }
    Ok(ExitCode::FAILURE)
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })
}
