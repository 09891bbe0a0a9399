//! Where settings come from.

use std::{collections::BTreeMap, env, fmt};

/// Settings by name, before anybody has looked at them.
///
/// An empty value counts as absent: compose files pass `NAME=` for a variable nobody has set.
#[derive(Clone, Default)]
pub struct Source {
    values: BTreeMap<String, String>,
}

impl Source {
    /// Takes the environment of this process.
    pub fn process() -> Self {
        Self::from_pairs(env::vars_os().map(|(name, value)| {
            (
                name.to_string_lossy().into_owned(),
                value.to_string_lossy().into_owned(),
            )
        }))
    }

    /// Takes given pairs; of two with the same name the later one counts.
    pub fn from_pairs<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<String>,
        V: Into<String>,
    {
        let mut source = Self::default();
        for (name, value) in pairs {
            source = source.with(name, value);
        }
        source
    }

    /// Sets one value, over an earlier one of the same name.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.values.insert(name.into(), value.into());
        self
    }

    /// Returns the value of `name`, unless it is absent or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        let value = self.values.get(name)?;
        (!value.is_empty()).then_some(value.as_str())
    }
}

/// Shows the names only: any value may be a secret.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_value_is_absent_and_the_last_one_counts() {
        let source = Source::from_pairs([("A", "1"), ("B", "")]).with("A", "2");
        assert_eq!(source.get("A"), Some("2"));
        assert_eq!(source.get("B"), None);
        assert_eq!(source.get("C"), None);
    }

    #[test]
    fn cfg_09_debug_shows_no_value() {
        let shown = format!("{:?}", Source::from_pairs([("JWT_SECRET", "canary")]));
        assert!(
            shown.contains("JWT_SECRET") && !shown.contains("canary"),
            "{shown}"
        );
    }
}
