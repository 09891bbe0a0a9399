//! Names in Consul's DNS: a gateway finds the doors there, their ports included.

use std::{collections::BTreeSet, net::Ipv4Addr};

use sutazai_mesh::ServiceName;
use sutazai_mesh::registry::Registry;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::running::Running;
use super::stage::Stage;
use super::waiting::PATIENCE;

/// Bytes of a message before its first question.
const HEADER: usize = 12;
/// Type and class of a question.
const SRV: [u8; 4] = [0, 33, 0, 1];

/// Asks for the SRV records of a name, and returns their ports.
async fn ports(dns: u16, name: &str) -> BTreeSet<u16> {
    let mut question = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(u8::try_from(label.len()).unwrap());
        question.extend(label.as_bytes());
    }
    question.push(0);
    question.extend(SRV);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, dns))
        .await
        .unwrap();
    stream
        .write_u16(question.len().try_into().unwrap())
        .await
        .unwrap();
    stream.write_all(&question).await.unwrap();
    let mut answer = vec![0; stream.read_u16().await.unwrap().into()];
    stream.read_exact(&mut answer).await.unwrap();
    let word = |at: usize| u16::from_be_bytes([answer[at], answer[at + 1]]);
    // The question is repeated, then the answers follow.
    let (mut at, mut found) = (question.len(), BTreeSet::new());
    assert_eq!(answer[HEADER..at], question[HEADER..], "{name}");
    for _ in 0..word(6) {
        at = after_name(&answer, at);
        let (kind, length) = (word(at), word(at + 8));
        assert_eq!(kind, 33, "{answer:?}");
        // Priority and weight stand before the port.
        found.insert(word(at + 14));
        at += 10 + usize::from(length);
    }
    found
}

/// Passes a name, written out or as a pointer to one.
fn after_name(message: &[u8], mut at: usize) -> usize {
    while message[at] != 0 {
        if message[at] >= 0xc0 {
            return at + 2;
        }
        at += usize::from(message[at]) + 1;
    }
    at + 1
}

#[tokio::test]
async fn kng_01_the_name_of_an_upstream_leads_to_the_ports_where_http_is_spoken() {
    let stage = Stage::start().await;
    let registry = stage.registry();
    let dns = stage.consul.ports().dns;
    for service in [ServiceName::Backend, ServiceName::OllamaProxy] {
        let instances = ["1", "2"].map(|n| Running::start(&format!("{service}-{n}"), service));
        let mut leases = Vec::new();
        for running in &instances {
            leases.push(registry.register(running.instance.clone()).await.unwrap());
        }
        let doors = instances.iter().map(|running| &running.instance);
        let doors: BTreeSet<_> = doors.map(|door| door.http.unwrap().port()).collect();
        // As `gateway` writes the targets of its upstreams.
        let name = format!("{service}.service.consul");
        let reached = timeout(PATIENCE, async {
            while ports(dns, &name).await != doors {
                sleep(std::time::Duration::from_millis(50)).await;
            }
        });
        let outcome = reached.await;
        assert!(
            outcome.is_ok(),
            "{name} leads to {:?}, HTTP is spoken at {doors:?}",
            ports(dns, &name).await
        );
        for lease in leases {
            lease.close().await.unwrap();
        }
    }
}
