//! A budget over three hops: each sees less than the one before, and a spent one calls nobody.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::StdRng};
use sutazai_auth::{
    grpc,
    identity::Identity,
    keys::{Issuer, KeySet, PublishedKey, SigningKey},
};
use sutazai_mesh::{catalog::ServiceName, channel::Mesh, registry::memory::MemoryRegistry};
use sutazai_proto::agents::v1::{
    Agent, AnnounceRequest, AnnounceResponse, GetAgentRequest, ListAgentsRequest,
    ListAgentsResponse,
    agents_client::AgentsClient,
    agents_server::{Agents, AgentsServer},
};
use sutazai_resilience::{Breakers, Deadline};
use sutazai_runtime::{
    Process, Shutdown, Source,
    config::{Base, Reader},
};
use system_tests::eventually;
use tonic::{Code, Request, Response, Status, service::Routes};

/// Who calls whom, each on behalf of the one before; the first is the test itself.
const CHAIN: [ServiceName; 4] = [
    ServiceName::Cli,
    ServiceName::Backend,
    ServiceName::AgentOrchestrator,
    ServiceName::TaskCoordinator,
];
/// What each hop keeps for the way back.
const KEPT: Duration = Duration::from_millis(50);
const BUDGETS: u32 = 1_000;
/// Longest budget, and how many calls are on their way at once. Most are long enough: time-outs in a
/// row would open a breaker, and then nobody would be called.
const LONGEST_MS: u64 = 2_000;
const AT_ONCE: usize = 16;

/// What was left when a call came in, by its name.
type Seen = Arc<Mutex<HashMap<String, Duration>>>;

/// A service that hands each call on to the next one.
struct Hop {
    seen: Seen,
    next: Option<(ServiceName, Mesh, Identity)>,
}

#[tonic::async_trait]
impl Agents for Hop {
    async fn get_agent(
        &self,
        request: Request<GetAgentRequest>,
    ) -> Result<Response<Agent>, Status> {
        let deadline = grpc::deadline(&request, Duration::from_secs(60));
        let name = request.into_inner().name;
        let before = self.seen.lock().insert(name.clone(), deadline.remaining());
        assert!(before.is_none(), "a call came twice");
        let Some((to, mesh, identity)) = &self.next else {
            return Ok(Response::new(Agent::default()));
        };
        ask(mesh, identity, *to, name, deadline).await
    }

    async fn list_agents(
        &self,
        _: Request<ListAgentsRequest>,
    ) -> Result<Response<ListAgentsResponse>, Status> {
        Ok(Response::new(ListAgentsResponse::default()))
    }

    async fn announce(
        &self,
        _: Request<AnnounceRequest>,
    ) -> Result<Response<AnnounceResponse>, Status> {
        Ok(Response::new(AnnounceResponse::default()))
    }
}

async fn ask(
    mesh: &Mesh,
    identity: &Identity,
    to: ServiceName,
    name: String,
    deadline: Deadline,
) -> Result<Response<Agent>, Status> {
    let request = identity.request(to, None, deadline, GetAgentRequest { name })?;
    AgentsClient::new(mesh.channel(to)).get_agent(request).await
}

fn identities() -> Vec<Identity> {
    let keys: Vec<_> = CHAIN
        .iter()
        .map(|_| SigningKey::generate().expect("a key"))
        .collect();
    let published = CHAIN.iter().zip(&keys).map(|(service, key)| PublishedKey {
        issuer: Issuer::Service(*service),
        key: key.public().clone(),
    });
    let set = KeySet::fixed(published.collect::<Vec<_>>());
    let own = CHAIN.iter().zip(keys);
    own.map(|(service, key)| Identity::new(*service, key, set.clone()))
        .collect()
}

fn base(service: ServiceName) -> Base {
    let source = Source::from_pairs([
        ("SUTAZAI_PROFILE", "dev"),
        ("HTTP_LISTEN", "127.0.0.1:0"),
        ("GRPC_LISTEN", "127.0.0.1:0"),
    ]);
    Base::read(&mut Reader::new(&source), service).expect("settings")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_budgets_shrink_at_every_hop_and_a_spent_one_calls_nobody() {
    let registry = MemoryRegistry::new();
    let identities = identities();
    let shutdown = Shutdown::new();
    let meshes = CHAIN.map(|from| Mesh::new(from, Arc::new(registry.clone()), Breakers::new()));
    let mut seen: Vec<Seen> = Vec::new();
    let mut processes = Vec::new();
    for (at, service) in CHAIN.into_iter().enumerate().skip(1) {
        let next = CHAIN.get(at + 1);
        let next = next.map(|next| (*next, meshes[at].clone(), identities[at].clone()));
        seen.push(Seen::default());
        let hop = Hop {
            seen: seen[at - 1].clone(),
            next,
        };
        let process = Process::builder(service, &base(service))
            .grpc(Routes::new(AgentsServer::new(hop)))
            .guard(grpc::guard(identities[at].clone()))
            .bind(Arc::new(registry.clone()))
            .await
            .expect("sockets");
        processes.push(tokio::spawn(process.run(shutdown.clone())));
    }
    let call = async |name: &str, budget: Duration| {
        let deadline = Deadline::after(budget);
        ask(
            &meshes[0],
            &identities[0],
            CHAIN[1],
            name.to_owned(),
            deadline,
        )
        .await
    };
    let mut warm = 0;
    eventually("the chain", async || {
        warm += 1;
        let outcome = call(&format!("warm-{warm}"), Duration::from_secs(5)).await;
        outcome.ok().map(drop)
    })
    .await;

    let mut rng = StdRng::seed_from_u64(4);
    let budgets: Vec<u64> = (0..BUDGETS)
        .map(|_| rng.random_range(0..=LONGEST_MS))
        .collect();
    let calls = budgets.iter().enumerate().map(async |(at, budget)| {
        let budget = Duration::from_millis(*budget);
        let outcome = call(&at.to_string(), budget).await;
        outcome.map(drop).map_err(|status| status.code())
    });
    let outcomes: Vec<_> = stream::iter(calls).buffered(AT_ONCE).collect().await;

    let mut whole = 0;
    for (at, (budget, outcome)) in budgets.iter().zip(outcomes).enumerate() {
        let budget = Duration::from_millis(*budget);
        let left = seen
            .iter()
            .map(|hop| hop.lock().get(&at.to_string()).copied());
        let left: Vec<Option<Duration>> = left.collect();
        let mut most = budget;
        for hop in &left {
            most = most.saturating_sub(KEPT);
            match hop {
                Some(left) => {
                    assert!(
                        *left <= most,
                        "{budget:?}: {left:?} where {most:?} may be left"
                    );
                    most = *left;
                }
                None => most = Duration::ZERO,
            }
            // Nothing is left: neither this hop nor any after it may have been called.
            assert!(!(most.is_zero() && hop.is_some_and(|left| !left.is_zero())));
        }
        if budget <= KEPT {
            assert_eq!(left, [None; 3], "{budget:?}");
            assert_eq!(outcome, Err(Code::DeadlineExceeded));
        }
        if outcome.is_ok() {
            assert!(left[2].is_some(), "{budget:?}");
            whole += 1;
        }
    }
    assert!(whole > 100, "only {whole} calls went all the way");
    shutdown.trigger();
    for process in processes {
        process.await.expect("an end").expect("a clean end");
    }
}
