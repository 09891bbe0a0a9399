//! What is done with the requests of one route: limits, and who may pass.

use std::collections::BTreeMap;

use super::plugin::Plugin;
use crate::model::Class;

/// What the `Authorization` header of an API key looks like. Kong can not judge keys: this only
/// chooses the way, and the door behind judges.
pub const API_KEY_SHAPE: &str = "^Bearer sutazai_[a-z]+_[0-9A-Za-z]{38}$";

/// Returns the condition of routes that take API keys.
pub(super) fn api_key_header() -> BTreeMap<String, Vec<String>> {
    BTreeMap::from([(
        "authorization".to_owned(),
        vec![format!("~*{API_KEY_SHAPE}")],
    )])
}

/// Returns the limits of a class, with what verifies a credential.
pub(super) fn plugins(class: Class, credential: Option<Plugin>) -> Vec<Plugin> {
    let rate = class.rate();
    let limits = [
        Plugin::RateLimiting {
            second: rate.second,
            minute: rate.minute,
            limit_by: "ip".to_owned(),
            policy: "local".to_owned(),
        },
        Plugin::RequestSizeLimiting {
            allowed_payload_size: class.body_kilobytes(),
            size_unit: "kilobytes".to_owned(),
        },
    ];
    limits.into_iter().chain(credential).collect()
}

/// Returns what verifies users' tokens: by the `kid` of their header, and from nowhere but the
/// `Authorization` header, because addresses and cookies are logged and sent along.
pub(super) fn token() -> Plugin {
    Plugin::Jwt {
        key_claim_name: "kid".to_owned(),
        claims_to_verify: vec!["exp".to_owned()],
        uri_param_names: Vec::new(),
        cookie_names: Vec::new(),
        header_names: vec!["authorization".to_owned()],
        run_on_preflight: false,
    }
}
