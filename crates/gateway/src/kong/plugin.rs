//! The plugins that this platform uses, and no others; the words are Kong's own.

use serde::{Deserialize, Serialize};

/// What a plugin does, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "name",
    content = "config",
    rename_all = "kebab-case",
    deny_unknown_fields
)]
pub enum Plugin {
    /// Gives every request an id.
    CorrelationId {
        /// Header of the id.
        header_name: String,
        /// How an id is made.
        generator: String,
        /// Whether the answer names it too.
        echo_downstream: bool,
    },
    /// Tells browsers which other sites may read answers.
    Cors {
        /// The sites. Kong takes an empty list for all sites.
        origins: Vec<String>,
        /// What they may do.
        methods: Vec<String>,
        /// What they may send.
        headers: Vec<String>,
        /// What they may read.
        exposed_headers: Vec<String>,
        /// Whether credentials are allowed.
        credentials: bool,
        /// Seconds for which a browser remembers it.
        max_age: u32,
    },
    /// Verifies tokens.
    Jwt {
        /// The claim or header field that names the key.
        key_claim_name: String,
        /// Claims that must hold.
        claims_to_verify: Vec<String>,
        /// Query parameters that may carry a token.
        uri_param_names: Vec<String>,
        /// Cookies that may carry a token.
        cookie_names: Vec<String>,
        /// Headers that may carry a token.
        header_names: Vec<String>,
        /// Whether the question of a browser needs a token.
        run_on_preflight: bool,
    },
    /// Counts requests.
    Prometheus {
        /// One series a consumer.
        per_consumer: bool,
        /// One series a status.
        status_code_metrics: bool,
        /// Histograms of times.
        latency_metrics: bool,
        /// Bytes.
        bandwidth_metrics: bool,
        /// One series an instance.
        upstream_health_metrics: bool,
    },
    /// Refuses what comes too often.
    RateLimiting {
        /// Requests in a second.
        second: u32,
        /// Requests in a minute.
        minute: u32,
        /// By whom they are counted.
        limit_by: String,
        /// Where the counters are.
        policy: String,
    },
    /// Refuses what is too large.
    RequestSizeLimiting {
        /// The limit.
        allowed_payload_size: u32,
        /// What it is counted in.
        size_unit: String,
    },
    /// Changes requests.
    RequestTransformer {
        /// What is taken away.
        remove: Headers,
    },
    /// Changes answers.
    ResponseTransformer {
        /// What is taken away.
        remove: Headers,
    },
}

/// Names of headers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Headers {
    /// The names.
    pub headers: Vec<String>,
}

impl Plugin {
    /// Names of all plugins, which is what Kong has to load.
    pub const NAMES: [&'static str; 8] = [
        "correlation-id",
        "cors",
        "jwt",
        "prometheus",
        "rate-limiting",
        "request-size-limiting",
        "request-transformer",
        "response-transformer",
    ];

    /// Returns the name of the plugin.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CorrelationId { .. } => "correlation-id",
            Self::Cors { .. } => "cors",
            Self::Jwt { .. } => "jwt",
            Self::Prometheus { .. } => "prometheus",
            Self::RateLimiting { .. } => "rate-limiting",
            Self::RequestSizeLimiting { .. } => "request-size-limiting",
            Self::RequestTransformer { .. } => "request-transformer",
            Self::ResponseTransformer { .. } => "response-transformer",
        }
    }
}
