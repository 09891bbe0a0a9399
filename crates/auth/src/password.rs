//! Passwords: Argon2id, two at a time.

use std::{sync::Arc, time::Duration};

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version,
    password_hash::{self, phc::PasswordHash},
};
use secrecy::{ExposeSecret, SecretString};
use sutazai_proto::{Coded, Details, ErrorCode};
use tokio::{sync::Semaphore, task};

/// Memory in KiB; with one pass, one of the settings that OWASP names as equal.
const MEMORY: u32 = 46 * 1024;
const PASSES: u32 = 1;
const LANES: u32 = 1;
/// How many are hashed at once: more would take the processor from every other request.
const AT_ONCE: usize = 2;
/// How many may wait for their turn; the next one is refused.
const WAITING: usize = 64;
/// Shortest and longest password, in characters and bytes.
const SHORTEST: usize = 8;
const LONGEST: usize = 256;
/// What everybody tries first. Compared without regard to case.
const BLOCKED: [&str; 12] = [
    "administrator",
    "changeme",
    "change-me",
    "password",
    "password1",
    "passw0rd",
    "12345678",
    "123456789",
    "1234567890",
    "qwertyuiop",
    "letmein1",
    "sutazai1",
];
/// A hash that no known password has, with the cost of a real one: what an unknown name is
/// checked against.
const NOBODY: &str = "$argon2id$v=19$m=47104,t=1,p=1$bm9ib2R5IGtub3dzIGl0$\
                      MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY";

/// Hashes and checks passwords without starving the rest of the process.
#[derive(Clone, Debug)]
pub struct Hasher {
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

/// Whether a password is the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is not, or there is nothing to compare it with.
    Wrong,
    /// It is.
    Right,
    /// It is, and its hash was made with other settings than today's.
    Outdated,
}

/// A password that can not be checked or hashed.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too short or too long.
    #[error("a password has from {SHORTEST} characters to {LONGEST} bytes")]
    Length,
    /// One of the first that anybody would try.
    #[error("this password is on every list of guesses")]
    Guessable,
    /// Too many are waiting.
    #[error("too many logins at once")]
    Busy,
    /// The stored hash can not be read, or hashing failed.
    #[error("password hashing failed")]
    Hash(#[source] password_hash::Error),
    /// The process is stopping.
    #[error("password hashing was interrupted")]
    Interrupted(#[source] task::JoinError),
}

impl Default for Hasher {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            places: Arc::new(Semaphore::new(AT_ONCE + WAITING)),
        }
    }
}

impl Hasher {
    /// Hashes a password for storage, as a PHC string.
    ///
    /// # Errors
    /// [`PasswordError`] when the password breaks a rule or there is no place in the queue.
    pub async fn hash(&self, password: &SecretString) -> Result<String, PasswordError> {
        check(password.expose_secret())?;
        let password = password.clone();
        self.take_turn(move || hash(password.expose_secret())).await
    }

    /// Compares a password with a stored hash. Without one the work is the same, and the verdict
    /// is [`Verdict::Wrong`].
    ///
    /// # Errors
    /// [`PasswordError`] when the stored hash can not be read or there is no place in the queue.
    pub async fn verify(
        &self,
        password: &SecretString,
        stored: Option<String>,
    ) -> Result<Verdict, PasswordError> {
        let password = password.clone();
        self.take_turn(move || verify(password.expose_secret(), stored.as_deref()))
            .await
    }

    async fn take_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let place = self.places.clone().try_acquire_owned();
        let place = place.map_err(|_| PasswordError::Busy)?;
        let turn = self.turns.clone().acquire_owned().await;
        let turn = turn.map_err(|_| PasswordError::Busy)?;
        // Both go with the work: a caller that gives up does not make room for another.
        task::spawn_blocking(move || {
            let result = work();
            drop((turn, place));
            result
        })
        .await
        .map_err(PasswordError::Interrupted)?
    }
}

/// Checks a password against the rules for storing one.
///
/// # Errors
/// [`PasswordError::Length`] or [`PasswordError::Guessable`].
pub fn check(password: &str) -> Result<(), PasswordError> {
    if password.chars().count() < SHORTEST || password.len() > LONGEST {
        return Err(PasswordError::Length);
    }
    if BLOCKED
        .iter()
        .any(|known| known.eq_ignore_ascii_case(password))
    {
        return Err(PasswordError::Guessable);
    }
    Ok(())
}

fn hash(password: &str) -> Result<String, PasswordError> {
    let hash = argon2()?.hash_password(password.as_bytes());
    hash.map(|hash: PasswordHash| hash.to_string())
        .map_err(PasswordError::Hash)
}

fn verify(password: &str, stored: Option<&str>) -> Result<Verdict, PasswordError> {
    let parsed = PasswordHash::new(stored.unwrap_or(NOBODY))
        .map_err(|error| PasswordError::Hash(error.into()))?;
    let settings = Params::try_from(&parsed).map_err(PasswordError::Hash)?;
    match argon2()?.verify_password(password.as_bytes(), &parsed) {
        Ok(()) if stored.is_none() => Ok(Verdict::Wrong),
        Ok(()) if is_todays(&settings) => Ok(Verdict::Right),
        Ok(()) => Ok(Verdict::Outdated),
        Err(password_hash::Error::PasswordInvalid) => Ok(Verdict::Wrong),
        Err(error) => Err(PasswordError::Hash(error)),
    }
}

fn is_todays(settings: &Params) -> bool {
    (settings.m_cost(), settings.t_cost(), settings.p_cost()) == (MEMORY, PASSES, LANES)
}

fn argon2() -> Result<Argon2<'static>, PasswordError> {
    let params = Params::new(MEMORY, PASSES, LANES, None)
        .map_err(|error| PasswordError::Hash(error.into()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

impl Coded for PasswordError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Length | Self::Guessable => ErrorCode::InvalidArgument,
            Self::Busy => ErrorCode::Exhausted,
            Self::Hash(_) => ErrorCode::Internal,
            Self::Interrupted(_) => ErrorCode::Unavailable,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Length | Self::Guessable => "validation_failed",
            Self::Busy => "login_busy",
            Self::Hash(_) => "internal",
            Self::Interrupted(_) => "stopping",
        }
    }

    fn details(&self) -> Details {
        match self {
            Self::Busy => Details {
                retry_after: Some(Duration::from_secs(1)),
                ..Details::default()
            },
            _ => Details::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: &str = "correct horse battery staple";

    #[tokio::test]
    async fn sec_16_the_right_password_and_no_other() {
        let hasher = Hasher::default();
        let stored = hasher.hash(&RIGHT.into()).await.unwrap();
        assert!(
            stored.starts_with("$argon2id$v=19$m=47104,t=1,p=1$"),
            "{stored}"
        );
        for (password, expected) in [
            (RIGHT, Verdict::Right),
            ("correct horse battery stapl", Verdict::Wrong),
            ("", Verdict::Wrong),
        ] {
            let verdict = hasher.verify(&password.into(), Some(stored.clone())).await;
            assert_eq!(verdict.unwrap(), expected, "{password}");
        }
    }

    #[tokio::test]
    async fn two_hashes_of_one_password_differ() {
        let hasher = Hasher::default();
        let first = hasher.hash(&RIGHT.into()).await.unwrap();
        assert_ne!(first, hasher.hash(&RIGHT.into()).await.unwrap());
    }

    #[test]
    fn an_unknown_name_costs_what_a_known_one_costs() {
        let nobody = PasswordHash::new(NOBODY).unwrap();
        let todays = PasswordHash::new(&hash(RIGHT).unwrap()).unwrap();
        assert_eq!(Params::try_from(&nobody), Params::try_from(&todays));
        assert_eq!(nobody.algorithm, todays.algorithm);
        assert_eq!(nobody.version, todays.version);
        assert_eq!(verify(RIGHT, None).unwrap(), Verdict::Wrong);
    }

    #[test]
    fn a_hash_with_other_settings_is_right_and_outdated() {
        let weaker = Argon2::new(
            Algorithm::Argon2id,
            Version::V0x13,
            Params::new(19 * 1024, 2, 1, None).unwrap(),
        );
        let stored: PasswordHash = weaker.hash_password(RIGHT.as_bytes()).unwrap();
        let verdict = verify(RIGHT, Some(&stored.to_string()));
        assert_eq!(verdict.unwrap(), Verdict::Outdated);
    }

    #[tokio::test]
    async fn weak_passwords_are_not_stored() {
        let long = "x".repeat(LONGEST + 1);
        for weak in ["short", "", "ChangeMe", "PASSWORD", &long] {
            assert!(
                Hasher::default().hash(&weak.into()).await.is_err(),
                "{weak}"
            );
        }
        assert!(
            check("Übergröß").is_ok(),
            "eight characters, whatever their bytes"
        );
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_never_more_than_two_work() {
        let hasher = Hasher::default();
        let held = hasher.turns.clone().acquire_many_owned(2).await.unwrap();
        let waiting: Vec<_> = (0..AT_ONCE + WAITING)
            .map(|_| {
                let hasher = hasher.clone();
                tokio::spawn(async move { hasher.take_turn(|| Ok(())).await })
            })
            .collect();
        while hasher.places.available_permits() > 0 {
            task::yield_now().await;
        }
        let refused = hasher.take_turn(|| Ok(())).await;
        assert!(matches!(refused, Err(PasswordError::Busy)));
        assert!(waiting.iter().all(|job| !job.is_finished()));
        drop(held);
        for job in waiting {
            job.await.unwrap().unwrap();
        }
    }
}
