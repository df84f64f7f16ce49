//! The masking of client frames, RFC 6455 section 5.3.

/// Masks or unmasks `payload` in place; the two are the same operation.
///
/// `mask` must start at the first byte of `payload`: a caller that works through a frame in pieces turns it with
/// [`turned`] between them.
pub fn apply(payload: &mut [u8], mask: [u8; 4]) {
    if mask == [0; 4] {
        return;
    }
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    let (half, rest) = rest.as_chunks_mut::<4>();
    for chunk in half {
        *chunk = (u32::from_ne_bytes(*chunk) ^ u32::from_ne_bytes(mask)).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip([a, b, c]) {
        *byte ^= key;
    }
}

/// The mask for what follows after `consumed` bytes of the payload.
pub fn turned(mut mask: [u8; 4], consumed: usize) -> [u8; 4] {
    mask.rotate_left(consumed % 4);
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_definition_at_every_length_and_offset() {
        let mask = [0x12, 0x00, 0xfe, 0x77];
        for len in 0..40 {
            let plain: Vec<u8> = (0..len).map(|i| (i * 31) as u8).collect();
            let expected: Vec<u8> = plain
                .iter()
                .zip(mask.iter().cycle())
                .map(|(p, m)| p ^ m)
                .collect();
            for cut in 0..=plain.len() {
                let mut bytes = plain.clone();
                let (head, tail) = bytes.split_at_mut(cut);
                apply(head, mask);
                apply(tail, turned(mask, cut));
                assert_eq!(bytes, expected, "length {len}, cut {cut}");
            }
        }
    }

    #[test]
    fn a_zero_mask_changes_nothing() {
        let mut bytes = *b"as it was";
        apply(&mut bytes, [0; 4]);
        assert_eq!(&bytes, b"as it was");
    }
}
