//! SQL that users have written and that goes into our statements: does it stay where it is put?
//!
//! The rules are those of PostgreSQL's scan.l with `standard_conforming_strings` on, which the
//! session that runs the statement has to set.

use crate::error::{Error, Result, SqlState};

/// The line break ends a `--` comment at the fragment's end, which would swallow the parenthesis.
pub fn enclosed(fragment: &str) -> String {
    format!("({fragment}\n)")
}

/// A function's name as the user wrote it, if it is nothing else: `f`, `schema.f`, `"S"."F"`.
///
/// # Errors
/// `SYNTAX_ERROR` for anything else.
pub fn function_name(text: &str) -> Result<&str> {
    let name = text.trim();
    let mut rest = name;
    loop {
        let len = match rest.chars().next() {
            Some('"') => quoted(rest, '"'),
            Some(c) if is_word_start(c) => Some(rest.find(|c| !is_word(c)).unwrap_or(rest.len())),
            _ => None,
        };
        let after = len.and_then(|len| rest.get(len..));
        match after {
            Some("") => return Ok(name),
            Some(after) if after.starts_with('.') => rest = after.get(1..).unwrap_or_default(),
            _ => {
                return Err(Error::new(
                    SqlState::SYNTAX_ERROR,
                    format!("\"{name}\" is not the name of a function"),
                )
                .hint("Write the name alone, perhaps with its schema: web.tag_row."));
            }
        }
    }
}

/// SQL without the semicolons at its end, with which people end what they take for a statement.
pub fn without_semicolons(sql: &str) -> &str {
    let mut end = None;
    for (at, token) in tokens(sql) {
        match token.kind {
            _ if sql.get(at..).is_some_and(|rest| rest.starts_with(';')) => {
                end = end.or(Some(at));
            }
            TokenKind::Blank | TokenKind::End => {}
            _ => end = None,
        }
    }
    end.and_then(|end| sql.get(..end)).unwrap_or(sql)
}

/// An expression without the alias `AS name` at its end, which it may have in the list of a SELECT.
pub fn without_alias(sql: &str) -> &str {
    let mut depth = 0i32;
    // The last tokens outside of parentheses: what comes before, AS, the name.
    let mut last = [None; 3];
    for (at, token) in tokens(sql) {
        let text = sql.get(at..at + token.len).unwrap_or_default();
        match token.kind {
            TokenKind::Open => depth += 1,
            TokenKind::Close => depth -= 1,
            TokenKind::Blank | TokenKind::End => continue,
            _ => {}
        }
        if depth == 0 {
            last = [last[1], last[2], Some((at, text))];
        }
    }
    match last {
        [Some(_), Some((at, word)), Some((_, name))]
            if word.eq_ignore_ascii_case("as")
                && name.starts_with(|c: char| c == '"' || is_word_start(c)) =>
        {
            sql.get(..at).unwrap_or(sql).trim_end()
        }
        _ => sql,
    }
}

/// Refuses SQL that would not stay inside the parentheses it is put in: quotes, comments and
/// parentheses must be closed, and no semicolon may stand outside of them. Whether the SQL makes
/// sense is left to PostgreSQL.
///
/// The rules are those of PostgreSQL's scan.l with `standard_conforming_strings` on, which the
/// session that runs the statement has to set.
///
/// # Errors
/// `SYNTAX_ERROR` with what is wrong; the fragment itself is not repeated.
pub fn check_fragment(sql: &str) -> Result<()> {
    check(sql, false)
}

/// `check_fragment` for SQL that is run by itself: statements, separated by semicolons.
///
/// # Errors
/// As `check_fragment`, but for the semicolons.
pub fn check_statements(sql: &str) -> Result<()> {
    check(sql, true)
}

/// The tokens of a text, each with the byte where it begins, up to the end or to one that does not end.
fn tokens(text: &str) -> impl Iterator<Item = (usize, Token)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let token = Token::first(text.get(at..)?).filter(|token| token.len > 0)?;
        let start = at;
        at += token.len;
        Some((start, token))
    })
}

fn check(sql: &str, semicolons: bool) -> Result<()> {
    let refuse = |what: &str| Err(Error::new(SqlState::SYNTAX_ERROR, what));
    let mut rest = sql;
    let mut depth = 0usize;
    let mut empty = true;
    loop {
        let Some(token) = Token::first(rest) else {
            return refuse("unterminated quote or comment");
        };
        let semicolon = rest.starts_with(';');
        rest = rest.get(token.len..).unwrap_or_default();
        match token.kind {
            TokenKind::End if depth > 0 => return refuse("unclosed parenthesis"),
            TokenKind::End if empty => return refuse("nothing but blanks and comments"),
            TokenKind::End => return Ok(()),
            TokenKind::Blank => continue,
            TokenKind::Open => depth += 1,
            TokenKind::Close => match depth.checked_sub(1) {
                Some(outer) => depth = outer,
                None => return refuse("closing parenthesis without an opening one"),
            },
            TokenKind::Forbidden if semicolon && semicolons => continue,
            TokenKind::Forbidden => return refuse("semicolon outside of quotes, or zero byte"),
            TokenKind::Other => {}
        }
        empty = false;
    }
}

#[derive(Clone, Copy)]
enum TokenKind {
    /// The end of the text.
    End,
    /// White space or a comment.
    Blank,
    Open,
    Close,
    /// A semicolon, or a zero byte, at which PostgreSQL would stop reading.
    Forbidden,
    Other,
}

struct Token {
    kind: TokenKind,
    /// In bytes, at a character boundary.
    len: usize,
}

impl Token {
    /// The token at the start of `text`; None when it does not end.
    fn first(text: &str) -> Option<Token> {
        let token = |kind, len| Some(Token { kind, len });
        let Some(c) = text.chars().next() else {
            return token(TokenKind::End, 0);
        };
        match c {
            '(' => token(TokenKind::Open, 1),
            ')' => token(TokenKind::Close, 1),
            ';' | '\0' => token(TokenKind::Forbidden, 1),
            '\'' => token(TokenKind::Other, quoted(text, '\'')?),
            '"' => token(TokenKind::Other, quoted(text, '"')?),
            '$' => token(TokenKind::Other, dollar_quoted(text)?),
            '-' if text.starts_with("--") => token(TokenKind::Blank, line_comment(text)),
            '/' if text.starts_with("/*") => token(TokenKind::Blank, block_comment(text)?),
            c if is_space(c) => token(TokenKind::Blank, 1),
            c if is_word_start(c) => {
                let len = text.find(|c| !is_word(c)).unwrap_or(text.len());
                match text.get(len..) {
                    Some(string) if len == 1 && "eE".contains(c) && string.starts_with('\'') => {
                        token(TokenKind::Other, 1 + escape_string(string)?)
                    }
                    _ => token(TokenKind::Other, len),
                }
            }
            c => token(TokenKind::Other, c.len_utf8()),
        }
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// scan.l: `ident_start`; every byte of a non-ASCII character is a letter there.
fn is_word_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

/// scan.l: `ident_cont`.
fn is_word(c: char) -> bool {
    is_word_start(c) || c.is_ascii_digit() || c == '$'
}

/// Length of a text in quotes, in which a doubled quote is one.
fn quoted(text: &str, quote: char) -> Option<usize> {
    let mut at = 1;
    loop {
        at += text.get(at..)?.find(quote)? + 1;
        match text.get(at..)?.strip_prefix(quote) {
            Some(_) => at += 1,
            None => return Some(at),
        }
    }
}

/// Length of what follows the E of `E'…'`: a backslash protects the next character, and a string
/// that goes on after a line break is of the same kind (scan.l: `quotecontinue`).
fn escape_string(text: &str) -> Option<usize> {
    let mut at = 1;
    loop {
        let rest = text.get(at..)?;
        let special = rest.find(['\'', '\\'])?;
        at += special;
        let rest = rest.get(special..)?;
        if rest.starts_with('\\') {
            at += 1 + rest.chars().nth(1)?.len_utf8();
        } else if rest.starts_with("''") {
            at += 2;
        } else {
            at += 1;
            match continuation(rest.get(1..)?) {
                Some(gap) => at += gap + 1,
                None => return Some(at),
            }
        }
    }
}

/// Length of the blanks, at least one line break among them, between a string's closing quote and
/// the quote with which it goes on.
fn continuation(text: &str) -> Option<usize> {
    let mut len = 0;
    loop {
        let rest = text.get(len..)?;
        if rest.starts_with("--") {
            len += line_comment(rest);
        } else if rest.starts_with(is_space) {
            len += 1;
        } else {
            let broken = text.get(..len)?.contains(['\n', '\r']);
            return (rest.starts_with('\'') && broken).then_some(len);
        }
    }
}

/// Length of `$tag$…$tag$`; 1 when the dollar sign does not begin a quoted text.
fn dollar_quoted(text: &str) -> Option<usize> {
    let body = text.get(1..)?;
    let tag = match body.find(|c| c == '$' || !is_word(c)) {
        Some(end) if body.get(end..)?.starts_with('$') => body.get(..end)?,
        _ => return Some(1),
    };
    if tag.starts_with(|c: char| c.is_ascii_digit()) {
        return Some(1);
    }
    let opening = tag.len() + 2;
    let inside = text.get(opening..)?;
    inside.find(text.get(..opening)?).map(|end| opening + end + opening)
}

/// Length of a `--` comment without its line break.
fn line_comment(text: &str) -> usize {
    text.find(['\n', '\r']).unwrap_or(text.len())
}

/// Length of a `/* … */` comment; they nest.
fn block_comment(text: &str) -> Option<usize> {
    let mut at = 2;
    let mut depth = 1usize;
    while depth > 0 {
        let rest = text.get(at..)?;
        at += rest.find(['/', '*'])?;
        let rest = text.get(at..)?;
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
        } else {
            at += 1;
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sound_fragments_pass() {
        for sql in [
            "1",
            "(j->>'id')::int",
            "amount * .19",
            "'it''s (fine;'",
            r"'back\' || 'slash'",
            r"E'it\'s ); fine'",
            r"e'\\'",
            "E'a'\n'b\\'); c'",
            "E'a' -- (\n  'b\\'); c'",
            "U&'d\\0061' || U&\"d;\"",
            "$$ ); ' $$",
            "$tag$ $$ ); $tag$",
            "a$b || c$d",
            "a$$b",
            "$1",
            "\"we;ird)\"\"\"",
            "/* ) ; /* nested */ ' */ 1",
            "1 -- trailing ) comment '",
            "a - -1",
            "array[1,2]",
            "array(select json_array_elements(v->'items')::text::float)",
            "größe > 'ä'",
            "j #>> '{a,b}'",
            "case when a then 'x: y' else E'\\'' end",
        ] {
            assert_eq!(check_fragment(sql), Ok(()), "{sql}");
        }
    }

    #[test]
    fn fragments_that_would_escape_are_refused() {
        for sql in [
            "",
            " \n",
            "-- nothing",
            "/* nothing */",
            "1)",
            "1) from x --",
            "(1",
            "1; drop table x",
            "(;)",
            "'open",
            "\"open",
            "/* open",
            "/* /* */ open",
            "/*/",
            "$$ open",
            "$a$ open $b$",
            r"E'open\'",
            r"'closed\') --'",
            "E'a' 'b\\') --'",
            "fe'a\\') --'",
            "a$$) --$$",
            "1\0",
            "(a))((b)",
        ] {
            let error = check_fragment(sql).expect_err(sql);
            assert_eq!(error.sqlstate, SqlState::SYNTAX_ERROR);
        }
    }

    #[test]
    fn statements_may_be_separated() {
        for sql in ["select f()", "select f();", "select 1; select ';)' ;; -- end", "do $$ ); $$"] {
            assert_eq!(check_statements(sql), Ok(()), "{sql}");
        }
        for sql in ["", ";", " ; -- nothing", "select (1; select 2", "select ')", "1)", "a\0"] {
            assert!(check_statements(sql).is_err(), "{sql}");
        }
    }

    #[test]
    fn semicolons_at_the_end_are_left_out() {
        for (sql, rest) in [
            ("a;", "a"),
            ("a ; -- end\n;", "a "),
            ("';'", "';'"),
            ("a; b;", "a; b"),
            ("(a;)", "(a;)"),
            ("'a;", "'a;"),
            (";", ""),
            ("a -- ;", "a -- ;"),
        ] {
            assert_eq!(without_semicolons(sql), rest, "{sql}");
        }
    }

    #[test]
    fn an_alias_is_left_out() {
        for (sql, rest) in [
            ("(j->>'k')::text as k", "(j->>'k')::text"),
            ("(j->>'k') AS \"K k\" -- it", "(j->>'k')"),
            ("f(a) As größe", "f(a)"),
            ("f(a) AS \"x\"\"y\"", "f(a)"),
            ("'it''s' as \"\"\"\"", "'it''s'"),
            ("cast(a as int)", "cast(a as int)"),
            ("(select 1 as x)", "(select 1 as x)"),
            ("as k", "as k"),
            ("a as 'k'", "a as 'k'"),
            ("a as k + 1", "a as k + 1"),
            ("'a as k'", "'a as k'"),
            ("a as 'open", "a as 'open"),
            ("has k", "has k"),
        ] {
            assert_eq!(without_alias(sql), rest, "{sql}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_trimming_panic(sql in "[a ;'\"()asé-]{0,20}") {
            let _ = (without_semicolons(&sql), without_alias(&sql));
        }

        #[test]
        fn a_fragment_that_passes_is_closed(
            parts in prop::collection::vec(prop::sample::select(vec![
                "'", "''", "\"", "\\", "(", ")", ";", "--", "/*", "*/", "$$", "$a$", "$", "a", "E",
                "e'", "U&", "1", "\n", " ", "ä", "*", "/", "-",
            ]), 0..14),
        ) {
            let sql = parts.concat();
            if check_fragment(&sql).is_ok() {
                // Closed: what follows is read as it would be on its own.
                let followed_by = |rest: &str| check_fragment(&(enclosed(&sql) + rest));
                prop_assert!(followed_by(", (1)").is_ok());
                prop_assert!(followed_by("; (1)").is_err());
                prop_assert!(followed_by(") (1)").is_err());
                prop_assert!(followed_by("'").is_err());
                prop_assert!(followed_by("(").is_err());
            }
        }

        #[test]
        fn no_text_makes_the_scanner_panic(sql in "\\PC*") {
            let _ = check_fragment(&sql);
        }
    }
}
