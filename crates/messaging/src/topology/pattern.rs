//! Routing patterns of topic exchanges (AMQP 0-9-1, 3.1.3.3).

/// Tells whether a routing key fits a pattern: `*` is one word, `#` any number of them.
pub(super) fn matches(pattern: &str, key: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('.').collect();
    let key: Vec<&str> = key.split('.').collect();
    fits(&pattern, &key)
}

fn fits(pattern: &[&str], key: &[&str]) -> bool {
    match (pattern, key) {
        ([], []) => true,
        (["#", rest @ ..], _) => {
            // The number of words of a key is small: trying each is cheaper than being clever.
            (0..=key.len()).any(|skipped| fits(rest, &key[skipped..]))
        }
        ([word, rest @ ..], [head, tail @ ..]) => {
            (*word == "*" || word == head) && fits(rest, tail)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_stars_and_hashes() {
        let fit = [
            ("task.finished.v1", "task.finished.v1"),
            ("task.*.v1", "task.finished.v1"),
            ("#", "task.finished.v1"),
            ("#", ""),
            ("task.#", "task"),
            ("task.#.v1", "task.v1"),
            ("#.v1", "task.finished.v1"),
        ];
        for (pattern, key) in fit {
            assert!(matches(pattern, key), "{pattern} {key}");
        }
        let misfit = [
            ("task.finished", "task.finished.v1"),
            ("task.*", "task"),
            ("*", "task.finished"),
            ("task.#.v2", "task.finished.v1"),
            ("task.finished.v1", "task.finished"),
        ];
        for (pattern, key) in misfit {
            assert!(!matches(pattern, key), "{pattern} {key}");
        }
    }

    proptest! {
        #[test]
        fn a_key_fits_itself_and_whatever_is_replaced_by_a_star(
            words in prop::collection::vec("[a-z]{1,3}", 1..6),
            at in 0_usize..6,
        ) {
            let key = words.join(".");
            let mut pattern = words.clone();
            let at = at % words.len();
            pattern[at] = "*".to_owned();
            prop_assert!(matches(&key, &key));
            prop_assert!(matches(&pattern.join("."), &key));
            let (longer, open) = (format!("{key}.*"), format!("{key}.#"));
            prop_assert!(!matches(&longer, &key));
            prop_assert!(matches(&open, &key));
        }
    }
}
