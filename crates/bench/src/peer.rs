//! Programs of others, pinned, installed below `.run/` or by the distribution; only with `--peers`.
//!
//! A peer runs with the settings that its documentation names for production, without logs and
//! databases.

pub mod celery;
pub mod litellm;
pub mod nginx;
mod python;

use std::collections::BTreeMap;

/// Returns the pinned versions.
pub fn versions() -> BTreeMap<String, String> {
    [
        (celery::NAME, celery::VERSION),
        (litellm::NAME, litellm::VERSION),
    ]
    .map(|(name, version)| (name.to_owned(), version.to_owned()))
    .into()
}
