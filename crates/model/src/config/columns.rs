//! The columns that a message fills: their names and types, and which a format allows.

use super::Column;
use super::tree::{Location, Value};
use super::value::{column_name, filled};
use crate::error::Result;
use crate::format::Format;
use std::collections::HashSet;

/// A column of this name stands for a field of the message that is skipped.
pub const IGNORED: &str = "__IGNORED__";

/// The names of columns so far: those of value, key and metadata are columns of one table.
#[derive(Debug, Default)]
pub(super) struct Seen(HashSet<String>);

impl Seen {
    /// # Errors
    /// The name is there already.
    pub(super) fn add(&mut self, name: &str, place: &Location) -> Result<()> {
        if name == IGNORED || self.0.insert(name.to_owned()) {
            return Ok(());
        }
        Err(place
            .error("names a column a second time")
            .detail("The columns of the value, the key and the metadata are columns of one table."))
    }
}

/// COLUMNS: a list of names, and SQL types that are PostgreSQL's to understand.
pub(super) fn list(value: Value, seen: &mut Seen) -> Result<Vec<Column>> {
    let place = value.place();
    let columns =
        value.list()?.into_iter().map(|item| one(item, seen)).collect::<Result<Vec<_>>>()?;
    if columns.is_empty() {
        return Err(place.error("names no column"));
    }
    Ok(columns)
}

/// NAME and TYPE.
pub(super) fn one(value: Value, seen: &mut Seen) -> Result<Column> {
    let mut item = value.map()?;
    let name = item.require("NAME")?;
    let type_name = filled(item.require("TYPE")?)?;
    item.finish()?;
    let place = name.place();
    let name = column_name(name)?;
    seen.add(&name, &place)?;
    Ok(Column { name, type_name })
}

/// The column of a message for which none is described; None: the format needs a description.
pub(super) fn default_type(format: Format) -> Option<&'static str> {
    match format {
        Format::Binary => Some("bytea"),
        _ if format.is_document() => Some("json"),
        _ => None,
    }
}

/// Whether the format can fill these columns; `place` is where they are described.
pub(super) fn check(format: Format, columns: &[Column], place: &Location) -> Result<()> {
    let ignored = columns.iter().filter(|column| column.name == IGNORED).count();
    if ignored > 0 && !format.is_positional() {
        return Err(place
            .invalid(&format!("names {IGNORED}, but format {} has no positions", format.name()))
            .hint("Leave out the fields that are not needed."));
    }
    if ignored == columns.len() {
        return Err(place.error(&format!("names no column but {IGNORED}")));
    }
    match columns {
        [column] if format == Format::Binary && is_type(column, &["bytea"]) => Ok(()),
        _ if format == Format::Binary => {
            Err(place.invalid("must name exactly one column of type bytea for format binary"))
        }
        _ => Ok(()),
    }
}

/// Whether the column's type is one of these, as PostgreSQL compares names of types.
pub(super) fn is_type(column: &Column, names: &[&str]) -> bool {
    names.iter().any(|name| name.eq_ignore_ascii_case(&column.type_name))
}
