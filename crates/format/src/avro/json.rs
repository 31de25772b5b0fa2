//! JSON text of strings, bytes and numbers with fractions.

use std::io::Write;

/// What stands for a byte in a JSON string: 0 for itself, `u` for `\u00..`, else the letter behind
/// the backslash.
static ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = b'u';
        byte += 1;
    }
    table[0x08] = b'b';
    table[0x09] = b't';
    table[0x0a] = b'n';
    table[0x0c] = b'f';
    table[0x0d] = b'r';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table
};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// A text as a JSON string.
pub(super) fn text_of(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    push_text(&mut out, text.as_bytes());
    out
}

/// Appends UTF-8 text as a JSON string.
pub(super) fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let mut rest = text;
    while let Some(plain) = rest.iter().position(|&byte| escape(byte) != 0) {
        let (before, after) = rest.split_at(plain);
        out.extend_from_slice(before);
        let Some((&byte, after)) = after.split_first() else { break };
        push_escaped(out, byte);
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Appends bytes as Avro's JSON encoding has them: each as the character of the same number.
pub(super) fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for &byte in bytes {
        match byte {
            0x80.. => out.extend_from_slice(&[0xc0 | byte >> 6, 0x80 | byte & 0x3f]),
            _ if escape(byte) == 0 => out.push(byte),
            _ => push_escaped(out, byte),
        }
    }
    out.push(b'"');
}

/// Appends two hexadecimal digits.
pub(super) fn push_hex(out: &mut Vec<u8>, byte: u8) {
    for nibble in [byte >> 4, byte & 15] {
        out.push(HEX.get(usize::from(nibble)).copied().unwrap_or(b'0'));
    }
}

/// Appends the shortest text that reads back as the same number; JSON has no number for NaN and
/// infinity, which are strings as PostgreSQL reads them.
pub(super) fn push_float(out: &mut Vec<u8>, finite: bool, value: impl std::fmt::Debug) {
    // Writing to a Vec cannot fail.
    let _ = if finite { write!(out, "{value:?}") } else { push_not_finite(out, &value) };
}

fn push_not_finite(out: &mut Vec<u8>, value: &impl std::fmt::Debug) -> std::io::Result<()> {
    let name = match format!("{value:?}").as_str() {
        "inf" => "Infinity",
        "-inf" => "-Infinity",
        _ => "NaN",
    };
    write!(out, "\"{name}\"")
}

#[inline]
fn escape(byte: u8) -> u8 {
    ESCAPES.get(usize::from(byte)).copied().unwrap_or(0)
}

#[inline(never)]
fn push_escaped(out: &mut Vec<u8>, byte: u8) {
    match escape(byte) {
        b'u' => {
            out.extend_from_slice(b"\\u00");
            push_hex(out, byte);
        }
        letter => out.extend_from_slice(&[b'\\', letter]),
    }
}
