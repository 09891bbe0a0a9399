//! Ids in paths.

use std::{fmt::Display, str::FromStr};

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;

use super::InputError;
use crate::http::problem::Failure;

/// Longest agent name in characters.
const MAX_NAME: usize = 64;
/// Longest name of a circuit breaker in characters.
const MAX_BREAKER_NAME: usize = 256;

/// The only parameter of the path, as a value that can only be made valid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Id<T>(pub(crate) T);

impl<S, T> FromRequestParts<S> for Id<T>
where
    S: Send + Sync,
    T: FromStr<Err: Display> + Send,
{
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let invalid = |detail| InputError::Id {
            parameter: "id",
            detail,
        };
        // Fails on percent-encoded bytes that are not UTF-8.
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| invalid("not UTF-8".to_owned()))?;
        let id = text
            .parse()
            .map_err(|error: T::Err| invalid(error.to_string()))?;
        Ok(Self(id))
    }
}

/// Bare name of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AgentName(String);

/// The text cannot be the name of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an agent's name: 1 to 64 lower-case letters, digits and hyphens")]
pub(crate) struct InvalidName;

impl AgentName {
    /// Returns the name as it travels.
    pub(crate) fn into_inner(self) -> String {
        self.0
    }
}

impl FromStr for AgentName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName)
        }
    }
}

/// Name of a circuit breaker, for example `postgres:tasks`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BreakerName(String);

/// The text cannot be the name of a circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a breaker's name: 1 to 256 letters, digits and any of `:._-[]`")]
pub(crate) struct InvalidBreakerName;

impl BreakerName {
    /// Returns the name as it is compared.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name as it is shown.
    pub(crate) fn into_inner(self) -> String {
        self.0
    }
}

impl FromStr for BreakerName {
    type Err = InvalidBreakerName;

    fn from_str(text: &str) -> Result<Self, InvalidBreakerName> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":._-[]".contains(&byte);
        if (1..=MAX_BREAKER_NAME).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidBreakerName)
        }
    }
}

/// Name of an entry of the cache: namespace and key, for example `models:all`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EntryName(String);

/// The text cannot be the name of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an entry's name: 1 to 256 letters, digits and any of `:._-[]`")]
pub(crate) struct InvalidEntryName;

impl EntryName {
    /// Returns namespace and key; a name without a colon is a namespace without a key.
    pub(crate) fn parts(&self) -> (&str, &str) {
        self.0.split_once(':').unwrap_or((&self.0, ""))
    }
}

impl FromStr for EntryName {
    type Err = InvalidEntryName;

    fn from_str(text: &str) -> Result<Self, InvalidEntryName> {
        let name = text.parse::<BreakerName>().map_err(|_| InvalidEntryName)?;
        Ok(Self(name.into_inner()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaker_names_are_plain() {
        for text in [
            "postgres:tasks",
            "grpc:backend-0a1b2c3d",
            "ollama:[::1]:11434",
        ] {
            assert_eq!(text.parse::<BreakerName>().unwrap().as_str(), text);
        }
        let long = "a".repeat(257);
        for text in ["", "a b", "../x", "a\0", "ä", long.as_str()] {
            assert_eq!(
                text.parse::<BreakerName>(),
                Err(InvalidBreakerName),
                "{text}"
            );
        }
    }

    #[test]
    fn agent_names_are_plain() {
        assert!("automation-agent".parse::<AgentName>().is_ok());
        let long = "a".repeat(65);
        for text in ["", "Agent", "a b", "../x", "a%00", "ä", long.as_str()] {
            assert_eq!(text.parse::<AgentName>(), Err(InvalidName), "{text}");
        }
    }
}
