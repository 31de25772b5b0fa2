//! The columns of a job by their names: which are meant, and which are left alone.

use super::schemas::table_oid;
use crate::pg::caught::Level;
use crate::pg::fdw::{Table, relation_columns};
use crate::pg::spi;
use crate::pg::tx::Tx;
use gpss_model::config::{Column, IGNORED, LoadConfig};
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::job::{JobSpec, Mode, RowOf, TableName, TargetSpec, Transformer};
use gpss_model::names;
use gpss_model::statement::{
    TargetColumn, is_ignored, mapping_of_same_names, qualified, quote_ident, same_name,
};

/// Names of more columns than these are not listed.
const MAX_LISTED: usize = 20;

/// The configuration with the value described, where it does not do that itself: by the columns of its one
/// table.
pub fn described(tx: &Tx, config: &LoadConfig, targets: &[TableName]) -> Result<LoadConfig> {
    let mut config = config.clone();
    let kafka = &mut config.source;
    let (Some(value), [target]) = (&mut kafka.value, targets) else { return Ok(config) };
    if value.columns.is_empty() {
        let key = kafka.key.iter().flat_map(|side| &side.columns);
        let others: Vec<&Column> = key.chain(&kafka.meta).collect();
        value.columns = relation_columns(table_oid(tx, target)?)
            .into_iter()
            .filter(|c| !c.generated && others.iter().all(|other| other.name != c.name))
            .map(|c| Column { name: c.name, type_name: c.type_name })
            .collect();
    }
    Ok(config)
}

/// Makes the names in a job those of its tables' columns, and gives outputs without a mapping the one
/// of columns of the same name.
pub fn settle(tx: &Tx, spec: &mut JobSpec) -> Result<()> {
    let source = source_columns(tx, spec)?;
    for output in &mut spec.outputs {
        let target_oid = table_oid(tx, &output.target)?;
        let target = relation_columns(target_oid);
        let settle = |name: &mut String| {
            if let Some(meant) = names::meant(name, target.iter().map(|c| c.name.as_str())) {
                *name = meant.to_owned();
            }
        };
        match (&mut output.mapping, &mut output.transformer) {
            (Some(mapping), _) => mapping.iter_mut().for_each(|m| settle(&mut m.column)),
            (None, Some(transformer)) => {
                transformer.columns.iter_mut().for_each(settle);
                transformer.input = input_of(tx, transformer, &source, &target)?;
            }
            (None, None) => {
                output.mapping = Some(mapping_of_same_names(&output.target, &source, &target)?);
            }
        }
        if let Mode::Update(keys) | Mode::Merge(keys) = &mut output.mode {
            let lists =
                [&mut keys.match_columns, &mut keys.update_columns, &mut keys.order_columns];
            lists.into_iter().flatten().for_each(settle);
        }
    }
    Ok(())
}

fn source_columns(tx: &Tx, spec: &JobSpec) -> Result<Vec<String>> {
    let columns = relation_columns(table_oid(tx, &spec.source)?);
    Ok(columns.into_iter().map(|column| column.name).collect())
}

/// Which row a transformer wants. Its declaration tells unless any row goes in and another type comes
/// out: then its code does, by the source columns it reads that the target lacks.
fn input_of(
    tx: &Tx,
    transformer: &Transformer,
    source: &[String],
    target: &[TargetColumn],
) -> Result<RowOf> {
    let sql =
        "SELECT p.proargtypes[0], p.prorettype, p.proargnames[1]::text, p.prosrc, l.lanname::text
        FROM pg_catalog.pg_proc p
        JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang
        WHERE p.oid OPERATOR(pg_catalog.=) pg_catalog.to_regproc($1)::pg_catalog.oid";
    let name = transformer.function.as_str();
    let found = spi::select(tx, sql, &[name.into()], |row| {
        Ok(Function {
            takes: row.get(1)?,
            returns: row.get(2)?,
            argument: row.get(3)?,
            code: row.get(4)?,
            language: row.get(5)?,
        })
    })?;
    let lacking = source.iter().filter(|name| target.iter().all(|c| c.name != names::folded(name)));
    Ok(match found.into_iter().next() {
        Some(function) if function.reads(lacking.map(String::as_str)) => RowOf::Source,
        _ => RowOf::Target,
    })
}

/// The composite type that a transformer's first argument has; None for other types and without such a function.
pub fn row_taken(tx: &Tx, transformer: &Transformer) -> Result<Option<String>> {
    let sql = "SELECT pg_catalog.format_type(t.oid, NULL)
        FROM pg_catalog.pg_proc p
        JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) p.proargtypes[0]
        WHERE p.oid OPERATOR(pg_catalog.=) pg_catalog.to_regproc($1)::pg_catalog.oid
          AND t.typtype OPERATOR(pg_catalog.=) 'c'";
    let found = spi::select(tx, sql, &[transformer.function.as_str().into()], |row| row.get(1))?;
    Ok(found.into_iter().next())
}

struct Function {
    takes: pgrx::pg_sys::Oid,
    returns: pgrx::pg_sys::Oid,
    /// The first argument's name.
    argument: Option<String>,
    code: String,
    language: String,
}

impl Function {
    /// Does it take any row, return one of a certain type, and read one of these columns?
    fn reads<'a>(&self, mut columns: impl Iterator<Item = &'a str>) -> bool {
        use pgrx::pg_sys::{ANYELEMENTOID, ANYNONARRAYOID, RECORDOID};
        let any = [ANYELEMENTOID, ANYNONARRAYOID, RECORDOID];
        if !any.contains(&self.takes) || any[..2].contains(&self.returns) {
            return false;
        }
        let code = self.code.to_ascii_lowercase();
        if !["sql", "plpgsql"].contains(&self.language.as_str()) {
            return columns.any(|column| has_word(&code, &names::folded(column), |_| true));
        }
        let mut rows = vec!["$1".to_owned(), "($1)".to_owned()];
        if let Some(argument) = &self.argument {
            let argument = names::folded(argument);
            rows.extend([format!("\"{argument}\""), format!("({argument})"), argument]);
        }
        columns.any(|column| {
            has_word(&code, &names::folded(column), |before| {
                let before = before.strip_suffix('"').unwrap_or(before).trim_end();
                before.strip_suffix('.').is_some_and(|row| {
                    let row = row.trim_end();
                    rows.iter().any(|name| {
                        row.strip_suffix(name.as_str()).is_some_and(|rest| !rest.ends_with(is_word))
                    })
                })
            })
        })
    }
}

/// Does the word stand in the text where what comes before it is as wanted?
fn has_word(text: &str, word: &str, before: impl Fn(&str) -> bool) -> bool {
    !word.is_empty()
        && text.match_indices(word).any(|(at, _)| {
            let (start, end) = (text.get(..at).unwrap_or_default(), text.get(at + word.len()..));
            !start.ends_with(is_word)
                && !end.is_some_and(|end| end.starts_with(is_word))
                && before(start)
        })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$')
}

/// What a job whose columns go by their names leaves alone: columns of the message that go nowhere, and
/// columns of its tables that nothing fills. Nobody has said that this shall be so.
pub fn left_alone(tx: &Tx, spec: &JobSpec) -> Result<Vec<(Level, Error)>> {
    let source = source_columns(tx, spec)?;
    let mut remarks = vec![];
    if spec.outputs.iter().all(|output| goes_by_name(output, &source)) {
        remarks.extend(going_nowhere(tx, spec)?.map(|remark| (Level::Warning, remark)));
    }
    for output in spec.outputs.iter().filter(|output| goes_by_name(output, &source)) {
        let target = relation_columns(table_oid(tx, &output.target)?);
        let unfilled = target
            .iter()
            .filter(|c| !c.generated && !c.default && same_name(&source, c).is_none())
            .map(|c| c.name.as_str());
        remarks.extend(listed(unfilled).map(|names| {
            let message = format!("nothing fills {names} of table {}", qualified(&output.target));
            let detail = "No source column has the same name, and there is no default.";
            (Level::Notice, Error::new(SqlState::SUCCESS, message).detail(detail))
        }));
    }
    Ok(remarks)
}

fn going_nowhere(tx: &Tx, spec: &JobSpec) -> Result<Option<Error>> {
    let filters = || [&spec.filter].into_iter().chain(spec.outputs.iter().map(|o| &o.filter));
    let is_used = |name: &str| {
        let quoted = quote_ident(name);
        let mut mapping = spec.outputs.iter().flat_map(|output| output.mapping.iter().flatten());
        mapping.any(|m| m.expression == quoted)
            || filters()
                .flatten()
                .any(|filter| has_word(&filter.to_lowercase(), &name.to_lowercase(), |_| true))
    };
    let table = Table::load(table_oid(tx, &spec.source)?);
    let of_message = |source: Option<&str>| {
        matches!(source, None | Some("value" | "field" | "key" | "key_field"))
    };
    let unused = table
        .columns
        .iter()
        .filter(|c| of_message(c.option("source")) && !is_ignored(&c.name))
        .map(|c| c.name.as_str())
        .filter(|name| !is_used(name));
    let unused: Vec<&str> = unused.collect();
    Ok(listed(unused.iter().copied()).map(|names| {
        let tables: Vec<String> = spec.outputs.iter().map(|o| qualified(&o.target)).collect();
        let plural = if tables.len() == 1 { "Table" } else { "None of the tables" };
        let (verb, it) = if unused.len() == 1 { ("goes", "it") } else { ("go", "them") };
        Error::new(SqlState::WARNING, format!("source {names} {verb} nowhere"))
            .detail(format!("{plural} {} has no column of the same name.", tables.join(", ")))
            .hint(format!(
                "Map {it}, or leave {it} out; in formats csv, text and delimited the name {IGNORED} does that."
            ))
    }))
}

/// Is its mapping that of the columns of the same names?
fn goes_by_name(output: &TargetSpec, source: &[String]) -> bool {
    output.mapping.as_ref().is_some_and(|mapping| {
        mapping.iter().all(|m| source.iter().any(|name| m.expression == quote_ident(name)))
    })
}

/// `column "a"`, `columns "a", "b"`; None for none.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut names: Vec<String> = names.map(quote_ident).collect();
    let plural = if names.len() == 1 { "column" } else { "columns" };
    let more = names.len().saturating_sub(MAX_LISTED);
    names.truncate(MAX_LISTED);
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    (!names.is_empty()).then(|| format!("{plural} {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgrx::pg_sys;

    fn function(argument: Option<&str>, language: &str, code: &str) -> Function {
        Function {
            takes: pg_sys::ANYELEMENTOID,
            returns: pg_sys::Oid::from(70_000),
            argument: argument.map(str::to_owned),
            code: code.to_owned(),
            language: language.to_owned(),
        }
    }

    #[test]
    fn code_tells_which_row_a_function_reads() {
        let reads = |argument, language, code| {
            function(argument, language, code).reads(["cust_id", "Amount"].into_iter())
        };
        for code in [
            "r.id := s.cust_id;",
            "SELECT (s).cust_id",
            "$1.CUST_ID + 1",
            "s.\"Amount\"",
            "S . amount",
        ] {
            assert!(reads(Some("s"), "plpgsql", code), "{code}");
        }
        for code in
            ["s.id", "s.cust_id2", "ss.cust_id", "r.cust_id", "-- cust_id", "s.id = cust_id"]
        {
            assert!(!reads(Some("s"), "plpgsql", code), "{code}");
        }
        assert!(reads(None, "plpython3u", "return [s['cust_id']]"));
        let mut same = function(Some("s"), "sql", "s.cust_id");
        same.returns = pg_sys::ANYELEMENTOID;
        assert!(!same.reads(["cust_id"].into_iter()));
    }

    #[test]
    fn lists_of_names() {
        assert_eq!(listed(["a"].into_iter()).unwrap(), "column \"a\"");
        assert_eq!(listed(["a", "b"].into_iter()).unwrap(), "columns \"a\", \"b\"");
        assert_eq!(listed([].into_iter()), None);
        let many: Vec<String> = (0..25).map(|i| format!("c{i}")).collect();
        let text = listed(many.iter().map(String::as_str)).unwrap();
        assert!(text.ends_with("\"c19\", and 5 more"), "{text}");
    }
}
