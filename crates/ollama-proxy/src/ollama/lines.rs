//! Newline-delimited JSON, cut into lines as the bytes arrive.

use bytes::{Buf, Bytes, BytesMut};

/// Longest line that is read, in bytes: far above one token, far below a memory problem.
pub(crate) const MAX_LINE: usize = 1024 * 1024;

/// A line is longer than [`MAX_LINE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line of the answer is longer than {MAX_LINE} bytes")]
pub(crate) struct TooLong;

/// Bytes in, lines out; empty lines are skipped.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    buffer: BytesMut,
    /// Bytes of the buffer that were already searched.
    searched: usize,
}

impl Lines {
    /// Adds what arrived.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next complete line, without its end.
    ///
    /// # Errors
    ///
    /// [`TooLong`] when what is buffered can only be one too long line.
    pub(crate) fn next_line(&mut self) -> Result<Option<Bytes>, TooLong> {
        loop {
            let Some(end) = self.buffer[self.searched..]
                .iter()
                .position(|byte| *byte == b'\n')
            else {
                self.searched = self.buffer.len();
                return if self.searched > MAX_LINE {
                    Err(TooLong)
                } else {
                    Ok(None)
                };
            };
            let line = self.buffer.split_to(self.searched + end).freeze();
            self.buffer.advance(1);
            self.searched = 0;
            if line.len() > MAX_LINE {
                return Err(TooLong);
            }
            if !line.trim_ascii().is_empty() {
                return Ok(Some(line));
            }
        }
    }

    /// Returns what is left when the bytes have ended: a last line need not be closed.
    pub(crate) fn rest(&mut self) -> Option<Bytes> {
        self.searched = 0;
        let rest = self.buffer.split().freeze();
        (!rest.trim_ascii().is_empty()).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_the_bytes_are_cut(
            text in "[a\n\r ]{0,60}",
            cuts in prop::collection::vec(0_usize..60, 0..6),
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut lines = Lines::default();
            let mut seen = Vec::new();
            for pair in cuts.windows(2) {
                lines.push(&text.as_bytes()[pair[0]..pair[1]]);
                while let Some(line) = lines.next_line().unwrap() {
                    seen.push(line);
                }
            }
            seen.extend(lines.rest());
            let expected: Vec<_> = text.split('\n').filter(|l| !l.trim_ascii().is_empty()).collect();
            prop_assert_eq!(seen, expected);
        }
    }

    #[test]
    fn a_line_without_end_is_refused_before_it_fills_the_memory() {
        let mut lines = Lines::default();
        let piece = vec![b'a'; 64 * 1024];
        let mut pushed = 0;
        while lines.next_line() == Ok(None) {
            lines.push(&piece);
            pushed += piece.len();
        }
        assert_eq!(lines.next_line(), Err(TooLong));
        assert!(pushed <= MAX_LINE + piece.len());
    }
}
