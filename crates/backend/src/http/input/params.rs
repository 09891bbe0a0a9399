//! Query parameters, each read once, the unknown ones refused.

use std::{fmt::Display, str::FromStr};

use axum::extract::{FromRequestParts, Query};
use http::request::Parts;

use super::InputError;
use crate::http::problem::Failure;

/// The parameters of a request that no handler has taken yet.
#[derive(Debug)]
pub(crate) struct Params(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let Query(pairs) = Query::try_from_uri(&parts.uri)
            .map_err(|_| InputError::invalid("query", "not a form-encoded query"))?;
        Ok(Self(pairs))
    }
}

impl Params {
    /// Takes a parameter that may be given once.
    pub(crate) fn take<T: FromStr<Err: Display>>(
        &mut self,
        name: &str,
    ) -> Result<Option<T>, InputError> {
        let mut values = self.take_all(name)?;
        if values.len() > 1 {
            return Err(InputError::invalid(name, "given more than once"));
        }
        Ok(values.pop())
    }

    /// Takes a parameter that may be repeated.
    pub(crate) fn take_all<T: FromStr<Err: Display>>(
        &mut self,
        name: &str,
    ) -> Result<Vec<T>, InputError> {
        self.0
            .extract_if(.., |(key, _)| key == name)
            .map(|(_, value)| value.parse())
            .collect::<Result<_, _>>()
            .map_err(|error: T::Err| InputError::invalid(name, error.to_string()))
    }

    /// Refuses what nobody took.
    pub(crate) fn finish(self) -> Result<(), InputError> {
        match self.0.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => Err(InputError::UnknownField {
                pointer: name,
                detail: "this operation has no such parameter".to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use sutazai_proto::Coded;

    use super::*;

    fn params(query: &str) -> Params {
        let uri = format!("http://localhost/?{query}").parse().unwrap();
        Params(Query::try_from_uri(&uri).unwrap().0)
    }

    #[test]
    fn parameters_are_read_once() {
        let mut params = params("limit=7&state=queued&state=running&text=a%26b");
        assert_eq!(params.take::<u32>("limit").unwrap(), Some(7));
        assert_eq!(
            params.take_all::<String>("state").unwrap(),
            ["queued", "running"]
        );
        assert_eq!(
            params.take::<String>("text").unwrap().as_deref(),
            Some("a&b")
        );
        assert_eq!(params.take::<u32>("absent").unwrap(), None);
        params.finish().unwrap();
    }

    #[test]
    fn sec_10_wrong_repeated_and_unknown_parameters_have_their_own_codes() {
        assert_eq!(
            params("limit=x").take::<u32>("limit").unwrap_err().reason(),
            "validation_failed"
        );
        assert_eq!(
            params("limit=1&limit=2")
                .take::<u32>("limit")
                .unwrap_err()
                .reason(),
            "validation_failed"
        );
        assert_eq!(
            params("sort=name").finish().unwrap_err().reason(),
            "unknown_field"
        );
    }
}
