//! A worker of the bars' own, in a process that can be killed: its effects are lines of a file,
//! written before it answers and kept whatever becomes of it.
//!
//! Arguments: the platform's folder, the file of effects, the name of this life.

use std::{
    env,
    error::Error,
    fs::{self, File, OpenOptions},
    io::Write,
    path::Path,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;
use sutazai_agent_kit::{
    About, Agent, Capability, Failure, Links, Payload, TaskContext, Worker, json_payload,
};
use sutazai_auth::Identity;
use sutazai_cli::site::Description;
use sutazai_mesh::{
    catalog::ServiceName,
    channel::Mesh,
    registry::{
        InstanceId, Registry,
        consul::{self, ConsulRegistry},
    },
};
use sutazai_messaging::rabbit::{RabbitBroker, Settings};
use sutazai_proto::{ErrorCode, tasks::v1::EffectMode};
use sutazai_resilience::Breakers;
use tokio_util::sync::CancellationToken;

/// The service that it speaks for.
const NAME: ServiceName = ServiceName::AutomationAgent;
/// How long the work goes on after its effect where the input does not say it, in milliseconds: a
/// kill often comes in between.
const WORK: u64 = 1_000;
/// Tasks at once. In the long form 16 a second come to it and two more that it does three times, each for
/// [`WORK`]: it needs room to catch up after a kill.
const SLOTS: u16 = 64;
/// It is never asked to stop.
const GRACE: Duration = Duration::from_secs(10);

struct Puppet {
    effects: File,
}

#[derive(Deserialize)]
struct Input {
    key: String,
    answer: String,
    #[serde(default = "work")]
    work_ms: u64,
    /// Whether nobody can do it, whatever its type.
    #[serde(default)]
    poison: bool,
}

fn work() -> u64 {
    WORK
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [folder, effects, name] = arguments.as_slice() else {
        return Err("usage: puppet FOLDER EFFECTS NAME".into());
    };
    sutazai_cli::install_tls_provider();
    let effects = OpenOptions::new().create(true).append(true).open(effects)?;
    let links = links(Path::new(folder), name)?;
    let worker = Worker::new(Arc::new(Puppet { effects }), links, GRACE);
    worker.run(CancellationToken::new()).await;
    Ok(())
}

/// Connects as a service does: Consul says where the coordinator is.
fn links(folder: &Path, name: &str) -> Result<Links, Box<dyn Error>> {
    let at = Description::read(folder)?;
    let servers = at.servers.ok_or("a platform without servers")?;
    let breakers = Breakers::new();
    let token = servers
        .consul_token_file
        .with_file_name(format!("consul-{NAME}"));
    let settings = consul::Settings {
        token: Some(fs::read_to_string(token)?.trim().to_owned().into()),
        ..consul::Settings::new(servers.consul)
    };
    let registry = ConsulRegistry::new(settings, &breakers)?;
    // A watch is empty until its first answer, so it begins before the first call.
    let _ = registry.watch(ServiceName::TaskCoordinator);
    let password = fs::read_to_string(servers.rabbitmq_password_file)?;
    let url = format!(
        "amqp://{}:{}@127.0.0.1:{}/%2f",
        servers.rabbitmq_user,
        password.trim(),
        servers.amqp_port
    );
    let broker = RabbitBroker::new(&Settings::new(url, name), &breakers)?;
    let key = at.keys.join(format!("{NAME}.pem"));
    Ok(Links {
        mesh: Mesh::new(NAME, Arc::new(registry), breakers),
        identity: Identity::from_files(NAME, &key, &at.jwks_file)?,
        broker: Arc::new(broker),
        instance: InstanceId::new(name),
    })
}

#[async_trait]
impl Agent for Puppet {
    fn about(&self) -> About {
        About {
            name: NAME,
            version: env!("CARGO_PKG_VERSION"),
            description: "Leaves a line for each effect.",
        }
    }

    fn capabilities(&self) -> Vec<Capability> {
        let of = |task_type, effect_mode| Capability {
            task_type,
            description: "Leaves a line for each effect.",
            effect_mode,
            max_attempts: 5,
            attempt_timeout: Duration::from_secs(60),
        };
        vec![
            of("test.once", EffectMode::AtMostOnce),
            of("test.again", EffectMode::Idempotent),
            of("test.poison", EffectMode::Idempotent),
        ]
    }

    fn slots(&self) -> u16 {
        SLOTS
    }

    async fn run(&self, task: TaskContext) -> Result<Payload, Failure> {
        let input: Input = task.input_json()?;
        let since_epoch = UNIX_EPOCH.elapsed().unwrap_or_default();
        // One write each: lines of several attempts do not mix.
        let line = format!("{} {}\n", since_epoch.as_millis(), input.key);
        let written = (&self.effects).write_all(line.as_bytes());
        written.map_err(|error| failed(&error.to_string()))?;
        tokio::time::sleep(Duration::from_millis(input.work_ms)).await;
        if input.poison || task.task_type == "test.poison" {
            return Err(failed("nobody can do this"));
        }
        json_payload(&json!({"text": input.answer}))
    }
}

fn failed(message: &str) -> Failure {
    Failure::new(ErrorCode::Unavailable, "not_done", message).retryable(true)
}
