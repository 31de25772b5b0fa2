//! One table that is loaded into, and how; the versions share all keys but those of the mode.

use super::tree::{Map, Value};
use super::value::{self, choice, column_name, filled, names, sql};
use super::{Target, name};
use crate::error::Result;
use crate::job::{Mapping, Matching, Mode, TargetSpec, Transformer};
use std::collections::HashSet;

const MODES: [&str; 3] = ["insert", "update", "merge"];
const UNKNOWN_MODE: &str = "must be insert, update or merge";
/// The keys of modes update and merge.
const MATCHING: [&str; 5] =
    ["MATCH_COLUMNS", "ORDER_COLUMNS", "UPDATE_COLUMNS", "UPDATE_CONDITION", "DELETE_CONDITION"];

/// OUTPUT, or one of OUTPUTS.
pub(super) fn v2(value: Value, notices: &mut Vec<String>) -> Result<TargetSpec<Target>> {
    read(value, notices, |map, notices| {
        let name = match map.take("MODE")? {
            Some(value) => choice(value, &MODES, UNKNOWN_MODE)?,
            None => "insert",
        };
        mode(name, map, notices)
    })
}

/// One of `tables` of version v3.
pub(super) fn v3(value: Value, notices: &mut Vec<String>) -> Result<TargetSpec<Target>> {
    read(value, notices, |map, notices| match map.take("MODE")? {
        Some(value) => mode_v3(value, notices),
        None => Ok(Mode::Insert),
    })
}

fn read(
    value: Value,
    notices: &mut Vec<String>,
    mode: impl Fn(&mut Map, &mut Vec<String>) -> Result<Mode>,
) -> Result<TargetSpec<Target>> {
    let mut map = value.map()?;
    let schema = map.take("SCHEMA")?.map(column_name).transpose()?;
    let target = target(schema, map.require("TABLE")?)?;
    let mode = mode(&mut map, notices)?;
    let transformer = match map.take("TRANSFORMER")? {
        Some(value) => Some((value.place(), transformer(value, notices)?)),
        None => None,
    };
    let mapping = map.take("MAPPING")?.map(mapping).transpose()?;
    if let (Some((place, _)), Some(_)) = (&transformer, &mapping) {
        return Err(place
            .error(&format!("cannot stand beside {}", place.spelled("MAPPING")))
            .hint(
                "The function gets the source's columns that have the names of target columns.",
            ));
    }
    let filter = map.take("FILTER")?.map(sql).transpose()?;
    map.finish()?;
    let transformer = transformer.map(|(_, transformer)| transformer);
    Ok(TargetSpec { target, mode, mapping, transformer, filter })
}

/// TABLE, and the schema it may carry when SCHEMA is absent.
fn target(schema: Option<String>, value: Value) -> Result<Target> {
    let place = value.place();
    let mut parts =
        name::parts(&value.text()?).ok_or_else(|| place.invalid("is not a table name"))?;
    match (parts.pop(), parts.pop(), parts.is_empty()) {
        (Some(table), None, true) => Ok(Target { schema, table }),
        (Some(_), Some(_), true) if schema.is_some() => Err(place
            .invalid(&format!("names a schema although {} does", place.spelled("SCHEMA")))
            .hint("Remove one of them, or put a table name that holds a dot in double quotes.")),
        (Some(table), own, true) => Ok(Target { schema: own, table }),
        _ => Err(place.invalid("is not a table name")),
    }
}

/// `{<mode>: {…}}`, or the mode alone.
fn mode_v3(value: Value, notices: &mut Vec<String>) -> Result<Mode> {
    let place = value.place();
    if !value.is_map() {
        let name = choice(value, &MODES, UNKNOWN_MODE)?;
        return match name {
            "insert" => Ok(Mode::Insert),
            _ => Err(place
                .lacks("MATCH_COLUMNS")
                .hint(format!("Write {name}: {{match_columns: [...], update_columns: [...]}}."))),
        };
    }
    let mut map = value.map()?;
    let mut chosen = None;
    for name in MODES {
        if !map.has(name) {
            continue;
        }
        let mut keys = map.require_any(name)?.map_or_empty()?;
        if chosen.is_some() {
            return Err(keys.place().error("is a second mode"));
        }
        chosen = Some(mode(name, &mut keys, notices)?);
        keys.finish()?;
    }
    map.finish()?;
    chosen.ok_or_else(|| place.error("names no mode"))
}

/// The mode of that name, with its keys out of `keys`.
fn mode(name: &str, keys: &mut Map, notices: &mut Vec<String>) -> Result<Mode> {
    if name == "insert" {
        keys.unused(&MATCHING, "it has no meaning in mode insert", notices)?;
        return Ok(Mode::Insert);
    }
    let match_columns = names(keys.require("MATCH_COLUMNS")?)?;
    let order_columns = keys.take("ORDER_COLUMNS")?.map(names).transpose()?.unwrap_or_default();
    let update_columns = names(keys.require("UPDATE_COLUMNS")?)?;
    let update_condition = keys.take("UPDATE_CONDITION")?.map(sql).transpose()?;
    let delete_condition = keys.take("DELETE_CONDITION")?;
    if let Some(value) = delete_condition.as_ref().filter(|_| name == "update") {
        let error = value.place().error("has no meaning in mode update");
        return Err(error.hint("Rows are deleted in mode merge only."));
    }
    let delete_condition = delete_condition.map(sql).transpose()?;
    let matching = Matching {
        match_columns,
        order_columns,
        update_columns,
        update_condition,
        delete_condition,
    };
    Ok(if name == "update" { Mode::Update(matching) } else { Mode::Merge(matching) })
}

/// MAPPING as a list of NAME and EXPRESSION, or as a mapping from one to the other.
fn mapping(value: Value) -> Result<Vec<Mapping>> {
    let place = value.place();
    let mut pairs = Vec::new();
    if value.is_map() {
        for (key, expression) in value.map()?.into_pairs() {
            let malformed = || expression.place().invalid("is not a column name");
            pairs.push((name::single(&key).ok_or_else(malformed)?, expression));
        }
    } else {
        for item in value.list()? {
            let mut item = item.map()?;
            let column = column_name(item.require("NAME")?)?;
            let expression = item.require_any("EXPRESSION")?;
            item.finish()?;
            pairs.push((column, expression));
        }
    }
    if pairs.is_empty() {
        return Err(place.error("names no column"));
    }
    let mut seen = HashSet::new();
    let mut mapping = Vec::new();
    for (column, expression) in pairs {
        if !seen.insert(column.clone()) {
            return Err(expression.place().error("is for a column that is mapped already"));
        }
        mapping.push(Mapping { column, expression: value::expression(expression)? });
    }
    Ok(mapping)
}

/// TRANSFORMER of a table: an SQL function.
fn transformer(value: Value, notices: &mut Vec<String>) -> Result<Transformer> {
    let mut map = value.map()?;
    let function = filled(map.require("TRANSFORM")?)?;
    let properties = map.take("PROPERTIES")?.map(|value| value.map()?.json()).transpose()?;
    let columns = map.take("COLUMNS")?.map(names).transpose()?;
    // GPSS documents them here by mistake: they belong to the plugin of INPUT.
    map.unused(&["PATH", "ON_INIT"], "TRANSFORM is an SQL function here", notices)?;
    map.finish()?;
    let properties = properties.unwrap_or_default();
    let columns = columns.unwrap_or_default();
    Ok(Transformer { function, properties, columns, input: Default::default() })
}
