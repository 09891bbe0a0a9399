//! `sutazai up` where nobody names a model node.

use std::net::{Ipv4Addr, TcpStream};

use sutazai_cli::site::description::UP_FOLDER;
use sutazai_servers::ollama::{Ollama, Options};
use system_tests::Client;

use crate::up::{Up, left, open_to_servers};

/// Where Ollama listens unless told otherwise.
const USUAL: u16 = 11434;

#[tokio::test(flavor = "multi_thread")]
async fn port_01_up_starts_an_ollama_where_none_answers_and_stops_it() {
    assert!(
        TcpStream::connect((Ipv4Addr::LOCALHOST, USUAL)).is_err(),
        "an Ollama listens on {USUAL}, and `sutazai up` would use that one: stop it for this test"
    );
    let folder = tempfile::tempdir().expect("a folder");
    open_to_servers(folder.path());
    // As after an earlier `up` and a pull: a model lies in the state folder.
    let options = Options {
        data: folder.path().join(UP_FOLDER).join("ollama"),
        port: None,
    };
    let earlier = Ollama::start(options).await.expect("an Ollama");
    earlier.create_toy_model("toy").await.expect("a model");
    earlier.stop().await;

    let up = Up {
        data: folder.path(),
        node: None,
    };
    let (description, said) = tokio::task::block_in_place(|| up.start());
    assert!(!description.demo, "{said}");
    assert!(
        description.processes["ollama"].is_alive(),
        "{:?}",
        description.processes
    );
    let node = Client::new(&description.nodes[0], None);
    assert_eq!(
        node.get("/api/tags").await.json["models"][0]["name"],
        "toy:latest"
    );
    let chat = Client::with_key_of(&description).chat("hello").await;
    assert_eq!(chat.status, 200, "{}", chat.text);
    assert_eq!(chat.json["model"], "toy:latest", "{}", chat.text);

    let down = tokio::task::block_in_place(|| up.run(&["down"]));
    assert!(down.status.success());
    assert_eq!(left(&description), [""; 0]);
    let port = description.nodes[0].rsplit(':').next();
    let port = port.and_then(|port| port.parse::<u16>().ok());
    let port = port.expect("a port");
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
}
