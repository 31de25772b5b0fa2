//! SQL text: quoting, and the statements that load a batch.

use super::fragment::{check_fragment, enclosed, function_name};
use super::job::{JobSpec, Mapping, Mode, Origin, RowOf, TableName, TargetSpec, Transformer};
use super::{names, suggest};
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

/// A column of a target table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetColumn {
    pub name: String,
    /// As SQL names it, with its modifier.
    pub type_name: String,
    /// Computed by the table: nothing may be inserted into it.
    pub generated: bool,
    /// Has a value when none is inserted: a default, or an identity.
    pub default: bool,
}

/// The statement that loads a batch into one table: `INSERT INTO target (…) SELECT … FROM source
/// [WHERE …]`.
///
/// `source_columns` and `target_columns` are the tables' columns as they are now, in their order.
/// Expressions and filters are the user's SQL and go in as they stand, in parentheses.
///
/// # Errors
/// `UNDEFINED_COLUMN`: a mapped column that the target lacks, or, without a mapping, no column of
/// the same name on both sides. `SYNTAX_ERROR`: a column that is mapped twice, or SQL that
/// `check_fragment` refuses. `FEATURE_NOT_SUPPORTED`: another mode than insert.
pub fn insert_statement(
    spec: &JobSpec,
    output: &TargetSpec,
    source_columns: &[String],
    target_columns: &[TargetColumn],
) -> Result<String> {
    let (columns, select) = selection(spec, output, source_columns, target_columns)?;
    let target = qualified(&output.target);
    Ok(format!("INSERT INTO {target} ({})\n{select}", columns.join(", ")))
}

/// The rows that `insert_statement` would insert, each as one JSON object with its columns converted to
/// the target's types.
///
/// # Errors
/// As `insert_statement`.
pub fn trial_statement(
    spec: &JobSpec,
    output: &TargetSpec,
    source_columns: &[String],
    target_columns: &[TargetColumn],
) -> Result<String> {
    let (columns, select) = selection(spec, output, source_columns, target_columns)?;
    let typed: Vec<String> = columns
        .iter()
        .map(|column| {
            let known = target_columns.iter().find(|c| quote_ident(&c.name) == *column);
            let type_name = known.map_or("text", |c| c.type_name.as_str());
            format!("v.{column}::{type_name}")
        })
        .collect();
    Ok(format!(
        "SELECT pg_catalog.to_json(r.*)::pg_catalog.text\nFROM (SELECT {} FROM ({select}) AS v ({})) AS r",
        typed.join(", "),
        columns.join(", "),
    ))
}

/// Queries over the source that tell where a message fails on its way into a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trials {
    /// The rows as `insert_statement` reads them.
    pub select: String,
    /// The same without any value: the source and the filters.
    pub filter: String,
    /// There are filters.
    pub filtered: bool,
    /// The columns that are written, in their order; none when the values come from one function.
    pub columns: Vec<Alone>,
}

/// A written column by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alone {
    pub column: String,
    /// Its value.
    pub select: String,
    /// Its value on the way into the table.
    pub insert: String,
}

/// What `insert_statement` does, in parts.
///
/// # Errors
/// As `insert_statement`.
pub fn trials(
    spec: &JobSpec,
    output: &TargetSpec,
    source_columns: &[String],
    target_columns: &[TargetColumn],
) -> Result<Trials> {
    let from = from(spec, output, source_columns)?;
    let (columns, select) = selection(spec, output, source_columns, target_columns)?;
    let values = match output.transformer {
        Some(_) => vec![],
        None => values(output, source_columns, target_columns)?.1,
    };
    let alone = |(quoted, value): (&String, String)| {
        let known = target_columns.iter().find(|c| quote_ident(&c.name) == *quoted);
        let select = format!("SELECT {value}{from}");
        Alone {
            column: known.map_or(quoted, |c| &c.name).to_owned(),
            insert: format!("INSERT INTO {} ({quoted})\n{select}", qualified(&output.target)),
            select,
        }
    };
    let columns = columns.iter().zip(values).map(alone).collect();
    let filtered = spec.filter.is_some() || output.filter.is_some();
    Ok(Trials { select, filter: format!("SELECT{from}"), filtered, columns })
}

/// The columns that are written, quoted, and the query that gives their values.
fn selection(
    spec: &JobSpec,
    output: &TargetSpec,
    source_columns: &[String],
    target_columns: &[TargetColumn],
) -> Result<(Vec<String>, String)> {
    if output.mode != Mode::Insert {
        return Err(Error::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            format!("mode \"{}\" is not supported yet", output.mode.name()),
        )
        .hint("Use mode insert."));
    }
    let from = from(spec, output, source_columns)?;
    if let Some(transformer) = &output.transformer {
        let (columns, row) =
            transformed(spec, transformer, output, source_columns, target_columns)?;
        let results: Vec<String> = columns.iter().map(|column| format!("r.{column}")).collect();
        let properties = serde_json::Value::Object(transformer.properties.clone()).to_string();
        let select = format!(
            "SELECT {}\nFROM (SELECT *{from}) AS s\n\
             CROSS JOIN LATERAL {}({row}, {}::pg_catalog.json) AS r",
            results.join(", "),
            function_name(&transformer.function)?,
            quote_literal(&properties),
        );
        return Ok((columns, select));
    }
    let (columns, values) = values(output, source_columns, target_columns)?;
    let select = format!("SELECT {}{from}", values.join(", "));
    Ok((columns, select))
}

/// The columns that are written, quoted, and their expressions.
fn values(
    output: &TargetSpec,
    source_columns: &[String],
    target_columns: &[TargetColumn],
) -> Result<ColumnsAndValues> {
    match &output.mapping {
        Some(mapping) => mapped(mapping, &output.target, target_columns),
        None => same_names(&output.target, source_columns, target_columns),
    }
}

/// What a job reads, for a FROM: its foreign table.
///
/// Names in a load configuration may be without the quotes that their letters' case asks for. So its
/// columns have both names, and the planner sees the same as without: a subquery like this one is none to
/// it.
pub fn source(spec: &JobSpec, source_columns: &[String]) -> String {
    let table = qualified(&spec.source);
    let unquoted = || names::unquoted(source_columns.iter().map(String::as_str));
    if spec.origin != Origin::Config || unquoted().next().is_none() {
        return table;
    }
    let column = |(folded, name): (String, &str)| {
        format!(", f.{} AS {}", quote_ident(name), quote_ident(&folded))
    };
    let more: String = unquoted().map(column).collect();
    format!("(SELECT f.*{more} FROM {table} AS f) AS {}", quote_ident(&spec.source.name))
}

/// `FROM source [WHERE …]`: the rows that the job's filter and the table's own let pass.
fn from(spec: &JobSpec, output: &TargetSpec, source_columns: &[String]) -> Result<String> {
    let mut sql = format!("\nFROM {}", source(spec, source_columns));
    for (word, filter) in
        ["\nWHERE ", "\n  AND "].iter().zip([&spec.filter, &output.filter].into_iter().flatten())
    {
        check_fragment(filter).map_err(|e| in_place(e, "the filter"))?;
        sql.push_str(word);
        sql.push_str(&enclosed(filter));
    }
    Ok(sql)
}

/// The mapping of a job without one: columns of the same name (`names`), as they are when it is submitted. By name they
/// would be matched anew after each start, and a renamed column would silently stay empty.
///
/// # Errors
/// `UNDEFINED_COLUMN`: there is none.
pub fn mapping_of_same_names(
    target: &TableName,
    source_columns: &[String],
    target_columns: &[TargetColumn],
) -> Result<Vec<Mapping>> {
    let (columns, values) = same_names(target, source_columns, target_columns)?;
    let column = |quoted: &String| target_columns.iter().find(|c| quote_ident(&c.name) == *quoted);
    let mapping = |(quoted, expression): (&String, String)| {
        Some(Mapping { column: column(quoted)?.name.clone(), expression })
    };
    Ok(columns.iter().zip(values).filter_map(mapping).collect())
}

/// The source column that fills a target column when there is no mapping.
pub fn same_name<'a>(source_columns: &'a [String], target: &TargetColumn) -> Option<&'a str> {
    names::meaning(&target.name, source_columns.iter().map(String::as_str))
}

type ColumnsAndValues = (Vec<String>, Vec<String>);

/// The written columns, and the function's row.
fn transformed(
    spec: &JobSpec,
    transformer: &Transformer,
    output: &TargetSpec,
    source: &[String],
    target: &[TargetColumn],
) -> Result<(Vec<String>, String)> {
    for column in &transformer.columns {
        settable(column, &output.target, target, "The transformer names it.")?;
    }
    let written = target
        .iter()
        .filter(|c| !c.generated)
        .filter(|c| transformer.columns.is_empty() || transformer.columns.contains(&c.name))
        .map(|c| quote_ident(&c.name))
        .collect();
    let value = |name: Option<&str>| {
        name.map_or("NULL".to_owned(), |name| format!("s.{}", quote_ident(name)))
    };
    let (values, row_type): (Vec<String>, &TableName) = match transformer.input {
        RowOf::Source => {
            let values = source.iter().map(|name| value((!is_ignored(name)).then_some(name)));
            (values.collect(), &spec.source)
        }
        RowOf::Target => {
            if !target.iter().any(|c| same_name(source, c).is_some()) {
                return Err(nothing_in_common(&output.target, source, target).hint(
                    "The function is given a row of the target, in which the source's columns of the \
                     same name are filled, unless its code reads source columns that the target lacks.",
                ));
            }
            (target.iter().map(|c| value(same_name(source, c))).collect(), &output.target)
        }
    };
    Ok((written, format!("ROW({})::{}", values.join(", "), qualified(row_type))))
}

/// Is it a column that only holds the place of a field?
pub fn is_ignored(column: &str) -> bool {
    column.starts_with(super::config::IGNORED)
}

/// Is it a column that may be inserted into?
fn settable(column: &str, table: &TableName, columns: &[TargetColumn], who: &str) -> Result<()> {
    match columns.iter().find(|c| c.name == column) {
        Some(c) if !c.generated => Ok(()),
        Some(_) => Err(Error::new(
            SqlState::new("428C9"),
            format!("column \"{column}\" of table {} is a generated column", qualified(table)),
        )
        .detail(who)
        .hint("The table computes it; leave it out.")),
        None => {
            let mut error = Error::new(
                SqlState::UNDEFINED_COLUMN,
                format!("column \"{column}\" of table {} does not exist", qualified(table)),
            )
            .detail(who);
            let names = || columns.iter().map(|c| c.name.as_str());
            error.hint = suggest::hint(column, names()).or_else(|| {
                let names: Vec<&str> = names().collect();
                Some(format!("Its columns are: {}.", names.join(", ")))
            });
            Err(error)
        }
    }
}

fn mapped(
    mapping: &[Mapping],
    target: &TableName,
    columns: &[TargetColumn],
) -> Result<ColumnsAndValues> {
    if mapping.is_empty() {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "the mapping names no column"));
    }
    let mut seen = HashSet::new();
    for Mapping { column, expression } in mapping {
        settable(column, target, columns, "The mapping names it.")?;
        if !seen.insert(column) {
            let message = format!("column \"{column}\" is mapped more than once");
            return Err(Error::new(SqlState::SYNTAX_ERROR, message));
        }
        check_fragment(expression)
            .map_err(|e| in_place(e, &format!("the expression for column \"{column}\"")))?;
    }
    Ok(mapping.iter().map(|m| (quote_ident(&m.column), enclosed(&m.expression))).unzip())
}

fn same_names(
    table: &TableName,
    source: &[String],
    target: &[TargetColumn],
) -> Result<ColumnsAndValues> {
    let settable = target.iter().filter(|c| !c.generated);
    let pair = |c: &TargetColumn| Some((quote_ident(&c.name), quote_ident(same_name(source, c)?)));
    let (columns, values): (Vec<String>, Vec<String>) = settable.filter_map(pair).unzip();
    if columns.is_empty() {
        return Err(nothing_in_common(table, source, target));
    }
    Ok((columns, values))
}

fn nothing_in_common(table: &TableName, source: &[String], target: &[TargetColumn]) -> Error {
    let settable = target.iter().filter(|c| !c.generated);
    let target: Vec<&str> = settable.map(|c| c.name.as_str()).collect();
    Error::new(
        SqlState::UNDEFINED_COLUMN,
        format!("no column of table {} has the name of a source column", qualified(table)),
    )
    .detail(format!(
        "Source columns: {}. Target columns: {}.",
        source.join(", "),
        target.join(", ")
    ))
    .hint("Give a mapping from target columns to expressions over the source columns.")
}

fn in_place(mut error: Error, place: &str) -> Error {
    error.message = format!("{} in {place}", error.message);
    error
}

#[cfg(test)]
mod tests {
    use super::super::job::Commit;
    use super::*;

    fn table(schema: &str, name: &str) -> TableName {
        TableName { schema: schema.into(), name: name.into() }
    }

    fn spec(mapping: Option<&[(&str, &str)]>, filter: Option<&str>) -> JobSpec {
        let one = |(c, e): &(&str, &str)| Mapping { column: (*c).into(), expression: (*e).into() };
        JobSpec {
            origin: Origin::Config,
            source: table("gpss", "f\"1"),
            topic: "t".into(),
            outputs: vec![TargetSpec {
                target: table("public", "orders"),
                mode: Mode::Insert,
                mapping: mapping.map(|m| m.iter().map(one).collect()),
                transformer: None,
                filter: None,
            }],
            filter: filter.map(Into::into),
            error_limit: None,
            commit: Commit::default(),
            search_path: String::new(),
            workers: 1,
            task: Default::default(),
            schedule: Default::default(),
            alert: None,
        }
    }

    fn insert(spec: &JobSpec, source: &[&str], target: &[&str]) -> Result<String> {
        let column = |n: &&str| TargetColumn {
            name: (*n).into(),
            type_name: "text".into(),
            generated: n.starts_with("gen"),
            default: false,
        };
        let target: Vec<TargetColumn> = target.iter().map(column).collect();
        insert_statement(spec, &spec.outputs[0], &all(source), &target)
    }

    fn all(names: &[&str]) -> Vec<String> {
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
            insert(&spec, &["j"], &["n", "id"]).unwrap(),
            "INSERT INTO \"public\".\"orders\" (\"id\", \"n\")\n\
             SELECT ((j->>'id')::int -- key\n), (1\n)\n\
             FROM \"gpss\".\"f\"\"1\"\n\
             WHERE (j is not null\n)"
        );
    }

    #[test]
    fn each_column_can_be_tried_alone() {
        let spec = spec(Some(&[("a b", "x + 1"), ("n", "y")]), Some("z"));
        let column = |name: &str| TargetColumn {
            name: name.into(),
            type_name: "int".into(),
            generated: false,
            default: false,
        };
        let target = [column("n"), column("a b")];
        let found = trials(&spec, &spec.outputs[0], &[], &target).unwrap();
        let from = "\nFROM \"gpss\".\"f\"\"1\"\nWHERE (z\n)";
        assert_eq!(found.filter, format!("SELECT{from}"));
        assert_eq!(found.select, format!("SELECT (x + 1\n), (y\n){from}"));
        let alone = &found.columns[0];
        assert_eq!((alone.column.as_str(), found.columns.len()), ("a b", 2));
        assert_eq!(alone.select, format!("SELECT (x + 1\n){from}"));
        let insert = format!("INSERT INTO \"public\".\"orders\" (\"a b\")\n{}", alone.select);
        assert_eq!(alone.insert, insert);
    }

    #[test]
    fn without_a_mapping_the_same_names_in_the_targets_order() {
        let sql = insert(&spec(None, None), &["b", "a", "x"], &["a", "gen", "b"]);
        assert_eq!(
            sql.unwrap(),
            "INSERT INTO \"public\".\"orders\" (\"a\", \"b\")\nSELECT \"a\", \"b\"\n\
             FROM \"gpss\".\"f\"\"1\""
        );
        let error = insert(&spec(None, None), &["value"], &["a", "b"]).unwrap_err();
        assert_eq!(error.sqlstate, SqlState::UNDEFINED_COLUMN);
        assert_eq!(error.detail.unwrap(), "Source columns: value. Target columns: a, b.");
    }

    #[test]
    fn the_mapping_of_a_job_without_one_has_the_columns_of_both() {
        let column = |name: &str, generated| TargetColumn {
            name: name.into(),
            type_name: "int".into(),
            generated,
            default: false,
        };
        let target = [column("a", false), column("b c", false), column("d", true)];
        let source = all(&["d", "b c", "x"]);
        let orders = table("public", "orders");
        let mapping = mapping_of_same_names(&orders, &source, &target).unwrap();
        let expected = Mapping { column: "b c".into(), expression: "\"b c\"".into() };
        assert_eq!(mapping, [expected]);
        assert!(mapping_of_same_names(&orders, &all(&["x"]), &target).is_err());
    }

    #[test]
    fn columns_that_do_not_fit_are_refused() {
        let target = ["package_name", "id", "gen"];
        let build = |m: &[(&str, &str)]| insert(&spec(Some(m), None), &[], &target);
        let error = build(&[("pakage_name", "1")]).unwrap_err();
        assert_eq!(error.sqlstate, SqlState::UNDEFINED_COLUMN);
        assert_eq!(error.hint.unwrap(), "Perhaps you meant \"package_name\".");
        let error = build(&[("id", "1"), ("id", "2")]).unwrap_err();
        assert_eq!(error.message, "column \"id\" is mapped more than once");
        assert!(build(&[]).is_err());
        let error = build(&[("id", "(j->>'id'")]).unwrap_err();
        assert_eq!(error.message, "unclosed parenthesis in the expression for column \"id\"");
        let filter = spec(Some(&[("id", "1")]), Some("true); drop table x; --"));
        assert!(insert(&filter, &[], &target).is_err());
        let error = build(&[("gen", "1")]).unwrap_err();
        assert_eq!(
            error.message,
            "column \"gen\" of table \"public\".\"orders\" is a generated column"
        );
    }

    #[test]
    fn both_filters_and_a_transformer() {
        let mut spec = spec(None, Some("a > 1"));
        let output = spec.outputs.first_mut().unwrap();
        output.filter = Some("b".into());
        output.transformer = Some(Transformer {
            function: "web.tag_row".into(),
            properties: serde_json::from_str(r#"{"tag": "it's", "add": 5}"#).unwrap(),
            columns: vec!["b".into()],
            input: RowOf::Target,
        });
        assert_eq!(
            insert(&spec, &["a", "b"], &["b", "gen", "c"]).unwrap(),
            "INSERT INTO \"public\".\"orders\" (\"b\")\nSELECT r.\"b\"\n\
             FROM (SELECT *\nFROM \"gpss\".\"f\"\"1\"\nWHERE (a > 1\n)\n  AND (b\n)) AS s\n\
             CROSS JOIN LATERAL web.tag_row(ROW(s.\"b\", NULL, NULL)::\"public\".\"orders\", \
             '{\"add\":5,\"tag\":\"it''s\"}'::pg_catalog.json) AS r"
        );
        for name in ["f", "s.f", "\"S\".\"f g\"", " f "] {
            assert!(function_name(name).is_ok(), "{name}");
        }
        for name in ["", "f()", "f(", "s.", ".f", "f g", "\"f", "f; drop", "1f", "\"a\"b"] {
            assert!(function_name(name).is_err(), "{name}");
        }
    }
}
