//! JSON arrays as PostgreSQL array literals, the text that `array_in` (`utils/adt/arrayfuncs.c`)
//! takes for any element type.

use super::json::JsonDecoder;
use super::json::scan::{self, Escapes};
use gpss_model::block::Decoded;

/// A JSON array, nested or not, as an array literal: `["a b", null, [1]]` gives
/// `{"a b",NULL,{1}}`. Strings are de-escaped, objects become their JSON text. Whether nested
/// arrays have equal lengths is left for `array_in` to check.
///
/// None when the text is not a JSON array, or holds an escape that has no text (`\u0000`, an
/// unpaired surrogate).
pub fn array_literal(json: &str) -> Option<String> {
    let bytes = json.as_bytes();
    if !matches!(JsonDecoder::new(&[]).decode(bytes).decoded, Decoded::Plain) {
        return None;
    }
    let mut at = scan::skip_whitespace(bytes, 0);
    if bytes.get(at) != Some(&b'[') {
        return None;
    }
    let mut literal = Vec::with_capacity(bytes.len());
    let mut text = Vec::new();
    // The text is valid JSON: token by token is enough.
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'[' => literal.push(b'{'),
            b']' => literal.push(b'}'),
            b',' => literal.push(b','),
            b'"' => {
                let string = scan::string(bytes, at).ok()?;
                if string.escapes == Escapes::Refused {
                    return None;
                }
                text.clear();
                scan::unescape(bytes, string, &mut text);
                push_element(&text, &mut literal);
                at = string.end;
            }
            b'{' => {
                let end = object_end(bytes, at)?;
                push_quoted(bytes.get(at..end)?, &mut literal);
                at = end - 1;
            }
            b'n' => {
                literal.extend_from_slice(b"NULL");
                at += "null".len() - 1;
            }
            b' ' | b'\t' | b'\n' | b'\r' => {}
            // Numbers, true and false: none of their characters means anything in a literal.
            other => literal.push(other),
        }
        at += 1;
    }
    String::from_utf8(literal).ok()
}

/// The end of the object that begins at `at` in valid JSON.
fn object_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        match bytes.get(at)? {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b'"' => at = scan::string(bytes, at).ok()?.end,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

/// Appends a string element, quoted where `array_out` quotes; also for `;`, which separates the
/// elements of `box[]`.
fn push_element(text: &[u8], literal: &mut Vec<u8>) {
    let special = |b: &u8| matches!(b, b'"' | b'\\' | b'{' | b'}' | b',' | b';' | b' ' | 9..=13);
    if text.is_empty() || text.eq_ignore_ascii_case(b"NULL") || text.iter().any(special) {
        push_quoted(text, literal);
    } else {
        literal.extend_from_slice(text);
    }
}

fn push_quoted(text: &[u8], literal: &mut Vec<u8>) {
    literal.push(b'"');
    for &byte in text {
        if let b'"' | b'\\' = byte {
            literal.push(b'\\');
        }
        literal.push(byte);
    }
    literal.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::array_literal;

    #[test]
    fn elements_are_quoted_where_array_in_needs_it() {
        for (json, want) in [
            ("[]", "{}"),
            (" [ 1 , -2.5e3,true, false ,null ] ", "{1,-2.5e3,true,false,NULL}"),
            (
                r#"["a","","null","NULL","nullx","a b","a,b","a;b","{","}"]"#,
                r#"{a,"","null","NULL",nullx,"a b","a,b","a;b","{","}"}"#,
            ),
            (
                r#"["\"","\\","\n","\u000b","\u0001","\u00e9\ud83d\ude00"]"#,
                "{\"\\\"\",\"\\\\\",\"\n\",\"\x0b\",\x01,é😀}",
            ),
            (r#"[{"a": "x\"}{", "b":[{}]},{}]"#, r#"{"{\"a\": \"x\\\"}{\", \"b\":[{}]}","{}"}"#),
            (r#"[["a",null],[ "b" ,1]]"#, "{{a,NULL},{b,1}}"),
            ("[[],[[]]]", "{{},{{}}}"),
        ] {
            assert_eq!(array_literal(json).as_deref(), Some(want), "{json}");
        }
    }

    #[test]
    fn what_is_no_array_gives_none() {
        for json in ["", " ", "1", "{}", "null", "\"[]\"", "[", "[1,]", "[]]", "[] 1", "[1 2]"] {
            assert_eq!(array_literal(json), None, "{json}");
        }
        assert_eq!(array_literal(r#"["\u0000"]"#), None);
        assert_eq!(array_literal(r#"["\ud800"]"#), None);
        // Inside an object the escape stays as it is written.
        assert_eq!(array_literal(r#"[{"a":"\u0000"}]"#).unwrap(), r#"{"{\"a\":\"\\u0000\"}"}"#);
    }
}
