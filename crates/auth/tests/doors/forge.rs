//! Tokens made by hand, right ones and wrong ones.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::Utc;
use ring::signature::Ed25519KeyPair;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sutazai_auth::keys::SigningKey;

/// A token in the making.
#[derive(Clone)]
pub(crate) struct Forge {
    pub(crate) header: Value,
    pub(crate) claims: Value,
    pub(crate) key: SigningKey,
}

impl Forge {
    /// Starts from a token that holds: one of a user for the doors.
    pub(crate) fn user(key: &SigningKey) -> Self {
        let now = Utc::now().timestamp();
        Self {
            header: json!({"alg": "EdDSA", "typ": "at+jwt", "kid": key.public().kid()}),
            claims: json!({
                "iss": "sutazai", "aud": "sutazai", "sub": "alice", "tenant": "default",
                "roles": ["user"], "iat": now, "nbf": now, "exp": now + 300, "jti": "1",
            }),
            key: key.clone(),
        }
    }

    /// Starts from a token that holds: one of the backend for a call on behalf of a user.
    pub(crate) fn service(key: &SigningKey, to: &str) -> Self {
        let now = Utc::now().timestamp();
        let mut forge = Self::user(key);
        forge.header["typ"] = json!("service+jwt");
        forge.claims["iss"] = json!("backend");
        forge.claims["aud"] = json!(to);
        forge.claims["exp"] = json!(now + 60);
        forge
    }

    /// Sets a member of the header, or removes it with `null`.
    pub(crate) fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        set(&mut self.header, name, value.into());
        self
    }

    /// Sets a claim, or removes it with `null`.
    pub(crate) fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        set(&mut self.claims, name, value.into());
        self
    }

    /// Moves a claim that is a time to so many seconds from now.
    pub(crate) fn at(self, name: &str, seconds: i64) -> Self {
        self.claim(name, Utc::now().timestamp() + seconds)
    }

    pub(crate) fn key(mut self, key: &SigningKey) -> Self {
        self.key = key.clone();
        self
    }

    pub(crate) fn message(&self) -> String {
        message(&self.header.to_string(), &self.claims.to_string())
    }

    pub(crate) fn signature(&self) -> Vec<u8> {
        sign(&self.key, &self.message())
    }

    /// Signs with the key.
    pub(crate) fn token(&self) -> String {
        self.with_signature(&self.signature())
    }

    /// Puts any bytes in the place of the signature.
    pub(crate) fn with_signature(&self, signature: &[u8]) -> String {
        format!("{}.{}", self.message(), encode(signature))
    }

    /// Signs other texts in place of header and claims, for what JSON values can not express.
    pub(crate) fn with_texts(&self, header: Option<&str>, claims: Option<&str>) -> String {
        let header = header.map_or_else(|| self.header.to_string(), str::to_owned);
        let claims = claims.map_or_else(|| self.claims.to_string(), str::to_owned);
        let message = message(&header, &claims);
        let signature = sign(&self.key, &message);
        format!("{message}.{}", encode(&signature))
    }
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn message(header: &str, claims: &str) -> String {
    format!(
        "{}.{}",
        encode(header.as_bytes()),
        encode(claims.as_bytes())
    )
}

fn sign(key: &SigningKey, message: &str) -> Vec<u8> {
    let pem = key.to_pem();
    let body: String = pem
        .expose_secret()
        .lines()
        .filter(|l| !l.starts_with('-'))
        .collect();
    let document = base64::engine::general_purpose::STANDARD
        .decode(body)
        .unwrap();
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&document).unwrap();
    pair.sign(message.as_bytes()).as_ref().to_vec()
}

fn set(object: &mut Value, name: &str, value: Value) {
    let object = object.as_object_mut().unwrap();
    match value {
        Value::Null => object.remove(name),
        value => object.insert(name.to_owned(), value),
    };
}
