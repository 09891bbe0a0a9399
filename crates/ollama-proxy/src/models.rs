//! Names of models: which one is meant, which ones are near.

/// Tag of a name that carries none.
const DEFAULT_TAG: &str = ":latest";

/// Most near names in an answer.
const NEAR_NAMES: usize = 3;

/// Finds the listed name that `asked` means: itself, or with the tag `latest` that is left out.
pub(crate) fn resolve<'a>(
    asked: &str,
    listed: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    listed.into_iter().find(|name| means(asked, name))
}

/// Tells whether `asked` means a listed name.
pub(crate) fn means(asked: &str, name: &str) -> bool {
    name == asked || name.strip_suffix(DEFAULT_TAG) == Some(asked)
}

/// Returns up to three listed names that the caller may have meant, the nearest first.
pub(crate) fn near<'a>(asked: &str, listed: impl IntoIterator<Item = &'a str>) -> Vec<String> {
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
