//! The strategies over real edges, and the zones.

use async_trait::async_trait;
use sutazai_mesh::channel::{ROUTING_KEY, Strategies, Strategy};
use sutazai_mesh::registry::{Foreign, Instance, RegistryError, Watch};

use super::*;

/// A registry that knows where its process is.
struct Zoned(MemoryRegistry, &'static str);

#[async_trait]
impl Registry for Zoned {
    async fn register(&self, instance: Instance) -> Result<Lease, RegistryError> {
        self.0.register(instance).await
    }

    fn watch(&self, service: ServiceName) -> Watch {
        self.0.watch(service)
    }

    fn watch_foreign(&self, service: &str) -> Watch<Foreign> {
        self.0.watch_foreign(service)
    }

    fn zone(&self) -> Option<&str> {
        Some(self.1)
    }

    fn kind(&self) -> &'static str {
        "zoned"
    }

    async fn ping(&self) -> Result<String, RegistryError> {
        self.0.ping().await
    }
}

fn with(server: &TestServer, id: &str, fact: &str, value: &str) -> Instance {
    let mut instance = server.instance(id, CALLEE);
    instance.meta.insert(fact.to_owned(), value.to_owned());
    instance
}

async fn three(strategy: Strategy) -> (HealthClient<Edge>, [TestServer; 3], Vec<Lease>) {
    let registry = MemoryRegistry::new();
    let servers = [
        TestServer::start(),
        TestServer::start(),
        TestServer::start(),
    ];
    let mut leases = Vec::new();
    for (server, (id, weight)) in servers
        .iter()
        .zip([("one", "1"), ("two", "1"), ("three", "4")])
    {
        let instance = with(server, id, Instance::WEIGHT, weight);
        leases.push(registry.register(instance).await.unwrap());
    }
    let strategies = Strategies::default().with(CALLEE, strategy);
    let from = ServiceName::Backend;
    let mesh = Mesh::balanced(from, Arc::new(registry), Breakers::new(), strategies);
    (HealthClient::new(mesh.channel(CALLEE)), servers, leases)
}

fn calls(servers: &[TestServer; 3]) -> [usize; 3] {
    [servers[0].calls(), servers[1].calls(), servers[2].calls()]
}

#[tokio::test]
async fn msh_05_each_strategy_divides_the_calls_in_its_way() {
    for strategy in [
        Strategy::RoundRobin,
        Strategy::Random,
        Strategy::Weighted,
        Strategy::PowerOfTwo,
    ] {
        let (mut client, servers, _leases) = three(strategy).await;
        for _ in 0..300 {
            client.check(ask("")).await.unwrap();
        }
        let [one, two, three] = calls(&servers);
        let fits = match strategy {
            Strategy::RoundRobin => [one, two, three] == [100; 3],
            Strategy::Random => [one, two, three].iter().all(|n| (60..140).contains(n)),
            Strategy::Weighted => (150..250).contains(&three),
            // Idle, the one with the greater weight is the less busy of any two.
            _ => (160..240).contains(&three),
        };
        assert!(fits, "{strategy:?}: {one} {two} {three}");
    }
}

#[tokio::test]
async fn msh_05_one_key_meets_one_instance() {
    let (mut client, servers, _leases) = three(Strategy::ConsistentHash).await;
    let mut met = [false; 3];
    for key in 0..12 {
        let before = calls(&servers);
        for _ in 0..10 {
            let mut request = Request::new(ask(""));
            let key = format!("user-{key}").parse().unwrap();
            request.metadata_mut().insert(ROUTING_KEY, key);
            client.check(request).await.unwrap();
        }
        let after = calls(&servers);
        let added: Vec<usize> = (0..3).map(|at| after[at] - before[at]).collect();
        assert!(added.contains(&10), "{added:?}");
        for at in 0..3 {
            met[at] |= added[at] > 0;
        }
    }
    assert!(met.iter().filter(|met| **met).count() > 1, "{met:?}");
}

#[tokio::test]
async fn msh_05_calls_stay_in_their_zone_while_they_can() {
    let memory = MemoryRegistry::new();
    let (near, far) = (TestServer::start(), TestServer::start());
    let mut leases = Vec::new();
    for (server, zone) in [(&near, "a"), (&far, "b")] {
        let instance = with(server, zone, Instance::ZONE, zone);
        leases.push(memory.register(instance).await.unwrap());
    }
    let registry = Arc::new(Zoned(memory, "a"));
    let mesh = Mesh::new(ServiceName::Backend, registry, Breakers::new());
    let mut client = AgentsClient::new(mesh.channel(CALLEE));
    for _ in 0..50 {
        client.get_agent(get("any")).await.unwrap();
    }
    assert_eq!((near.calls(), far.calls()), (50, 0));
    near.kill();
    for _ in 0..50 {
        client.get_agent(get("any")).await.unwrap();
    }
    assert_eq!(far.calls(), 50);
}
