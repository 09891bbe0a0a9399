//! Names of models: which one is meant, which ones are near.

use crate::error::Error;

/// What Ollama fills in where a name leaves it out.
const DEFAULT_HOST: &str = "registry.ollama.ai";
const DEFAULT_NAMESPACE: &str = "library";

/// Tag of a name that carries none.
const DEFAULT_TAG: &str = ":latest";

/// Longest name in bytes that is looked for: a foreign text may be of any size, and looking for near
/// names takes its length times theirs.
const NAME_LIMIT: usize = 512;

/// Most near names in an answer.
const NEAR_NAMES: usize = 3;

/// The ways in which a listed name can be the one that is meant, the surest first. A node takes the
/// name in any of them; who looks at several names tries one way on all before the next.
pub(crate) const WAYS: [Way; 3] = [is, is_in_full, is_in_any_case];

/// Tells whether the first name means the second, a listed one.
pub(crate) type Way = fn(&str, &str) -> bool;

/// Finds the listed name that `asked` means.
pub(crate) fn resolve<'a>(
    asked: &str,
    listed: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<&'a str> {
    let find = move |way: Way| listed.clone().into_iter().find(|name| way(asked, name));
    WAYS.into_iter().find_map(find)
}

/// Itself, or with the tag `latest` that is left out.
fn is(asked: &str, name: &str) -> bool {
    !asked.is_empty() && (name == asked || name.strip_suffix(DEFAULT_TAG) == Some(asked))
}

/// With everything that was left out, on either side.
fn is_in_full(asked: &str, name: &str) -> bool {
    parts(asked).is_some_and(|asked| parts(name) == Some(asked))
}

/// However it is spelled.
fn is_in_any_case(asked: &str, name: &str) -> bool {
    let (Some(asked), Some(name)) = (parts(asked), parts(name)) else {
        return false;
    };
    let mut pairs = asked.iter().zip(name);
    pairs.all(|(asked, name)| asked.eq_ignore_ascii_case(name))
}

/// Divides a name as Ollama does: host, namespace, model and tag; nothing when one of them is empty.
fn parts(name: &str) -> Option<[&str; 4]> {
    let (path, tag) = match name.rsplit_once(':') {
        // Before a slash it belongs to the host.
        Some((path, tag)) if !tag.contains('/') => (path, tag),
        _ => (name, &DEFAULT_TAG[1..]),
    };
    let (host, namespace, model) = match path.rsplit_once('/') {
        None => (DEFAULT_HOST, DEFAULT_NAMESPACE, path),
        Some((owner, model)) => match owner.rsplit_once('/') {
            None => (DEFAULT_HOST, owner, model),
            Some((host, namespace)) => (host, namespace, model),
        },
    };
    let host = host.split_once("://").map_or(host, |(_, host)| host);
    let parts = [host, namespace, model, tag];
    parts.iter().all(|part| !part.is_empty()).then_some(parts)
}

/// Refuses what is too long to be a name.
///
/// # Errors
///
/// [`Error::Invalid`].
pub(crate) fn check(asked: &str) -> Result<(), Error> {
    if asked.len() <= NAME_LIMIT {
        return Ok(());
    }
    Err(Error::Invalid {
        field: "/model".to_owned(),
        description: format!("a name of at most {NAME_LIMIT} bytes is expected"),
    })
}

/// Returns up to three listed names that the caller may have meant, the nearest first; none for what
/// is too long to be a name.
pub(crate) fn near<'a>(asked: &str, listed: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    if asked.len() > NAME_LIMIT {
        return Vec::new();
    }
    let asked = asked.to_lowercase();
    let base = base(&asked);
    let mut near: Vec<_> = listed
        .into_iter()
        .filter_map(|name| {
            let lower = name.to_lowercase();
            let whole = distance(&asked, lower.trim_end_matches(DEFAULT_TAG));
            let steps = whole.min(distance(base, self::base(&lower)));
            let shares =
                base.len() >= 3 && (lower.contains(base) || asked.contains(self::base(&lower)));
            (shares || steps <= 1 + base.len() / 4).then_some((steps, name))
        })
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter()
        .take(NEAR_NAMES)
        .map(|(_, name)| name.to_owned())
        .collect()
}

/// The name without its tag.
fn base(name: &str) -> &str {
    name.split_once(':').map_or(name, |(base, _)| base)
}

/// Levenshtein distance, one row at a time.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, from) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: [&str; 5] = [
        "tinyllama:latest",
        "mistral:7b",
        "llama3:8b",
        "hf.co/acme/tiny:q4",
        "tinyllama:chat",
    ];

    #[test]
    fn llm_15_a_name_without_tag_means_latest() {
        assert_eq!(resolve("tinyllama", LISTED), Some("tinyllama:latest"));
        assert_eq!(
            resolve("tinyllama:latest", LISTED),
            Some("tinyllama:latest")
        );
        assert_eq!(resolve("tinyllama:chat", LISTED), Some("tinyllama:chat"));
        assert_eq!(
            resolve("mistral", LISTED),
            None,
            "there is no mistral:latest"
        );
    }

    #[test]
    fn llm_15_a_name_is_understood_as_a_node_understands_it() {
        for (asked, meant) in [
            ("TinyLlama", Some("tinyllama:latest")),
            ("tinyllama:LATEST", Some("tinyllama:latest")),
            ("TINYLLAMA:Chat", Some("tinyllama:chat")),
            ("library/tinyllama", Some("tinyllama:latest")),
            ("Library/TinyLlama:Chat", Some("tinyllama:chat")),
            (
                "registry.ollama.ai/library/tinyllama",
                Some("tinyllama:latest"),
            ),
            (
                "registry.ollama.ai/library/tinyllama:latest",
                Some("tinyllama:latest"),
            ),
            (
                "https://Registry.Ollama.AI/library/llama3:8B",
                Some("llama3:8b"),
            ),
            ("HF.co/acme/Tiny:Q4", Some("hf.co/acme/tiny:q4")),
            ("", None),
            (":latest", None),
            ("tinyllama:", None),
            ("/tinyllama", None),
            ("library/", None),
            ("//tinyllama", None),
            ("acme/tinyllama", None),
            ("hf.co/library/tinyllama", None),
            ("acme/tiny:q4", None),
            ("hf.co/acme/tiny", None),
            ("tinyllama:latest:latest", None),
            ("tiny llama", None),
        ] {
            assert_eq!(resolve(asked, LISTED), meant, "{asked}");
        }
        assert_eq!(resolve("", ["", ":latest"]), None);
    }

    #[test]
    fn llm_15_the_surest_way_of_meaning_a_name_comes_first() {
        let listed = ["TinyLlama:latest", "library/tinyllama", "tinyllama:latest"];
        for (asked, meant) in [
            ("TinyLlama", "TinyLlama:latest"),
            ("library/tinyllama", "library/tinyllama"),
            ("tinyllama", "tinyllama:latest"),
            ("registry.ollama.ai/library/tinyllama", "library/tinyllama"),
            ("TINYLLAMA", "TinyLlama:latest"),
        ] {
            assert_eq!(resolve(asked, listed), Some(meant), "{asked}");
        }
    }

    #[test]
    fn llm_15_what_is_too_long_to_be_a_name_is_looked_for_nowhere() {
        let (longest, too_long) = ("x".repeat(NAME_LIMIT), "x".repeat(NAME_LIMIT + 1));
        assert!(check("").is_ok() && check(&longest).is_ok());
        assert!(matches!(
            check(&too_long),
            Err(Error::Invalid { field, .. }) if field == "/model"
        ));
        let listed = [longest.as_str(), too_long.as_str()];
        assert_eq!(near(&longest, listed).len(), 2);
        assert_eq!(near(&too_long, listed), [] as [&str; 0]);
    }

    #[test]
    fn llm_15_near_names_are_found_by_typing_errors_tags_and_parts() {
        assert_eq!(near("tinylama", LISTED)[0], "tinyllama:chat");
        assert_eq!(near("mistrall", LISTED), ["mistral:7b"]);
        assert_eq!(near("mistral:latest", LISTED), ["mistral:7b"]);
        assert_eq!(near("LLAMA3", LISTED)[0], "llama3:8b");
        assert_eq!(near("gpt-4o", LISTED), [] as [&str; 0]);
    }

    #[test]
    fn distances_are_symmetric_and_right() {
        for (left, right, steps) in [
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("same", "same", 0),
        ] {
            assert_eq!(
                (distance(left, right), distance(right, left)),
                (steps, steps)
            );
        }
    }
}
