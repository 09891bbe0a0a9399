//! What the gateway has to know of an OpenAPI document: the paths, and which of them are open.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// Keys of a path item that are operations.
const METHODS: [&str; 8] = [
    "get", "put", "post", "delete", "options", "head", "patch", "trace",
];

/// An OpenAPI document.
#[derive(Clone, Debug, Deserialize)]
pub struct Document {
    paths: BTreeMap<String, BTreeMap<String, Value>>,
}

/// An operation of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation<'a> {
    /// In small letters.
    pub method: &'a str,
    /// With its parameters in braces.
    pub path: &'a str,
    /// Whether a credential is needed.
    pub guarded: bool,
}

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    /// The text is no JSON or has no paths.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Iterates over all operations.
    pub fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        self.paths.iter().flat_map(|(path, item)| {
            let operations = item
                .iter()
                .filter(|(method, _)| METHODS.contains(&method.as_str()));
            operations.map(|(method, operation)| Operation {
                method,
                path,
                // Our document says it of each operation: an empty list means that none is needed.
                guarded: operation["security"] != Value::Array(Vec::new()),
            })
        })
    }
}

impl Operation<'_> {
    /// Returns a path that a client could ask for, with each parameter filled in.
    pub fn sample(&self) -> String {
        let segments = self.path.split('/').map(|segment| {
            if segment.starts_with('{') {
                "x1"
            } else {
                segment
            }
        });
        segments.collect::<Vec<_>>().join("/")
    }
}
