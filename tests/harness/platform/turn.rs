//! One test of a process at a time has the machine, and one platform that those tests share.

use std::ops::Deref;

use tokio::sync::{Mutex, MutexGuard};

use super::Platform;
use crate::lasting::Lasting;

static SHARED: Lasting<Platform> = Lasting::new();
static TURN: Mutex<()> = Mutex::const_new(());

/// The machine for one test alone; the others wait until this is dropped.
pub struct Alone {
    _turn: MutexGuard<'static, ()>,
}

/// The shared platform, for one test alone.
pub struct Turn {
    platform: &'static Platform,
    _alone: Alone,
}

impl Deref for Turn {
    type Target = Platform;

    fn deref(&self) -> &Platform {
        self.platform
    }
}

/// Waits until no other test has the machine.
pub async fn alone() -> Alone {
    Alone {
        _turn: TURN.lock().await,
    }
}

/// Returns the platform of this process with everything running; `start` is what first starts it.
pub async fn shared<F>(start: impl FnOnce() -> F + Send + 'static) -> Turn
where
    F: Future<Output = Platform>,
{
    let alone = alone().await;
    let platform = SHARED.get(start).await;
    platform.whole().await;
    Turn {
        platform,
        _alone: alone,
    }
}
