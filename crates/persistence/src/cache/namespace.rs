//! What is cached under which name, and for how long.

use std::{sync::Arc, time::Duration};

use rand::Rng;

/// A class of data with its life; every key belongs to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Namespace {
    name: &'static str,
    life: Duration,
    jitter_percent: u32,
}

impl Namespace {
    /// Makes a namespace whose entries live about `life`: a tenth more or less, so that entries
    /// made together do not end together.
    pub const fn new(name: &'static str, life: Duration) -> Self {
        Self {
            name,
            life,
            jitter_percent: 10,
        }
    }

    /// Sets how far a life may lie from the given one, in percent.
    #[must_use]
    pub const fn with_jitter(mut self, percent: u32) -> Self {
        self.jitter_percent = if percent > 100 { 100 } else { percent };
        self
    }

    /// Returns the name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the life of its entries, without jitter.
    pub const fn life(&self) -> Duration {
        self.life
    }

    /// Makes a key in this namespace.
    pub fn key(&self, key: &str) -> Key {
        let id = identity(self.name, key);
        let marks = vec![mark_of_namespace(self.name), mark_of_key(&id)];
        Key {
            namespace: *self,
            id,
            marks,
        }
    }

    fn draw(&self, rng: &mut impl Rng) -> Duration {
        let spread = self.life * self.jitter_percent / 100;
        let least = self.life.saturating_sub(spread);
        rng.random_range(least..=self.life + spread)
            .max(Duration::from_millis(1))
    }
}

/// A key in a namespace, with the tags that invalidate its entry.
#[derive(Clone, Debug)]
pub struct Key {
    namespace: Namespace,
    id: Arc<str>,
    marks: Vec<Arc<str>>,
}

impl Key {
    /// Adds a tag: whoever invalidates it invalidates this entry.
    #[must_use]
    pub fn tag(mut self, tag: &str) -> Self {
        self.marks.push(mark_of_tag(tag));
        self
    }

    /// Returns the namespace.
    pub fn namespace(&self) -> Namespace {
        self.namespace
    }

    /// Draws the life of its entry.
    pub(super) fn draw_life(&self) -> Duration {
        self.namespace.draw(&mut rand::rng())
    }

    /// Returns namespace and key as one name.
    pub(super) fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// Returns everything whose invalidation ends the entry.
    pub(super) fn marks(&self) -> &[Arc<str>] {
        &self.marks
    }

    /// Returns the marks that have a generation in the shared level, one a line. The key has none:
    /// its entry is deleted.
    pub(super) fn shared_marks(&self) -> String {
        let shared = self.marks.iter().filter(|mark| !mark.starts_with("k:"));
        shared.fold(ALL.to_owned(), |lines, mark| lines + "\n" + mark)
    }
}

/// The mark of everything.
pub(super) const ALL: &str = "*";

pub(super) fn identity(namespace: &str, key: &str) -> Arc<str> {
    format!("{namespace}:{key}").into()
}

pub(super) fn mark_of_key(id: &str) -> Arc<str> {
    format!("k:{id}").into()
}

pub(super) fn mark_of_namespace(name: &str) -> Arc<str> {
    format!("n:{name}").into()
}

/// A tag is one line in the shared level.
pub(super) fn mark_of_tag(tag: &str) -> Arc<str> {
    format!("t:{}", tag.replace('\n', " ")).into()
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn cch_09_lives_are_spread_around_the_one_of_the_namespace() {
        let namespace = Namespace::new("things", Duration::from_secs(100));
        let mut rng = StdRng::seed_from_u64(1);
        let lives: Vec<_> = (0..1_000)
            .map(|_| namespace.draw(&mut rng).as_secs())
            .collect();
        assert!(lives.iter().all(|life| (90..=110).contains(life)));
        assert!(lives.iter().any(|life| *life < 95) && lives.iter().any(|life| *life > 105));
        let exact = namespace.with_jitter(0).draw(&mut rng);
        assert_eq!(exact, Duration::from_secs(100));
    }

    #[test]
    fn a_tag_is_one_line_and_the_key_is_no_generation() {
        let key = Namespace::new("things", Duration::from_secs(1))
            .key("1")
            .tag("a\nb");
        assert_eq!(key.shared_marks(), "*\nn:things\nt:a b");
    }
}
