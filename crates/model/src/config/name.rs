//! Names of tables and columns as a load configuration spells them.

/// The parts of a name, separated by dots; None when it is not well formed.
///
/// A part in double quotes is what stands between them, a doubled quote standing for one. A part
/// without quotes is taken as it is: GPSS quotes names for the user, it does not fold their case.
pub(super) fn parts(text: &str) -> Option<Vec<String>> {
    separated(text, '.')
}

/// Names of one part each, separated by commas.
pub(super) fn list(text: &str) -> Option<Vec<String>> {
    separated(text, ',')
}

fn separated(text: &str, separator: char) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let (part, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_part(quoted)?,
            None => {
                let (part, after) =
                    rest.split_at_checked(rest.find(separator).unwrap_or(rest.len()))?;
                (part.trim().to_owned(), after)
            }
        };
        let stray_sign = !rest.starts_with('"') && part.contains(['"', '.']);
        if part.is_empty() || stray_sign {
            return None;
        }
        parts.push(part);
        let after = after.trim_start();
        if after.is_empty() {
            return Some(parts);
        }
        rest = after.strip_prefix(separator)?.trim_start();
    }
}

/// A name of one part.
pub(super) fn single(text: &str) -> Option<String> {
    match <[String; 1]>::try_from(parts(text)?) {
        Ok([name]) => Some(name),
        Err(_) => None,
    }
}

/// A name as `single` reads it back: in quotes only if it needs them.
pub(super) fn written(name: &str) -> String {
    match single(name) {
        Some(read) if read == name => read,
        _ => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

/// The text up to the closing quote, and what follows it.
fn quoted_part(mut rest: &str) -> Option<(String, &str)> {
    let mut part = String::new();
    loop {
        let (before, after) = rest.split_once('"')?;
        part.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                part.push('"');
                rest = more;
            }
            None => return Some((part, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quotes_are_stripped_and_case_is_kept() {
        assert_eq!(parts("Orders").unwrap(), ["Orders"]);
        assert_eq!(parts(" web.Orders ").unwrap(), ["web", "Orders"]);
        assert_eq!(parts("\"My.Schema\".\"a\"\"b\"").unwrap(), ["My.Schema", "a\"b"]);
        assert_eq!(single("\"a.b\"").unwrap(), "a.b");
        assert_eq!(single("a.b"), None);
    }

    #[test]
    fn malformed_names() {
        for text in ["", " ", ".", "a.", ".a", "a..b", "\"\"", "\"a", "\"a\"b", "a\"b\"", "a\"b"] {
            assert_eq!(parts(text), None, "{text}");
        }
    }

    #[test]
    fn lists_of_names() {
        assert_eq!(list("a, \"b,c\" ,d").unwrap(), ["a", "b,c", "d"]);
        assert_eq!(list("\"a.b\"").unwrap(), ["a.b"]);
        for text in ["", "a,", ",a", "a,,b", "a.b", "a\"b"] {
            assert_eq!(list(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_written_name_comes_back(name in "[a-z\". \\PC]{1,12}") {
            prop_assert_eq!(single(&written(&name)), Some(name));
        }

        #[test]
        fn a_quoted_name_comes_back(name in "\\PC{1,20}") {
            let quoted = format!("\"{}\"", name.replace('"', "\"\""));
            prop_assert_eq!(single(&quoted), Some(name));
        }
    }
}
