//! Tokens that we make hold, to the second.

use chrono::{DateTime, TimeDelta, Utc};
use proptest::{collection::btree_set, option, prelude::*, sample::select};
use sutazai_auth::{
    AuthError, Permission, Principal, Refusal, Role,
    keys::Issuer,
    token::{self, Audience, SERVICE_LIFE, SKEW, USER_LIFE, Verifier},
};
use sutazai_mesh::catalog::ServiceName;

use crate::door::{CALLEE, World};

const FROM: ServiceName = ServiceName::Backend;

fn principals() -> impl Strategy<Value = Principal> {
    (
        "[!-~]{1,128}",
        "[!-~]{1,128}",
        btree_set(select(Role::ALL.to_vec()), 0..=3),
        option::of(btree_set(select(Permission::ALL.to_vec()), 0..=10)),
    )
        .prop_map(|(subject, tenant, roles, scopes)| Principal {
            subject,
            tenant,
            roles: roles.into_iter().collect(),
            scopes,
        })
}

proptest! {
    #[test]
    fn sec_14_every_issued_token_verifies_for_its_whole_life(
        principal in principals(),
        age in 0..300_i64,
        slow in -29..30_i64,
    ) {
        let world = World::new();
        let verifier = Verifier::new(world.keys.clone());
        let now = Utc::now();

        let issued = token::issue_user(&world.platform, &principal, now).unwrap();
        let then = now + TimeDelta::seconds(age + slow);
        let verified = verifier.verify_at(&issued.token, Audience::Doors, then).unwrap();
        prop_assert_eq!(verified.principal.as_ref(), Some(&principal));
        prop_assert_eq!(verified.issuer, Issuer::Platform);

        let then = now + TimeDelta::seconds(age % 60 + slow);
        for on_behalf in [Some(&principal), None] {
            let issued =
                token::issue_service(&world.backend, FROM, CALLEE, on_behalf, now).unwrap();
            let audience = Audience::Service(CALLEE);
            let verified = verifier.verify_at(&issued.token, audience, then).unwrap();
            prop_assert_eq!(verified.principal.as_ref(), on_behalf);
            prop_assert_eq!(verified.issuer, Issuer::Service(FROM));
        }
    }
}

#[test]
fn sec_01_the_clocks_may_differ_by_thirty_seconds_and_no_more() {
    let world = World::new();
    let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let principal = alice();
    let user = token::issue_user(&world.platform, &principal, now).unwrap();
    let service =
        token::issue_service(&world.backend, FROM, CALLEE, Some(&principal), now).unwrap();
    for (issued, audience, life) in [
        (user, Audience::Doors, USER_LIFE),
        (service, Audience::Service(CALLEE), SERVICE_LIFE),
    ] {
        assert_eq!(issued.expires_at, now + life);
        let second = TimeDelta::seconds(1);
        for (then, expected) in [
            (now - SKEW - second, Some("NotYet")),
            (now - SKEW, None),
            (now + life, None),
            (now + life + SKEW - second, None),
            (now + life + SKEW, Some("Expired")),
            (now + life + SKEW + second, Some("Expired")),
        ] {
            // Asked twice: the second answer comes from memory and must be the same.
            let verifier = Verifier::new(world.keys.clone());
            for _ in 0..2 {
                let outcome = verifier.verify_at(&issued.token, audience, then);
                let outcome = outcome.err().map(|error| match error {
                    AuthError::Expired => "Expired",
                    AuthError::Invalid(Refusal::NotYet) => "NotYet",
                    other => panic!("{other:?}"),
                });
                assert_eq!(outcome, expected, "{audience:?} {then}");
            }
        }
    }
}

#[test]
fn a_remembered_token_is_judged_again_in_all_but_its_signature() {
    let world = World::new();
    let verifier = Verifier::new(world.keys.clone());
    let now = Utc::now();
    let issued = token::issue_service(&world.backend, FROM, CALLEE, None, now).unwrap();
    let at = |audience, seconds| {
        verifier.verify_at(&issued.token, audience, now + TimeDelta::seconds(seconds))
    };
    at(Audience::Service(CALLEE), 0).unwrap();
    at(Audience::Service(CALLEE), 59).unwrap();
    let other = at(Audience::Service(ServiceName::OllamaProxy), 0);
    assert!(matches!(other, Err(AuthError::Invalid(Refusal::Audience))));
    assert!(matches!(
        at(Audience::Doors, 0),
        Err(AuthError::Invalid(Refusal::Type))
    ));
    assert!(matches!(
        at(Audience::Service(CALLEE), 91),
        Err(AuthError::Expired)
    ));
}

/// A user.
pub(crate) fn alice() -> Principal {
    Principal {
        subject: "alice".into(),
        tenant: "default".into(),
        roles: vec![Role::User],
        scopes: None,
    }
}
