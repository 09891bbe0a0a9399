//! The OpenAPI document, as a client reads it.

use reqwest::Method;
use serde_json::Value;
use system_tests::Client;

use crate::UNKNOWN;

/// The document that a platform serves.
pub(crate) struct Document(pub(crate) Value);

/// One operation of it.
#[derive(Clone, Copy)]
pub(crate) struct Operation<'a> {
    /// Address, with its parameters in braces.
    pub(crate) path: &'a str,
    method: &'a str,
    /// The operation object.
    pub(crate) spec: &'a Value,
}

impl Document {
    pub(crate) async fn of(client: &Client) -> Self {
        let answer = client.get("/openapi.json").await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-type")),
            (200, Some("application/json"))
        );
        Self(answer.json)
    }

    pub(crate) fn operations(&self) -> Vec<Operation<'_>> {
        let paths = self.0["paths"].as_object().expect("paths");
        let operations = paths.iter().flat_map(|(path, item)| {
            let methods = item.as_object().into_iter().flatten();
            methods.map(move |(method, spec)| Operation { path, method, spec })
        });
        operations.collect()
    }

    /// Returns the schema that a reference leads to, or the schema itself.
    pub(crate) fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let Some(reference) = schema["$ref"].as_str() else {
            return schema;
        };
        let pointer = reference.strip_prefix('#');
        let found = pointer.and_then(|pointer| self.0.pointer(pointer));
        found.unwrap_or_else(|| panic!("{reference} leads nowhere"))
    }
}

impl<'a> Operation<'a> {
    pub(crate) fn method(&self) -> Method {
        self.method.to_uppercase().parse().expect("an HTTP method")
    }

    pub(crate) fn id(&self) -> &'a str {
        self.spec["operationId"].as_str().unwrap_or_default()
    }

    /// Returns the address with an id that nothing has.
    pub(crate) fn address(&self) -> String {
        self.path.replace("{id}", UNKNOWN)
    }

    pub(crate) fn permission(&self) -> Option<&'a str> {
        self.spec["x-permission"].as_str()
    }

    /// Returns the schema of the JSON that a success answers with, and its status.
    pub(crate) fn success(&self) -> Option<(u16, &'a Value)> {
        let responses = self.spec["responses"].as_object()?;
        let (status, response) = responses
            .iter()
            .find(|(status, _)| status.starts_with('2'))?;
        let schema = &response["content"]["application/json"]["schema"];
        Some((status.parse().ok()?, schema))
    }
}
