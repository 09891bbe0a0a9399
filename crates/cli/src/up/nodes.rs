//! The model nodes of a platform of processes: those that are named or answer, else an Ollama of its own.

use sutazai_runtime::config::Source;
use sutazai_servers::ollama::{self, PROGRAM};

use super::{
    Error,
    plan::{Fresh, Plan, StartError},
    ports::Ports,
};
use crate::{
    screen::Screen,
    site::{folder::Folder, node::Fleet},
};

/// Name of its process.
const OLLAMA: &str = "ollama";

/// Model nodes, and what was started for them.
pub(super) struct Nodes {
    pub(super) fleet: Fleet,
    /// The Ollama of this platform, where it has one.
    pub(super) own: Option<Fresh<&'static str>>,
}

impl Nodes {
    /// Finds the nodes; where none is named and none answers, starts an Ollama if the program is here.
    ///
    /// It is never built for this: that takes minutes, and nobody asked for it.
    pub(super) async fn find(
        folder: &Folder,
        ports: &Ports,
        screen: &Screen,
    ) -> Result<Self, Error> {
        let source = Source::process();
        let step = screen.step("model node");
        let mut fleet = Fleet::find(&source).await?;
        let wanted = fleet.is_demo() && !Fleet::is_named(&source);
        let mut own = None;
        if wanted && PROGRAM.find().map_err(refusal)?.is_some() {
            let port = ports.ollama()?;
            own = Some(start(folder, port).await?);
            fleet.lead(format!("http://127.0.0.1:{port}")).await;
        }
        step.done(&fleet.urls().join(", "));
        match &own {
            Some(_) => screen.note(&chosen(&fleet)),
            None => fleet.note_demo(screen),
        }
        Ok(Self { fleet, own })
    }
}

async fn start(folder: &Folder, port: u16) -> Result<Fresh<&'static str>, Error> {
    let plan = Plan::Ollama(ollama::Options {
        data: folder.path(OLLAMA),
        port: Some(port),
    });
    let running = plan.start().await.map_err(refusal)?;
    Ok((OLLAMA, plan, running))
}

fn refusal(source: impl Into<StartError>) -> Error {
    Error::Start {
        name: OLLAMA.to_owned(),
        source: Box::new(source.into()),
    }
}

/// Says in one line which Ollama is used, and what it lacks.
fn chosen(fleet: &Fleet) -> String {
    let url = fleet.urls().first().map_or("", String::as_str);
    if fleet.is_demo() {
        format!(
            "no Ollama answered, so one was started at {url}; it has no model, so the built-in demo node, which \
             is none and says so, answers until you pull one: OLLAMA_HOST={url} ollama pull tinyllama"
        )
    } else {
        format!(
            "no Ollama answered, so one was started at {url}, with the models it was given before"
        )
    }
}
