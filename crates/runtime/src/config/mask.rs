//! Hides credentials inside values that are not secrets themselves.

/// What stands in the place of something that is not shown.
const HIDDEN: &str = "***";

/// Replaces the user information of a URL (RFC 3986, 3.2.1).
///
/// It hides too much rather than too little: a password may hold `/`, `,` or `@` by mistake, so
/// everything between the first `://` and the last `@` goes.
pub(super) fn mask(text: &str) -> String {
    let user_info = text.find("://").and_then(|scheme| {
        let start = scheme + "://".len();
        text.rfind('@')
            .filter(|at| *at >= start)
            .map(|at| start..at)
    });
    let mut shown = text.to_owned();
    if let Some(range) = user_info {
        shown.replace_range(range, HIDDEN);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cfg_09_a_password_inside_a_url_is_hidden() {
        for (text, shown) in [
            ("http://10.0.0.1:11434", "http://10.0.0.1:11434"),
            ("amqp://u:canary@mq:5672/%2f", "amqp://***@mq:5672/%2f"),
            ("http://u:can/ary@h", "http://***@h"),
            ("http://u:canary@a,http://v:canary@b", "http://***@b"),
            ("someone@example.org", "someone@example.org"),
        ] {
            assert_eq!(mask(text), shown);
        }
    }
}
