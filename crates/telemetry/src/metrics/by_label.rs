//! Instruments that are found by a label.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::RwLock;

/// Instruments by a label whose values only the run brings.
///
/// Found here an instrument costs about 150 instructions; its recorder takes about 2,500 to find it by
/// all its labels.
#[derive(Debug)]
pub struct ByLabel<T>(RwLock<BTreeMap<Box<str>, Arc<T>>>);

impl<T> Default for ByLabel<T> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<T> ByLabel<T> {
    /// Returns the instrument of a label, made at its first use. As in the recorder, none is ever
    /// dropped: the values of a label have to be few.
    pub fn get(&self, label: &str, make: impl FnOnce() -> T) -> Arc<T> {
        if let Some(found) = self.0.read().get(label) {
            return Arc::clone(found);
        }
        let mut all = self.0.write();
        let entry = all.entry(label.into());
        Arc::clone(entry.or_insert_with(|| Arc::new(make())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instrument_is_made_once_for_each_label() {
        let instruments = ByLabel::default();
        let first = instruments.get("a", || 1);
        assert_eq!(*instruments.get("b", || 2), 2);
        assert!(Arc::ptr_eq(&first, &instruments.get("a", || 3)));
    }
}
