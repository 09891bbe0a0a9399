//! A function that remembers its answers.

use std::future::Future;

use serde::{Serialize, de::DeserializeOwned};

use super::{Cache, CacheError, Cached, Namespace};

/// An async function behind the cache, keyed by its argument; made by [`Cache::memo`].
#[derive(Clone)]
pub struct Memo<F> {
    cache: Cache,
    namespace: Namespace,
    tags: Vec<String>,
    function: F,
}

impl Cache {
    /// Wraps an async function: equal arguments are worked out once for the life of the namespace.
    ///
    /// ```
    /// # use std::{convert::Infallible, time::Duration};
    /// # use sutazai_persistence::cache::{Cache, Namespace, Settings, Source};
    /// const SQUARES: Namespace = Namespace::new("squares", Duration::from_secs(60));
    ///
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let cache = Cache::local(Settings::default());
    /// let square = cache.memo(SQUARES, async |n: u64| Ok::<_, Infallible>(n * n));
    /// assert_eq!(square.call(7).await.unwrap().value, 49);
    /// assert_eq!(square.call(7).await.unwrap().source, Source::Local);
    /// # });
    /// ```
    pub fn memo<F>(&self, namespace: Namespace, function: F) -> Memo<F> {
        Memo {
            cache: self.clone(),
            namespace,
            tags: Vec::new(),
            function,
        }
    }
}

impl<F> Memo<F> {
    /// Adds a tag to every answer: whoever invalidates it has them worked out again.
    #[must_use]
    pub fn tag(mut self, tag: &str) -> Self {
        self.tags.push(tag.to_owned());
        self
    }

    /// Answers from the cache, or calls the function.
    ///
    /// # Errors
    /// As [`Cache::get_or_load`].
    pub async fn call<A, T, E, R>(&self, argument: A) -> Result<Cached<T>, CacheError<E>>
    where
        A: Serialize + Send + 'static,
        F: Fn(A) -> R,
        R: Future<Output = Result<T, E>> + Send + 'static,
        T: Serialize + DeserializeOwned + Send + 'static,
        E: Clone + Send + Sync + 'static,
    {
        let name = serde_json::to_string(&argument)?;
        let key = self.namespace.key(&name);
        let key = self.tags.iter().fold(key, |key, tag| key.tag(tag));
        self.cache
            .get_or_load(&key, || (self.function)(argument))
            .await
    }
}
