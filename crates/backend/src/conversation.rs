//! Conversations: whose they are, what a turn is, and how they are named.

use chrono::{DateTime, Utc};
use sutazai_auth::principal::Principal;
use sutazai_proto::ids::ConversationId;

/// Characters of the first message that become the title.
const TITLE_CHARS: usize = 80;

/// Earlier turns that a model is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ContextLimits {
    /// Largest number of turns.
    pub(crate) turns: u16,
    /// Largest sum of question and answer lengths, in bytes.
    pub(crate) bytes: u32,
}

impl Default for ContextLimits {
    fn default() -> Self {
        Self {
            turns: 20,
            bytes: 64 * 1024,
        }
    }
}

/// Whose conversations a query may touch; no query runs without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) tenant: String,
    pub(crate) subject: String,
}

impl From<&Principal> for Owner {
    fn from(principal: &Principal) -> Self {
        Self {
            tenant: principal.tenant.clone(),
            subject: principal.subject.clone(),
        }
    }
}

/// A conversation without its turns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conversation {
    pub(crate) id: ConversationId,
    pub(crate) title: String,
    pub(crate) turns: i64,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// A question with its whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Contiguous from 1 within its conversation.
    pub(crate) number: i64,
    pub(crate) exchange: Exchange,
    pub(crate) answered_at: DateTime<Utc>,
}

/// What a turn says, before it has a place in a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exchange {
    pub(crate) question: String,
    pub(crate) answer: String,
    pub(crate) model: String,
    /// `stop` or `length`, as the model reported it.
    pub(crate) finish_reason: String,
    pub(crate) prompt_tokens: u32,
    pub(crate) completion_tokens: u32,
    pub(crate) asked_at: DateTime<Utc>,
}

/// One earlier turn as the model is shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContextTurn {
    pub(crate) question: String,
    pub(crate) answer: String,
}

/// Where a finished turn goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The turn begins a conversation with this id.
    Beginning(ConversationId),
    /// The turn continues an existing conversation.
    Continuing(ConversationId),
}

impl Place {
    /// Returns the conversation's id.
    pub(crate) fn id(self) -> ConversationId {
        match self {
            Self::Beginning(id) | Self::Continuing(id) => id,
        }
    }
}

/// Names a conversation after its first message: one line, cut at a word.
pub(crate) fn title(first_message: &str) -> String {
    let line = first_message
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let Some((cut, _)) = line.char_indices().nth(TITLE_CHARS) else {
        return line;
    };
    let head = &line[..cut];
    // A word longer than half the title is cut in its middle rather than left out.
    let end = head
        .rfind(' ')
        .filter(|&space| space > cut / 2)
        .unwrap_or(cut);
    format!("{}…", &head[..end])
}

/// Replaces the one character that Postgres cannot store in a text.
pub(crate) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_short_message_is_its_own_title() {
        assert_eq!(title("  hello\n world "), "hello world");
    }

    #[test]
    fn a_long_message_is_cut_at_a_word() {
        let title = title(&"lorem ipsum ".repeat(20));
        assert!(
            title.ends_with("lorem…") || title.ends_with("ipsum…"),
            "{title}"
        );
    }

    proptest! {
        #[test]
        fn a_title_is_one_bounded_line(message in ".{0,400}") {
            let title = title(&message);
            prop_assert!(title.chars().count() <= TITLE_CHARS + 1);
            prop_assert!(!title.contains('\n'));
        }
    }
}
