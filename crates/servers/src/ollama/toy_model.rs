//! A language model of random weights: a real engine runs it, nothing has to be fetched, and what it
//! says is noise. It is for dialects, streaming, cancellation and load. It never ends an answer by
//! itself, so that one without a limit lasts until somebody stops it.

mod gguf;
mod vocabulary;

use gguf::{FLOAT32, INT32, STRING, array, float, string, uint};
use vocabulary::{BEGIN, END, UNKNOWN, vocabulary};

/// Numbers that stand for one token.
const WIDTH: usize = 64;
/// Numbers in the inner layer of the feed-forward part.
const INNER: usize = 128;
const LAYERS: usize = 2;
const HEADS: usize = 4;
/// Tokens that the model can look back on. Ollama ends an answer after ten times as many.
const CONTEXT: usize = 4096;
/// Spread of the weights around 0; small enough for numbers to stay finite through the layers.
const SPREAD: f32 = 0.08;

/// Returns the file; the same bytes every time.
pub(super) fn gguf() -> Vec<u8> {
    let mut noise = Noise(0x5eed);
    let end = END * WIDTH..(END + 1) * WIDTH;
    gguf::file(&values(&vocabulary()), &tensors(), |tensor, place| {
        if tensor.ends_with("norm.weight") {
            1.0
        } else if tensor == "output.weight" && end.contains(&place) {
            // In the middle of all tokens, so never among the few that are drawn from.
            0.0
        } else {
            noise.next() * SPREAD
        }
    })
}

/// Names and shapes of the tensors, the fastest running extent first.
fn tensors() -> Vec<(String, Vec<usize>)> {
    let words = vocabulary().len();
    let mut tensors = vec![
        ("token_embd.weight".to_owned(), vec![WIDTH, words]),
        ("output_norm.weight".to_owned(), vec![WIDTH]),
        ("output.weight".to_owned(), vec![WIDTH, words]),
    ];
    for layer in 0..LAYERS {
        let parts = [
            ("attn_norm", vec![WIDTH]),
            ("attn_q", vec![WIDTH, WIDTH]),
            ("attn_k", vec![WIDTH, WIDTH]),
            ("attn_v", vec![WIDTH, WIDTH]),
            ("attn_output", vec![WIDTH, WIDTH]),
            ("ffn_norm", vec![WIDTH]),
            ("ffn_gate", vec![WIDTH, INNER]),
            ("ffn_up", vec![WIDTH, INNER]),
            ("ffn_down", vec![INNER, WIDTH]),
        ];
        let named = parts.map(|(part, shape)| (format!("blk.{layer}.{part}.weight"), shape));
        tensors.extend(named);
    }
    tensors
}

/// Keys with their encoded values.
fn values(vocabulary: &[(String, i32)]) -> Vec<(&'static str, Vec<u8>)> {
    let strings = vocabulary.iter().map(|(text, _)| gguf::text(text));
    let scores = vocabulary.iter().map(|_| 0_f32.to_le_bytes().to_vec());
    let kinds = vocabulary
        .iter()
        .map(|(_, kind)| kind.to_le_bytes().to_vec());
    vec![
        ("general.architecture", string("llama")),
        ("general.name", string("toy")),
        ("general.file_type", uint(0)),
        ("llama.context_length", uint(CONTEXT)),
        ("llama.embedding_length", uint(WIDTH)),
        ("llama.block_count", uint(LAYERS)),
        ("llama.feed_forward_length", uint(INNER)),
        ("llama.rope.dimension_count", uint(WIDTH / HEADS)),
        ("llama.attention.head_count", uint(HEADS)),
        ("llama.attention.head_count_kv", uint(HEADS)),
        ("llama.attention.layer_norm_rms_epsilon", float(1e-5)),
        ("llama.vocab_size", uint(vocabulary.len())),
        ("tokenizer.ggml.model", string("llama")),
        ("tokenizer.ggml.tokens", array(STRING, strings)),
        ("tokenizer.ggml.scores", array(FLOAT32, scores)),
        ("tokenizer.ggml.token_type", array(INT32, kinds)),
        ("tokenizer.ggml.unknown_token_id", uint(UNKNOWN)),
        ("tokenizer.ggml.bos_token_id", uint(BEGIN)),
        ("tokenizer.ggml.eos_token_id", uint(END)),
    ]
}

/// Numbers between -1 and 1 by xorshift (Marsaglia, 2003), always the same.
struct Noise(u64);

impl Noise {
    #[expect(clippy::cast_precision_loss, reason = "24 bits fit into an f32")]
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_small_and_always_the_same() {
        let file = gguf();
        assert_eq!(file[..8], *b"GGUF\x03\0\0\0");
        assert!(file.len() < 500_000, "{} bytes", file.len());
        assert_eq!(file, gguf());
    }

    #[test]
    fn the_data_ends_with_the_last_tensor() {
        let (tensors, file) = (tensors(), gguf());
        let data: usize = tensors
            .iter()
            .map(|(_, shape)| shape.iter().product::<usize>() * size_of::<f32>())
            .sum();
        // Every tensor's size is a multiple of the alignment, so nothing is between them.
        assert_eq!(data % 32, 0);
        assert_eq!((file.len() - data) % 32, 0);
    }
}
