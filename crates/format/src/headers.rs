//! Kafka message headers as one JSON array, the form of the source's headers column.

/// Appends `[{"key":"k","value":"v"},…]` to `out`: an array, because Kafka keeps the order of
/// headers and allows a key more than once. A header without value has `"value":null`.
///
/// What PostgreSQL cannot hold as text (not UTF-8, or with a NUL byte) is given in the form of its
/// type bytea instead, under the name `value_hex` or `key_hex`: `{"key":"k","value_hex":"\\x00ff"}`.
pub fn headers_json<'a>(
    headers: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    out: &mut Vec<u8>,
) {
    out.push(b'[');
    for (index, (key, value)) in headers.enumerate() {
        out.extend_from_slice(if index == 0 { b"{" } else { b",{" });
        push_member("key", key, out);
        out.push(b',');
        match value {
            Some(value) => push_member("value", value, out),
            None => out.extend_from_slice(b"\"value\":null"),
        }
        out.push(b'}');
    }
    out.push(b']');
}

/// Appends `"name":"text"`, or `"name_hex":"\\x…"` when the bytes are no text for PostgreSQL.
fn push_member(name: &str, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    if std::str::from_utf8(bytes).is_ok() && !bytes.contains(&0) {
        out.extend_from_slice(b"\":\"");
        for &byte in bytes {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                0..b' ' => {
                    out.extend_from_slice(b"\\u00");
                    out.extend_from_slice(&hex(byte));
                }
                _ => out.push(byte),
            }
        }
    } else {
        out.extend_from_slice(b"_hex\":\"\\\\x");
        for &byte in bytes {
            out.extend_from_slice(&hex(byte));
        }
    }
    out.push(b'"');
}

fn hex(byte: u8) -> [u8; 2] {
    let digit = |nibble: u8| {
        if nibble < 10 { b'0' + nibble } else { b'a' + (nibble - 10) }
    };
    [digit(byte >> 4), digit(byte & 15)]
}

#[cfg(test)]
mod tests {
    use super::headers_json;

    fn json(headers: &[(&str, Option<&[u8]>)]) -> String {
        let headers = headers.iter().map(|(key, value)| (key.as_bytes(), *value));
        let mut out = b"before".to_vec();
        headers_json(headers, &mut out);
        let json = String::from_utf8(out.split_off("before".len())).unwrap();
        serde_json::from_str::<serde_json::Value>(&json).unwrap();
        json
    }

    #[test]
    fn order_and_repeated_keys_are_kept() {
        assert_eq!(json(&[]), "[]");
        assert_eq!(
            json(&[("b", Some(b"1")), ("a", None), ("b", Some(b""))]),
            r#"[{"key":"b","value":"1"},{"key":"a","value":null},{"key":"b","value":""}]"#
        );
    }

    #[test]
    fn text_is_escaped_and_bytes_are_hexadecimal() {
        assert_eq!(
            json(&[("\"é\\", Some("\n\u{1f}\u{7f}😀".as_bytes()))]),
            "[{\"key\":\"\\\"é\\\\\",\"value\":\"\\u000a\\u001f\u{7f}😀\"}]"
        );
        assert_eq!(
            json(&[("k", Some(&[0xff, 0x0a])), ("n\0", Some(b"a\0"))]),
            r#"[{"key":"k","value_hex":"\\xff0a"},{"key_hex":"\\x6e00","value_hex":"\\x6100"}]"#
        );
    }
}
