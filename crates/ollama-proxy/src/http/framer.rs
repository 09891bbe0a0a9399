//! Passes an answer on in whole lines, so that one that breaks off can still end with an error
//! that a parser understands.

use bytes::{Bytes, BytesMut};
use sutazai_proto::Coded;

use super::dialect::{Dialect, Framing};
use crate::ollama::MAX_LINE;

/// Bytes in, whole lines out, as soon as they are whole.
#[derive(Debug)]
pub(super) struct Framer {
    framing: Framing,
    /// The beginning of a line.
    held: BytesMut,
    /// Whether part of a line was passed on because it is too long to hold.
    inside_line: bool,
}

impl Framer {
    pub(super) fn new(framing: Framing) -> Self {
        Self {
            framing,
            held: BytesMut::new(),
            inside_line: false,
        }
    }

    /// Returns how the answer is divided.
    pub(super) fn framing(&self) -> Framing {
        self.framing
    }

    /// Takes what arrived and returns what can be passed on.
    pub(super) fn push(&mut self, bytes: Bytes) -> Option<Bytes> {
        if self.framing == Framing::Whole {
            return Some(bytes);
        }
        let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else {
            self.held.extend_from_slice(&bytes);
            self.inside_line |= self.held.len() > MAX_LINE;
            return (self.held.len() > MAX_LINE).then(|| self.held.split().freeze());
        };
        self.inside_line = false;
        // A node writes whole lines, so this is the rule and copies nothing.
        if self.held.is_empty() && end + 1 == bytes.len() {
            return Some(bytes);
        }
        self.held.extend_from_slice(&bytes[..=end]);
        let whole = self.held.split().freeze();
        self.held.extend_from_slice(&bytes[end + 1..]);
        Some(whole)
    }

    /// Returns what is left at the regular end.
    pub(super) fn rest(&mut self) -> Option<Bytes> {
        (!self.held.is_empty()).then(|| self.held.split().freeze())
    }

    /// Returns the last piece of an answer that breaks off; what was held is incomplete and lost.
    pub(super) fn break_off(&mut self, dialect: Dialect, error: &impl Coded) -> Option<Bytes> {
        self.held.clear();
        let words = dialect.last_words(self.framing, error)?;
        let gap: &[u8] = match (self.framing, self.inside_line) {
            (Framing::Events, true) => b"\n\n",
            // Ends an event whose data line is there; otherwise an empty line means nothing.
            (Framing::Events, false) | (Framing::Lines, true) => b"\n",
            (Framing::Lines, false) | (Framing::Whole, _) => b"",
        };
        Some([gap, &words].concat().into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::{Error, Fault};

    fn error() -> Error {
        Error::Node {
            node: "gpu-1:11434".into(),
            fault: Fault::BrokenOff(None),
        }
    }

    /// Everything that a caller sees of `text`, cut into pieces, until the answer breaks off.
    fn seen(framing: Framing, text: &str, cuts: &[usize]) -> (String, String) {
        let mut framer = Framer::new(framing);
        let mut out = Vec::new();
        for pair in cuts.windows(2) {
            out.extend(framer.push(Bytes::copy_from_slice(&text.as_bytes()[pair[0]..pair[1]])));
        }
        let mut whole = out.clone();
        whole.extend(Framer::rest(&mut Framer {
            held: framer.held.clone(),
            ..Framer::new(framing)
        }));
        out.extend(framer.break_off(Dialect::Native, &error()));
        let text = |pieces: Vec<Bytes>| String::from_utf8(pieces.concat()).unwrap();
        (text(whole), text(out))
    }

    proptest! {
        #[test]
        fn llm_02_wherever_lines_break_off_every_line_that_was_sent_is_whole(
            end in 0_usize..36,
            cuts in prop::collection::vec(0_usize..36, 0..5),
        ) {
            let text = "{\"a\":\"one\"}\n{\"a\":\"two\"}\n{\"a\":\"drei\"}\n";
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(end)).collect();
            cuts.extend([0, end]);
            cuts.sort_unstable();
            let (whole, broken) = seen(Framing::Lines, text, &cuts);
            prop_assert_eq!(whole, &text[..end], "nothing is lost or changed");
            let lines: Vec<serde_json::Value> =
                broken.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let complete = text[..end].matches('\n').count();
            prop_assert_eq!(lines.len(), complete + 1);
            prop_assert!(lines[complete]["error"].is_string());
        }

        #[test]
        fn llm_02_wherever_events_break_off_every_event_that_was_sent_is_whole(end in 0_usize..36) {
            let text = "data: {\"a\":\"one\"}\n\ndata: {\"a\":\"two\"}\n\n";
            let (_, broken) = seen(Framing::Events, text, &[0, end]);
            let events: Vec<serde_json::Value> = broken
                .split("\n\n")
                .filter_map(|event| event.trim_start_matches('\n').strip_prefix("data: "))
                .map(|data| serde_json::from_str(data).unwrap())
                .collect();
            let complete = text[..end].matches("}\n").count();
            prop_assert_eq!(events.len(), complete + 1, "{}", broken);
            prop_assert!(events[complete]["error"].is_string());
        }
    }

    #[test]
    fn a_line_that_is_too_long_to_hold_is_passed_on_and_closed() {
        let mut framer = Framer::new(Framing::Lines);
        let piece = Bytes::from(vec![b'a'; MAX_LINE / 2 + 1]);
        assert_eq!(framer.push(piece.clone()), None);
        assert_eq!(framer.push(piece.clone()).unwrap().len(), 2 * piece.len());
        assert!(
            framer
                .break_off(Dialect::Native, &error())
                .unwrap()
                .starts_with(b"\n{")
        );
    }

    #[test]
    fn what_has_no_lines_is_passed_on_at_once() {
        let mut framer = Framer::new(Framing::Whole);
        assert_eq!(framer.push(Bytes::from_static(b"{\"a")).unwrap(), "{\"a");
        assert_eq!(framer.break_off(Dialect::OpenAi, &error()), None);
    }
}
