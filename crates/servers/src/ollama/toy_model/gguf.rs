//! GGUF version 3, as ggml's `docs/gguf.md` describes it: a header, key-value pairs, descriptions of
//! the tensors, then the tensors' data, each aligned to 32 bytes.

/// Bytes that the data of every tensor is aligned to.
const ALIGNMENT: usize = 32;
/// Numbers of GGUF's value types.
const UINT32: u32 = 4;
pub(super) const INT32: u32 = 5;
pub(super) const FLOAT32: u32 = 6;
pub(super) const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// Returns the file of these values and tensors; `weight` makes a number, given
/// the tensor's name and the number's place in it.
pub(super) fn file(
    values: &[(&str, Vec<u8>)],
    tensors: &[(String, Vec<usize>)],
    mut weight: impl FnMut(&str, usize) -> f32,
) -> Vec<u8> {
    let mut file = b"GGUF".to_vec();
    file.extend(3_u32.to_le_bytes());
    put_length(&mut file, tensors.len());
    put_length(&mut file, values.len());
    for (key, value) in values {
        put_string(&mut file, key);
        file.extend(value);
    }
    let mut offset = 0;
    for (name, shape) in tensors {
        put_string(&mut file, name);
        file.extend(u32::try_from(shape.len()).unwrap_or(u32::MAX).to_le_bytes());
        for extent in shape {
            put_length(&mut file, *extent);
        }
        // Type 0 is 32-bit floating point.
        file.extend(0_u32.to_le_bytes());
        put_length(&mut file, offset);
        offset += padded(shape.iter().product::<usize>() * size_of::<f32>());
    }
    for (name, shape) in tensors {
        file.resize(padded(file.len()), 0);
        for place in 0..shape.iter().product() {
            file.extend(weight(name, place).to_le_bytes());
        }
    }
    file
}

/// Every number that this is used for is far below the limit.
pub(super) fn uint(value: usize) -> Vec<u8> {
    let value = u32::try_from(value).unwrap_or(u32::MAX);
    [UINT32.to_le_bytes(), value.to_le_bytes()].concat()
}

pub(super) fn float(value: f32) -> Vec<u8> {
    [FLOAT32.to_le_bytes(), value.to_le_bytes()].concat()
}

pub(super) fn string(value: &str) -> Vec<u8> {
    let mut bytes = STRING.to_le_bytes().to_vec();
    put_string(&mut bytes, value);
    bytes
}

pub(super) fn array(kind: u32, items: impl ExactSizeIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut bytes = [ARRAY.to_le_bytes(), kind.to_le_bytes()].concat();
    put_length(&mut bytes, items.len());
    items.for_each(|item| bytes.extend(item));
    bytes
}

pub(super) fn text(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_string(&mut bytes, text);
    bytes
}

fn put_string(bytes: &mut Vec<u8>, text: &str) {
    put_length(bytes, text.len());
    bytes.extend(text.as_bytes());
}

fn put_length(bytes: &mut Vec<u8>, length: usize) {
    bytes.extend((length as u64).to_le_bytes());
}

fn padded(length: usize) -> usize {
    length.next_multiple_of(ALIGNMENT)
}
