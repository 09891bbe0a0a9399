//! The tokens: the three that every model of this family has, all bytes, some words.

/// The token for what no other one stands for.
pub(super) const UNKNOWN: usize = 0;
/// The token that begins a text.
pub(super) const BEGIN: usize = 1;
/// The token that ends an answer.
pub(super) const END: usize = 2;
/// Whole words, so that some answers look like words; the bytes cover everything else.
const WORDS: [&str; 12] = [
    "▁hello", "▁the", "▁a", "▁sky", "▁is", "▁blue", "▁and", "▁of", "▁to", "▁in", "▁one", "▁two",
];

/// Kinds of tokens, as ggml numbers them.
const NORMAL: i32 = 1;
const KIND_UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const BYTE: i32 = 6;

/// Returns the tokens with their kinds.
pub(super) fn vocabulary() -> Vec<(String, i32)> {
    let special = [("<unk>", KIND_UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)];
    let special = special.map(|(text, kind)| (text.to_owned(), kind));
    let bytes = (0..=u8::MAX).map(|byte| (format!("<0x{byte:02X}>"), BYTE));
    let words = WORDS.map(|word| (word.to_owned(), NORMAL));
    special.into_iter().chain(bytes).chain(words).collect()
}
