//! SQL text: quoting, and the one statement that loads a batch.

use super::job::{JobSpec, Mapping, TableName};
use super::suggest;
use crate::error::{Error, Result, SqlState};
use std::collections::HashSet;

/// An identifier in double quotes.
pub fn quote_ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string constant that means the same whatever `standard_conforming_strings` says.
pub fn quote_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') {
        format!(" E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

/// A table's name with its schema, quoted.
pub fn qualified(table: &TableName) -> String {
    format!("{}.{}", quote_ident(&table.schema), quote_ident(&table.name))
}

/// The statement that loads a batch: `INSERT INTO target (…) SELECT … FROM source [WHERE …]`.
///
/// `source_columns` and `target_columns` are the tables' columns as they are now, in their order.
/// Expressions and the filter are the user's SQL and go in as they stand, in parentheses.
///
/// # Errors
/// `UNDEFINED_COLUMN`: a mapped column that the target lacks, or, without a mapping, no column of
/// the same name on both sides. `SYNTAX_ERROR`: a column that is mapped twice, or SQL that
/// `check_fragment` refuses.
pub fn insert_statement(
    spec: &JobSpec,
    source_columns: &[String],
    target_columns: &[String],
) -> Result<String> {
    let (columns, values) = match &spec.mapping {
        Some(mapping) => mapped(mapping, &spec.target, target_columns)?,
        None => same_names(spec, source_columns, target_columns)?,
    };
    let mut sql = format!(
        "INSERT INTO {} ({})\nSELECT {}\nFROM {}",
        qualified(&spec.target),
        columns.join(", "),
        values.join(", "),
        qualified(&spec.source)
    );
    if let Some(filter) = &spec.filter {
        check_fragment(filter).map_err(|e| in_place(e, "the filter"))?;
        sql.push_str("\nWHERE ");
        sql.push_str(&enclosed(filter));
    }
    Ok(sql)
}

type ColumnsAndValues = (Vec<String>, Vec<String>);

fn mapped(mapping: &[Mapping], target: &TableName, columns: &[String]) -> Result<ColumnsAndValues> {
    if mapping.is_empty() {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "the mapping names no column"));
    }
    let mut seen = HashSet::new();
    for Mapping { column, expression } in mapping {
        if !columns.contains(column) {
            let mut error = Error::new(
                SqlState::UNDEFINED_COLUMN,
                format!("column \"{column}\" of table {} does not exist", qualified(target)),
            )
            .detail("The mapping names it.");
            error.hint = suggest::hint(column, columns.iter().map(String::as_str));
            return Err(error);
        }
        if !seen.insert(column) {
            let message = format!("column \"{column}\" is mapped more than once");
            return Err(Error::new(SqlState::SYNTAX_ERROR, message));
        }
        check_fragment(expression)
            .map_err(|e| in_place(e, &format!("the expression for column \"{column}\"")))?;
    }
    Ok(mapping.iter().map(|m| (quote_ident(&m.column), enclosed(&m.expression))).unzip())
}

fn same_names(spec: &JobSpec, source: &[String], target: &[String]) -> Result<ColumnsAndValues> {
    let common: Vec<String> =
        target.iter().filter(|c| source.contains(c)).map(|c| quote_ident(c)).collect();
    if common.is_empty() {
        return Err(Error::new(
            SqlState::UNDEFINED_COLUMN,
            format!(
                "no column of table {} has the name of a source column",
                qualified(&spec.target)
            ),
        )
        .detail(format!(
            "Source columns: {}. Target columns: {}.",
            source.join(", "),
            target.join(", ")
        ))
        .hint("Give a mapping from target columns to expressions over the source columns."));
    }
    Ok((common.clone(), common))
}

/// The line break ends a `--` comment at the fragment's end, which would swallow the parenthesis.
pub fn enclosed(fragment: &str) -> String {
    format!("({fragment}\n)")
}

fn in_place(mut error: Error, place: &str) -> Error {
    error.message = format!("{} in {place}", error.message);
    error
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
    let refuse = |what: &str| Err(Error::new(SqlState::SYNTAX_ERROR, what));
    let mut rest = sql;
    let mut depth = 0usize;
    let mut empty = true;
    loop {
        let Some(token) = Token::first(rest) else {
            return refuse("unterminated quote or comment");
        };
        rest = rest.get(token.len..).unwrap_or_default();
        match token.kind {
            Kind::End if depth > 0 => return refuse("unclosed parenthesis"),
            Kind::End if empty => return refuse("nothing but blanks and comments"),
            Kind::End => return Ok(()),
            Kind::Blank => continue,
            Kind::Open => depth += 1,
            Kind::Close => match depth.checked_sub(1) {
                Some(outer) => depth = outer,
                None => return refuse("closing parenthesis without an opening one"),
            },
            Kind::Forbidden => return refuse("semicolon outside of quotes, or zero byte"),
            Kind::Other => {}
        }
        empty = false;
    }
}

#[derive(Clone, Copy)]
enum Kind {
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
    kind: Kind,
    /// In bytes, at a character boundary.
    len: usize,
}

impl Token {
    /// The token at the start of `text`; None when it does not end.
    fn first(text: &str) -> Option<Token> {
        let token = |kind, len| Some(Token { kind, len });
        let Some(c) = text.chars().next() else {
            return token(Kind::End, 0);
        };
        match c {
            '(' => token(Kind::Open, 1),
            ')' => token(Kind::Close, 1),
            ';' | '\0' => token(Kind::Forbidden, 1),
            '\'' => token(Kind::Other, quoted(text, '\'')?),
            '"' => token(Kind::Other, quoted(text, '"')?),
            '$' => token(Kind::Other, dollar_quoted(text)?),
            '-' if text.starts_with("--") => token(Kind::Blank, line_comment(text)),
            '/' if text.starts_with("/*") => token(Kind::Blank, block_comment(text)?),
            c if is_space(c) => token(Kind::Blank, 1),
            c if is_word_start(c) => {
                let len = text.find(|c| !is_word(c)).unwrap_or(text.len());
                match text.get(len..) {
                    Some(string) if len == 1 && "eE".contains(c) && string.starts_with('\'') => {
                        token(Kind::Other, 1 + escape_string(string)?)
                    }
                    _ => token(Kind::Other, len),
                }
            }
            c => token(Kind::Other, c.len_utf8()),
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

/// Length of a text in quotes. A doubled quote reads as one quoted text after the other, which
/// ends at the same place.
fn quoted(text: &str, quote: char) -> Option<usize> {
    text.get(1..)?.find(quote).map(|end| end + 2)
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
    use super::super::job::{Commit, Mode, Origin};
    use super::*;
    use proptest::prelude::*;

    fn table(schema: &str, name: &str) -> TableName {
        TableName { schema: schema.into(), name: name.into() }
    }

    fn spec(mapping: Option<&[(&str, &str)]>, filter: Option<&str>) -> JobSpec {
        let one = |(c, e): &(&str, &str)| Mapping { column: (*c).into(), expression: (*e).into() };
        JobSpec {
            origin: Origin::Config,
            source: table("gpss", "f\"1"),
            topic: "t".into(),
            target: table("public", "orders"),
            mode: Mode::Insert,
            mapping: mapping.map(|m| m.iter().map(one).collect()),
            filter: filter.map(Into::into),
            error_limit: None,
            commit: Commit::default(),
            search_path: String::new(),
            workers: 1,
        }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn quoting() {
        assert_eq!(quote_ident("a\"b"), "\"a\"\"b\"");
        assert_eq!(quote_literal("it's"), "'it''s'");
        assert_eq!(quote_literal("a\\b'"), " E'a\\\\b'''");
    }

    #[test]
    fn mapping_and_filter_go_in_as_they_stand() {
        let spec =
            spec(Some(&[("id", "(j->>'id')::int -- key"), ("n", "1")]), Some("j is not null"));
        assert_eq!(
            insert_statement(&spec, &names(&["j"]), &names(&["n", "id"])).unwrap(),
            "INSERT INTO \"public\".\"orders\" (\"id\", \"n\")\n\
             SELECT ((j->>'id')::int -- key\n), (1\n)\n\
             FROM \"gpss\".\"f\"\"1\"\n\
             WHERE (j is not null\n)"
        );
    }

    #[test]
    fn without_a_mapping_the_same_names_in_the_targets_order() {
        let sql =
            insert_statement(&spec(None, None), &names(&["b", "a", "x"]), &names(&["a", "b"]));
        assert_eq!(
            sql.unwrap(),
            "INSERT INTO \"public\".\"orders\" (\"a\", \"b\")\nSELECT \"a\", \"b\"\n\
             FROM \"gpss\".\"f\"\"1\""
        );
        let error = insert_statement(&spec(None, None), &names(&["value"]), &names(&["a", "b"]))
            .unwrap_err();
        assert_eq!(error.sqlstate, SqlState::UNDEFINED_COLUMN);
        assert_eq!(error.detail.unwrap(), "Source columns: value. Target columns: a, b.");
    }

    #[test]
    fn columns_that_do_not_fit_are_refused() {
        let target = names(&["package_name", "id"]);
        let build = |m: &[(&str, &str)]| insert_statement(&spec(Some(m), None), &[], &target);
        let error = build(&[("pakage_name", "1")]).unwrap_err();
        assert_eq!(error.sqlstate, SqlState::UNDEFINED_COLUMN);
        assert_eq!(error.hint.unwrap(), "Perhaps you meant \"package_name\".");
        let error = build(&[("id", "1"), ("id", "2")]).unwrap_err();
        assert_eq!(error.message, "column \"id\" is mapped more than once");
        assert!(build(&[]).is_err());
        let error = build(&[("id", "(j->>'id'")]).unwrap_err();
        assert_eq!(error.message, "unclosed parenthesis in the expression for column \"id\"");
        let filter = spec(Some(&[("id", "1")]), Some("true); drop table x; --"));
        assert!(insert_statement(&filter, &[], &target).is_err());
    }

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

    proptest! {
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
