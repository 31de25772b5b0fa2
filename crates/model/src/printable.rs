//! Texts that may hold anything, as a message, a column or a log line can show them.

use std::borrow::Cow;

/// Characters of a reason at most: a payload that it quotes may be a megabyte long.
pub const LIMIT: usize = 1000;

/// What stands for the rest of a text that is too long.
const REST: &str = "...";

/// A number of things with their noun: `1 message`, `2 messages`.
pub fn counted(count: impl ToString, noun: &str) -> String {
    let count = count.to_string();
    let plural = if count == "1" { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// The text with control characters other than tab and line feed as JSON writes them: PostgreSQL's
/// texts hold no NUL, and an escape sequence would reach the terminal of whoever reads the log.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_hidden(c) {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// As `printable`, and not longer than `LIMIT` characters.
pub fn shortened(text: &str) -> Cow<'_, str> {
    let kept = |text: &str, limit| text.char_indices().nth(limit).map(|(end, _)| end);
    // What becomes longer by escapes is cut again.
    let Some(end) = kept(text, LIMIT) else {
        let text = printable(text);
        return match kept(&text, LIMIT) {
            None => text,
            Some(_) => Cow::Owned(cut(&text)),
        };
    };
    Cow::Owned(cut(&printable(&text[..end])))
}

fn cut(text: &str) -> String {
    text.chars().take(LIMIT - REST.len()).chain(REST.chars()).collect()
}

fn is_hidden(c: char) -> bool {
    c.is_control() && c != '\n' && c != '\t'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_thing_is_singular() {
        let texts = [0, 1, 2, 11].map(|count| counted(count, "row"));
        assert_eq!(texts, ["0 rows", "1 row", "2 rows", "11 rows"]);
    }

    #[test]
    fn controls_are_written_as_json_writes_them() {
        assert_eq!(printable("a\0b\x1b[1m\u{85}\tx\ny"), "a\\u0000b\\u001b[1m\\u0085\tx\ny");
        assert!(matches!(printable("plain é"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let long = shortened(&"é".repeat(LIMIT + 1)).into_owned();
        assert_eq!(long, "é".repeat(LIMIT - 3) + "...");
        assert_eq!(shortened(&"é".repeat(LIMIT)), "é".repeat(LIMIT));
        assert_eq!(shortened(&"\0".repeat(LIMIT)).chars().count(), LIMIT);
    }

    proptest! {
        #[test]
        fn a_reason_is_short_and_stays_as_it_is(text in "[\\x00-\\x20a-zé🦀]{0,1100}") {
            let once = shortened(&text).into_owned();
            prop_assert!(once.chars().count() <= LIMIT);
            prop_assert!(!once.contains('\0'));
            prop_assert_eq!(shortened(&once), once.as_str());
        }
    }
}
