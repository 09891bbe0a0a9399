//! Values as the shared level holds them: large ones compressed.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};

/// Largest value that is unpacked: a broken entry must not fill the memory.
const LARGEST: u64 = 64 << 20;

/// A value on its way to the shared level.
pub(super) struct Packed {
    pub(super) value: Bytes,
    pub(super) is_packed: bool,
}

/// Compresses a value of at least `threshold` bytes, where that makes it smaller.
pub(super) fn pack(value: &Bytes, threshold: usize) -> Packed {
    let smaller = || {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(value).ok()?;
        let packed = encoder.finish().ok()?;
        (packed.len() < value.len()).then_some(packed)
    };
    match (value.len() >= threshold).then(smaller).flatten() {
        Some(packed) => Packed {
            value: packed.into(),
            is_packed: true,
        },
        None => Packed {
            value: value.clone(),
            is_packed: false,
        },
    }
}

/// Restores a value; none when it is broken.
pub(super) fn unpack(value: Bytes, is_packed: bool) -> Option<Bytes> {
    if !is_packed {
        return Some(value);
    }
    let mut unpacked = Vec::new();
    let mut decoder = DeflateDecoder::new(&*value).take(LARGEST + 1);
    decoder.read_to_end(&mut unpacked).ok()?;
    (unpacked.len() as u64 <= LARGEST).then(|| unpacked.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cch_08_large_values_are_packed_and_come_back_whole() {
        let text = Bytes::from("the same words again and again, ".repeat(1_000));
        let packed = pack(&text, 4_096);
        assert!(packed.is_packed && packed.value.len() * 10 < text.len());
        assert_eq!(unpack(packed.value, true), Some(text));
    }

    #[test]
    fn cch_08_small_values_and_those_that_do_not_shrink_stay() {
        let small = Bytes::from("a".repeat(4_095));
        assert!(!pack(&small, 4_096).is_packed);
        let noise: Vec<u8> = (0..10_000_u32)
            .map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3])
            .collect();
        let noise = Bytes::from(noise);
        let packed = pack(&noise, 4_096);
        assert_eq!(unpack(packed.value.clone(), packed.is_packed), Some(noise));
    }

    #[test]
    fn a_broken_value_is_none() {
        assert_eq!(unpack(Bytes::from_static(b"\xff\xff\xff"), true), None);
    }
}
