//! `sutazai healthcheck`: the question of a container's engine, asked with what the image has.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use http::{Method, StatusCode};
use serde_json::Value;
use sutazai_mesh::http::{Failure, HttpClient};
use sutazai_runtime::config::Source;

use crate::{
    args::HealthcheckArgs,
    screen::{Mark, Screen},
};

/// The setting that says where a service listens.
const LISTEN: &str = "HTTP_LISTEN";
/// Where the backend listens that is told nothing.
const DOOR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 10010);
/// Path that says whether a process takes work.
const READY: &str = "/readyz";

/// Why it is not known whether the service takes work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The setting holds no address.
    #[error("{LISTEN} holds no address with a port: {0}")]
    Address(String),
    /// No client can be made.
    #[error("can not make an HTTP client")]
    Client(#[source] Failure),
    /// Nobody answers.
    #[error("no service answers at {url}")]
    Silent {
        /// Where.
        url: String,
        /// Why not.
        source: Failure,
    },
    /// The answer takes too long.
    #[error("{url} did not answer within {seconds} s")]
    Slow {
        /// Where.
        url: String,
        /// The time it had.
        seconds: u64,
    },
}

/// Asks once; success only when the service takes work.
///
/// # Errors
/// Why there is no answer.
pub async fn command(args: &HealthcheckArgs, screen: &Screen) -> Result<ExitCode, Error> {
    let address = match args.address {
        Some(address) => address,
        None => listening(&Source::process())?,
    };
    let url = format!("http://{}{READY}", reachable(address));
    let seconds = args.seconds;
    let answer = tokio::time::timeout(Duration::from_secs(seconds), ask(&url, seconds)).await;
    let (status, detail) = match answer {
        Ok(answer) => answer?,
        Err(_) => return Err(Error::Slow { url, seconds }),
    };
    let ready = status == StatusCode::OK;
    show(&url, ready, &detail, screen);
    Ok(if ready {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Returns the status of the answer, and what it says about it.
async fn ask(url: &str, seconds: u64) -> Result<(StatusCode, String), Error> {
    let client = HttpClient::external(Duration::from_secs(seconds)).map_err(Error::Client)?;
    let silent = |source| Error::Silent {
        url: url.to_owned(),
        source,
    };
    let answer = client.send(client.request(Method::GET, url)).await;
    let answer = answer.map_err(silent)?;
    let status = answer.status();
    let body = answer.bytes().await.map_err(silent)?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    // A problem document has a detail, the good answer a status.
    let detail = body["detail"].as_str().or(body["status"].as_str());
    let detail = detail.map_or_else(|| format!("it answers {status}"), str::to_owned);
    Ok((status, detail))
}

fn show(url: &str, ready: bool, detail: &str, screen: &Screen) {
    if screen.is_json() {
        screen.event(&serde_json::json!({"url": url, "ready": ready, "detail": detail}));
        return;
    }
    let mark = if ready { Mark::Good } else { Mark::Bad };
    screen.line(format!("{} {url}: {detail}", screen.mark(mark)));
}

fn listening(source: &Source) -> Result<SocketAddr, Error> {
    match source.get(LISTEN) {
        Some(text) => text.parse().map_err(|_| Error::Address(text.to_owned())),
        None => Ok(DOOR),
    }
}

/// Who listens on every interface is reached on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_is_asked_where_its_setting_says() {
        for (setting, wanted) in [
            ("0.0.0.0:8000", "127.0.0.1:8000"),
            ("[::]:8000", "[::1]:8000"),
            ("10.0.0.7:8000", "10.0.0.7:8000"),
            // An empty value is none.
            ("", "127.0.0.1:10010"),
        ] {
            let source = Source::from_pairs([(LISTEN, setting)]);
            let address = reachable(listening(&source).unwrap());
            assert_eq!(address.to_string(), wanted, "{setting}");
        }
        let wrong = Source::from_pairs([(LISTEN, "8000")]);
        assert!(listening(&wrong).unwrap_err().to_string().contains(LISTEN));
    }
}
