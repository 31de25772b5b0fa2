//! `uuid` in its usual form; `string_to_uuid` (`utils/adt/uuid.c`) knows others.

pub(super) fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    let text: &[u8; 36] = text.try_into().ok()?;
    if [text[8], text[13], text[18], text[23]] != [b'-'; 4] {
        return None;
    }
    let mut digits = [0; 32];
    digits[..8].copy_from_slice(&text[..8]);
    digits[8..12].copy_from_slice(&text[9..13]);
    digits[12..16].copy_from_slice(&text[14..18]);
    digits[16..20].copy_from_slice(&text[19..23]);
    digits[20..].copy_from_slice(&text[24..]);

    // Without branches, for the compiler to do many at once.
    let mut seen = 0;
    for byte in &mut digits {
        let digit = byte.wrapping_sub(b'0');
        let letter = (*byte | 0x20).wrapping_sub(b'a');
        let letter = if letter < 6 { letter + 10 } else { 0xff };
        *byte = if digit < 10 { digit } else { letter };
        seen |= *byte;
    }
    let mut uuid = [0; 16];
    for (byte, [high, low]) in uuid.iter_mut().zip(digits.as_chunks().0) {
        *byte = high << 4 | low;
    }
    (seen < 16).then_some(uuid)
}
