//! Real servers, and caches on them.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use secrecy::SecretString;
use sutazai_persistence::{
    Cache, Redis,
    cache::{Cached, Key, Namespace, Settings},
    redis,
};
use sutazai_resilience::Breakers;
use sutazai_servers::redis::{Options, Redis as Server};
use tokio::time::{Instant, sleep};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const THINGS: Namespace = Namespace::new("things", Duration::from_secs(60));

/// A folder that the server's account can reach.
pub(crate) fn folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711))
        .expect("its mode");
    folder
}

/// A Redis of the test's own; its folder goes with it.
pub(crate) async fn server() -> (Server, tempfile::TempDir) {
    let folder = folder();
    let server = Server::start(Options::new(folder.path().join("redis")))
        .await
        .expect("a Redis");
    (server, folder)
}

pub(crate) fn client(url: String, breakers: &Breakers) -> Redis {
    Redis::new(redis::Settings::new(SecretString::from(url)), breakers).expect("a client")
}

/// One replica's cache; it hears the others when this returns.
pub(crate) async fn replica(server: &Server) -> Cache {
    let cache = Cache::shared(Settings::default(), client(server.url(), &Breakers::new()));
    hears(&cache).await;
    cache
}

pub(crate) async fn hears(cache: &Cache) {
    wait_for("the cache to hear", async || {
        let shared = cache.stats().await.shared;
        shared.is_some_and(|shared| shared.hears)
    })
    .await;
}

pub(crate) async fn wait_for(what: &str, is_so: impl AsyncFn() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < give_up, "waited in vain for {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Makes values and counts them.
#[derive(Clone, Default)]
pub(crate) struct Origin {
    loads: Arc<AtomicU32>,
    takes: Duration,
}

impl Origin {
    pub(crate) fn that_takes(takes: Duration) -> Self {
        Self {
            takes,
            ..Self::default()
        }
    }

    pub(crate) fn loads(&self) -> u32 {
        self.loads.load(Ordering::SeqCst)
    }

    /// Returns the number of the load: 1 for the first.
    pub(crate) async fn load(self) -> Result<u32, String> {
        sleep(self.takes).await;
        Ok(self.loads.fetch_add(1, Ordering::SeqCst) + 1)
    }

    pub(crate) async fn through(&self, cache: &Cache, key: &Key) -> Cached<u32> {
        let loaded = cache.get_or_load(key, || self.clone().load()).await;
        loaded.expect("a value")
    }
}

/// Sends inline commands and returns everything that is answered.
pub(crate) fn say(server: &Server, commands: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).expect("a connection");
    if let Some((_, password)) = server.url().split_once("://:") {
        let (password, _) = password.split_once('@').expect("a password");
        write!(stream, "AUTH {password}\r\n").expect("a login");
    }
    write!(stream, "{commands}\r\nQUIT\r\n").expect("commands");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answers");
    answer
}

/// Counts the connections that the server has, the one that asks included.
pub(crate) fn connections(server: &Server) -> usize {
    say(server, "CLIENT LIST").matches("id=").count()
}
