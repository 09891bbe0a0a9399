//! Forged tokens: every one is refused, at both doors, for the same reason.

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::hmac;
use serde_json::{Value, json};

use crate::{
    door::{Door, Outcome, World},
    forge::{Forge, encode},
};

/// The order of the group of Ed25519, little-endian (RFC 8032).
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

type Attack = (&'static str, String);

#[tokio::test]
async fn sec_01_every_forged_token_is_refused_at_both_doors() {
    let world = World::new();
    for door in [Door::Http, Door::Grpc] {
        let genuine = world.genuine(door);
        let own = world.show(door, &genuine.token()).await;
        assert_eq!(own, Outcome::In("alice".into()), "{door:?}");

        let attacks = [
            algorithms(&genuine, &world),
            signatures(&genuine),
            headers(&genuine, &world, door),
            times(&genuine),
            claims(&genuine, &world),
            sizes_and_shapes(&genuine),
        ]
        .concat();
        assert!(attacks.len() >= 90, "{}", attacks.len());
        for (name, token) in attacks {
            let expected = match (name, door) {
                ("40 expired at skew + 1 s", _) => "expired_credential",
                // A caller whose list of addresses is old has to learn that.
                ("44 aud of another service", Door::Grpc) => "wrong_service",
                _ => "invalid_credential",
            };
            let outcome = world.show(door, &token).await;
            assert_eq!(
                outcome,
                Outcome::Out(expected.into()),
                "{door:?}: {name}: {token}"
            );
        }
    }
}

#[tokio::test]
async fn sec_01_a_good_token_in_a_wrong_place_is_refused_at_both_doors() {
    let world = World::new();
    for door in [Door::Http, Door::Grpc] {
        let token = world.genuine(door).token();
        let usual = format!("Bearer {token}");
        let refused = [
            vec![usual.clone(), usual],
            vec![format!("Bearer {token}"), "Basic YTpi".into()],
            vec![format!("bearer\t{token}")],
            vec![format!("Bearer  {token}")],
            vec![format!("Bearer {token}, Bearer {token}")],
            vec![format!("Basic {token}")],
            vec![token.clone()],
        ];
        for headers in refused {
            let outcome = world.knock(door, &headers, "").await;
            assert_eq!(
                outcome,
                Outcome::Out("invalid_credential".into()),
                "{door:?}"
            );
        }
        let places = [
            format!("?access_token={token}"),
            format!("?authorization=Bearer%20{token}"),
        ];
        for query in places {
            let outcome = world.knock(door, &[], &query).await;
            assert_eq!(
                outcome,
                Outcome::Out("missing_credential".into()),
                "{door:?}"
            );
        }
        // RFC 9110: the name of the scheme has no case.
        let lower = format!("bearer {token}");
        let outcome = world.knock(door, &[lower], "").await;
        assert_eq!(outcome, Outcome::In("alice".into()), "{door:?}");
    }
}

fn algorithms(genuine: &Forge, world: &World) -> Vec<Attack> {
    let mut attacks = Vec::new();
    let named: [(&str, Value); 11] = [
        ("1 none", json!("none")),
        ("2 None", json!("None")),
        ("3 NONE", json!("NONE")),
        ("4 nOnE", json!("nOnE")),
        ("5 empty", json!("")),
        ("6 missing", Value::Null),
        ("7 number", json!(1)),
        ("8 array", json!(["EdDSA"])),
        ("RS512", json!("RS512")),
        ("other case", json!("EDDSA")),
        ("Ed25519, which we do not write", json!("Ed25519")),
    ];
    for (name, algorithm) in named {
        let forged = genuine.clone().header("alg", algorithm);
        attacks.push((name, forged.with_signature(&[])));
        attacks.push((name, forged.token()));
    }
    let public = genuine.key.public();
    let raw = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(public.x())
        .unwrap();
    // SubjectPublicKeyInfo of RFC 8410.
    let der = [
        &[0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0][..],
        &raw,
    ]
    .concat();
    let body = STANDARD.encode(&der);
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n");
    let symmetric = genuine.clone().header("alg", "HS256");
    for (name, secret) in [
        ("9 HS256 keyed with the public PEM", pem.as_bytes()),
        ("10 HS256 keyed with the public DER", &der),
        ("HS256 keyed with the raw public key", &raw),
    ] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let tag = hmac::sign(&key, symmetric.message().as_bytes());
        attacks.push((name, symmetric.with_signature(tag.as_ref())));
    }
    let rsa = genuine.clone().header("alg", "RS256");
    attacks.push(("13 RS256 by another key", rsa.with_signature(&[0x5a; 256])));
    let ec = genuine.clone().header("alg", "ES256");
    attacks.push(("14 ES256 with r = s = 0", ec.with_signature(&[0; 64])));
    attacks.push((
        "15 EdDSA by a wrong key",
        genuine.clone().key(&world.stranger).token(),
    ));
    attacks
}

fn signatures(genuine: &Forge) -> Vec<Attack> {
    let good = genuine.signature();
    let token = genuine.token();
    let mut attacks = vec![
        ("16 empty", genuine.with_signature(&[])),
        ("16 no third part", genuine.message()),
        ("17 cut by one byte", genuine.with_signature(&good[..63])),
        (
            "18 appended byte",
            genuine.with_signature(&[&good[..], &[0]].concat()),
        ),
        ("22 of another valid token", {
            let other = genuine.clone().claim("jti", "2");
            genuine.with_signature(&other.signature())
        }),
        ("23 padded", format!("{token}==")),
        ("all zero", genuine.with_signature(&[0; 64])),
    ];
    for byte in [0, 16, 32, 48, 63] {
        let mut flipped = good.clone();
        flipped[byte] ^= 1;
        attacks.push(("19 a flipped bit", genuine.with_signature(&flipped)));
    }
    attacks.push((
        "20 non-canonical S",
        genuine.with_signature(&plus_order(&good)),
    ));
    // 64 bytes fill 85 characters and two bits of the last one; the other four must be zero.
    let (rest, last) = token.split_at(token.len() - 1);
    let stray = match last {
        "A" => "B",
        "Q" => "R",
        "g" => "h",
        "w" => "x",
        other => panic!("{other} can not be the last character"),
    };
    attacks.push((
        "23 stray bits in the last character",
        format!("{rest}{stray}"),
    ));
    let (message, _) = token.rsplit_once('.').unwrap();
    let other_alphabet = STANDARD.encode(&good);
    attacks.push((
        "23 the other alphabet",
        format!("{message}.{other_alphabet}"),
    ));
    attacks
}

/// Adds the group's order to S: the same point, another text.
fn plus_order(signature: &[u8]) -> Vec<u8> {
    let mut out = signature.to_vec();
    let mut carry = 0_u16;
    for (byte, order) in out[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
    out
}

fn headers(genuine: &Forge, world: &World, door: Door) -> Vec<Attack> {
    let kid = genuine.key.public().kid();
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": world.stranger.public().x()});
    let mut attacks = Vec::new();
    let added: [(&str, &str, Value); 10] = [
        ("27 jwk embedded", "jwk", jwk.clone()),
        (
            "28 jku to us",
            "jku",
            json!("http://127.0.0.1:10010/.well-known/jwks.json"),
        ),
        (
            "29 jku outside",
            "jku",
            json!("https://example.org/jwks.json"),
        ),
        ("30 x5u", "x5u", json!("https://example.org/x.pem")),
        ("30 x5c", "x5c", json!(["MAA="])),
        ("unknown crit", "crit", json!(["exp"])),
        ("empty crit", "crit", json!([])),
        ("zip", "zip", json!("DEF")),
        ("unencoded payload", "b64", json!(false)),
        ("cty", "cty", json!("JWT")),
    ];
    for (name, member, value) in added {
        let forged = genuine.clone().header(member, value);
        // By the right key, and by the one that the header offers.
        attacks.push((name, forged.token()));
        attacks.push((name, forged.key(&world.stranger).token()));
    }
    let retired = world.stranger.public().kid();
    let named: [(&str, Value); 11] = [
        ("kid missing", Value::Null),
        ("kid empty", json!("")),
        ("kid number", json!(0)),
        ("31 kid path traversal", json!("../../../../dev/null")),
        ("31 kid absolute path", json!("/proc/self/environ")),
        ("32 kid SQL", json!("x' union select 'aaa' --")),
        ("33 kid of a retired key", json!(retired)),
        ("34 kid of 8 KiB", json!("k".repeat(8192))),
        ("34 kid of 2 KiB", json!("k".repeat(2048))),
        ("kid of another issuer", json!(world.proxy.public().kid())),
        ("kid with a NUL", json!(format!("{kid}\0"))),
    ];
    for (name, value) in named {
        let forged = genuine.clone().header("kid", value);
        attacks.push((name, forged.token()));
        attacks.push((name, forged.key(&world.stranger).token()));
    }
    let typ = genuine.header["typ"].as_str().unwrap();
    for (first, second) in [(kid, retired), (retired, kid), (kid, kid)] {
        let text = format!(r#"{{"alg":"EdDSA","typ":"{typ}","kid":"{first}","kid":"{second}"}}"#);
        attacks.push(("35 kid twice", genuine.with_texts(Some(&text), None)));
    }
    let other = match door {
        Door::Http => "service+jwt",
        Door::Grpc => "at+jwt",
    };
    for value in [
        json!(other),
        json!("refresh+jwt"),
        json!("JWT"),
        json!("id+jwt"),
        Value::Null,
    ] {
        attacks.push((
            "39 type of another token",
            genuine.clone().header("typ", value).token(),
        ));
    }
    attacks.push(("header is no object", genuine.with_texts(Some("[]"), None)));
    attacks.push(("header is no JSON", genuine.with_texts(Some("{"), None)));
    attacks
}

fn times(genuine: &Forge) -> Vec<Attack> {
    let mut attacks = vec![
        (
            "40 expired at skew + 1 s",
            genuine.clone().at("iat", -61).at("exp", -31).token(),
        ),
        ("41 nbf ahead", genuine.clone().at("nbf", 45).token()),
        (
            "iat ahead",
            genuine.clone().at("iat", 45).at("exp", 60).token(),
        ),
        ("lives too long", genuine.clone().at("exp", 3600).token()),
        (
            "lives longer than time",
            genuine.clone().claim("exp", i64::MAX).token(),
        ),
        (
            "ends before it begins",
            genuine.clone().at("iat", 10).at("exp", 5).token(),
        ),
    ];
    for name in ["exp", "nbf", "iat"] {
        let forged = |value| genuine.clone().claim(name, value).token();
        attacks.extend([
            ("42 missing", forged(Value::Null)),
            ("42 text", forged(json!("4102444800"))),
            ("42 float", forged(json!(4_102_444_800.5))),
            ("42 2^63", forged(json!(1_u64 << 63))),
            ("42 array", forged(json!([4_102_444_800_u64]))),
        ]);
    }
    attacks.push(("42 exp negative", genuine.clone().claim("exp", -1).token()));
    let exact = genuine
        .claims
        .to_string()
        .replace("\"exp\":", "\"exp\":1e10,\"x\":");
    attacks.push(("42 exponent", genuine.with_texts(None, Some(&exact))));
    attacks
}

fn claims(genuine: &Forge, world: &World) -> Vec<Attack> {
    let issuer = genuine.claims["iss"].as_str().unwrap();
    let audience = genuine.claims["aud"].as_str().unwrap();
    let forged = |name: &str, value: Value| genuine.clone().claim(name, value).token();
    let raised = genuine
        .clone()
        .claim("roles", json!(["admin"]))
        .claim("tenant", "other");
    let by_proxy = |forge: Forge| {
        let kid = world.proxy.public().kid().to_owned();
        forge.header("kid", kid).key(&world.proxy).token()
    };
    let twice = genuine
        .claims
        .to_string()
        .replace("\"sub\":", "\"sub\":\"root\",\"sub\":");
    vec![
        ("43 iss other", forged("iss", json!("agent-orchestrator"))),
        (
            "43 iss with slash",
            forged("iss", json!(format!("{issuer}/"))),
        ),
        (
            "43 iss as URL",
            forged("iss", json!(format!("https://{issuer}"))),
        ),
        (
            "43 iss in capitals",
            forged("iss", json!(issuer.to_uppercase())),
        ),
        ("43 iss missing", forged("iss", Value::Null)),
        ("43 iss list", forged("iss", json!([issuer]))),
        (
            "44 aud of another service",
            forged("aud", json!("agent-orchestrator")),
        ),
        ("44 aud list", forged("aud", json!([audience]))),
        (
            "44 aud list with ours in it",
            forged("aud", json!(["x", audience])),
        ),
        ("44 aud missing", forged("aud", Value::Null)),
        (
            "46 raised and signed again by a service",
            by_proxy(raised.clone()),
        ),
        (
            "46 the platform's issuer, a service's key",
            by_proxy(raised.claim("iss", "sutazai")),
        ),
        (
            "another service's issuer",
            by_proxy(genuine.clone().claim("iss", "backend")),
        ),
        ("sub missing", forged("sub", Value::Null)),
        ("sub empty", forged("sub", json!(""))),
        ("sub with a line break", forged("sub", json!("alice\nroot"))),
        ("sub twice", genuine.with_texts(None, Some(&twice))),
        ("tenant missing", forged("tenant", Value::Null)),
        ("tenant empty", forged("tenant", json!(""))),
        ("tenant list", forged("tenant", json!(["default"]))),
        ("role unknown", forged("roles", json!(["root"]))),
        ("roles as text", forged("roles", json!("admin"))),
        ("scope unknown", forged("scopes", json!(["tasks:*"]))),
        ("jti missing", forged("jti", Value::Null)),
        ("jti empty", forged("jti", json!(""))),
        (
            "a claim that nobody knows",
            forged("may_not", json!(["tasks:write"])),
        ),
    ]
}

fn sizes_and_shapes(genuine: &Forge) -> Vec<Attack> {
    let token = genuine.token();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
    let deep = genuine
        .claims
        .to_string()
        .replace("\"sub\":", &format!("\"x\":{deep},\"sub\":"));
    vec![
        ("48 longer than 4 KiB", of_length(genuine, 4097)),
        ("48 deep JSON", genuine.with_texts(None, Some(&deep))),
        (
            "claims are no JSON",
            genuine.with_texts(None, Some("alice")),
        ),
        ("claims are no object", genuine.with_texts(None, Some("[]"))),
        ("claims are nothing", genuine.with_texts(None, Some(""))),
        ("four parts", format!("{token}.{signature}")),
        ("five parts", format!("{message}.{message}.{signature}")),
        ("an empty first part", format!(".{token}")),
        ("only dots", "..".to_owned()),
        ("one part", encode(b"alice")),
    ]
}

/// A token that holds, of at least so many bytes and few more.
fn of_length(genuine: &Forge, length: usize) -> String {
    (0..length)
        .map(|padding| genuine.clone().claim("jti", "x".repeat(padding)).token())
        .find(|token| token.len() >= length)
        .unwrap()
}

#[tokio::test]
async fn sec_01_the_longest_token_that_is_allowed_is_read() {
    let world = World::new();
    for door in [Door::Http, Door::Grpc] {
        let token = of_length(&world.genuine(door), 4094);
        assert!(token.len() <= 4096, "{}", token.len());
        assert_eq!(
            world.show(door, &token).await,
            Outcome::In("alice".into()),
            "{door:?}"
        );
    }
}
