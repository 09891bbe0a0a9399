//! The spans of one trace as a tree.

use std::collections::{BTreeMap, BTreeSet};

use sutazai_testkit::otlp::Span;

/// The spans of one trace.
#[derive(Debug)]
pub(crate) struct Tree {
    spans: BTreeMap<String, Span>,
}

impl Tree {
    pub(crate) fn of(spans: Vec<Span>) -> Self {
        Self {
            spans: spans
                .into_iter()
                .map(|span| (span.id.clone(), span))
                .collect(),
        }
    }

    /// Says what keeps the spans from being one tree.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let roots = self.spans().filter(|span| span.parent.is_none()).count();
        if roots != 1 {
            faults.push(format!("{roots} roots"));
        }
        let ids: BTreeSet<&str> = self.spans.keys().map(String::as_str).collect();
        for span in self.spans() {
            let parent = span.parent.as_deref();
            if parent.is_some_and(|parent| !ids.contains(parent)) {
                faults.push(format!("{} is an orphan", span.name));
            }
        }
        faults
    }

    pub(crate) fn spans(&self) -> impl Iterator<Item = &Span> {
        self.spans.values()
    }

    pub(crate) fn root(&self) -> &Span {
        self.spans()
            .find(|span| span.parent.is_none())
            .expect("a root")
    }

    pub(crate) fn find(&self, kind: &str, name: &str) -> Option<&Span> {
        self.spans()
            .find(|span| span.kind == kind && span.name == name)
    }

    /// Returns service, kind and name of each span from the root to this one.
    pub(crate) fn way_to<'a>(&'a self, span: &'a Span) -> Vec<(&'a str, &'a str, &'a str)> {
        let parent = |span: &&'a Span| self.spans.get(span.parent.as_ref()?);
        let mut way: Vec<_> = std::iter::successors(Some(span), parent)
            .map(|span| (span.service.as_str(), span.kind, span.name.as_str()))
            .collect();
        way.reverse();
        way
    }
}
