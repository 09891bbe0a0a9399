//! Programs of others, pinned, installed below `.run/` or by the distribution; only with `--peers`.
//!
//! A peer runs with the settings that its documentation names for production, without logs and
//! databases.

pub mod litellm;
pub mod nginx;

use std::collections::BTreeMap;

/// Returns the pinned versions.
pub fn versions() -> BTreeMap<String, String> {
    [(litellm::NAME.to_owned(), litellm::VERSION.to_owned())].into()
}
