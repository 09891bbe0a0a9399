//! A configuration brought into a running Kong, with a way back.

use std::time::Duration;

use http::StatusCode;
use sutazai_mesh::http::Failure;
use sutazai_resilience::{Deadline, breaker::CallError};

use super::admin::{self, Admin, Loaded, Taken};

/// How long a probe may go on failing: instances have to be looked up and found alive first.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest time for one try of a probe.
const TRY: Duration = Duration::from_secs(3);
/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(200);

/// How it ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The configuration is new and in force.
    Loaded,
    /// It was in force already.
    Unchanged,
}

/// Why a configuration is not in force.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Kong did not take it; what was loaded before is in force.
    #[error("nothing was changed")]
    Load(#[source] admin::Error),
    /// It did not hold, and what was loaded before is in force again.
    #[error("{probe} does not answer well; the former configuration is in force again")]
    RolledBack {
        /// The address.
        probe: String,
        /// What it answered.
        source: Miss,
    },
    /// It did not hold, and the way back is closed.
    #[error(
        "{probe} does not answer well ({miss}), and the former configuration can not be loaded"
    )]
    Stuck {
        /// The address.
        probe: String,
        /// What it answered.
        miss: Miss,
        /// Why there is no way back.
        source: admin::Error,
    },
    /// It was loaded already, and it does not hold.
    #[error("{probe} does not answer well; the configuration was loaded already")]
    Unwell {
        /// The address.
        probe: String,
        /// What it answered.
        source: Miss,
    },
}

/// Why a probe did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Miss {
    /// It answers with something else than success.
    #[error("it answers {0}")]
    Status(StatusCode),
    /// It does not answer.
    #[error("it does not answer")]
    Failed(#[from] CallError<Failure>),
}

/// Loads a configuration, asks every probe, and loads the former configuration when one fails.
///
/// # Errors
/// [`Error`] says which configuration is in force.
pub async fn apply(admin: &Admin, text: &str, probes: &[String]) -> Result<Outcome, Error> {
    let former = admin.loaded().await.map_err(Error::Load)?;
    let taken = admin.load(text).await.map_err(Error::Load)?;
    for probe in probes {
        if let Err(miss) = succeeds(admin, probe).await {
            return Err(match taken {
                Taken::New => go_back(admin, &former, probe.clone(), miss).await,
                Taken::Same => Error::Unwell {
                    probe: probe.clone(),
                    source: miss,
                },
            });
        }
    }
    Ok(match taken {
        Taken::New => Outcome::Loaded,
        Taken::Same => Outcome::Unchanged,
    })
}

async fn go_back(admin: &Admin, former: &Loaded, probe: String, miss: Miss) -> Error {
    match admin.load(&former.text).await {
        Ok(_) => Error::RolledBack {
            probe,
            source: miss,
        },
        Err(source) => Error::Stuck {
            probe,
            miss,
            source,
        },
    }
}

/// Asks an address until it answers with success or the patience is over.
async fn succeeds(admin: &Admin, url: &str) -> Result<(), Miss> {
    let patience = Deadline::after(PATIENCE);
    loop {
        let deadline = patience.earlier(Deadline::after(TRY));
        let Err(miss) = ask(admin, url, deadline).await else {
            return Ok(());
        };
        if patience.remaining() < PAUSE {
            return Err(miss);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn ask(admin: &Admin, url: &str, deadline: Deadline) -> Result<(), Miss> {
    let status = admin.ask(url, deadline).await?;
    if status.is_success() {
        Ok(())
    } else {
        Err(Miss::Status(status))
    }
}
