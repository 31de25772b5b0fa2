//! A message's value, key and metadata: format, options and columns, in the shapes of the versions.

use super::columns::{self, IGNORED, Seen};
use super::tree::{Location, Map, Value};
use super::{Column, Side, options, value};
use crate::error::{Error, Result};
use crate::format::{FORMATS, Format, FormatSpec};
use crate::suggest;

/// What the one column of the value is called when none is described, and that of the key.
pub(super) const VALUE: &str = "value";
pub(super) const KEY: &str = "key";

/// Takes COLUMNS, FORMAT and the option block of versions 1 and 2. Without COLUMNS, the one column
/// of the message is called `default_name`.
pub(super) fn take_v2(map: &mut Map, default_name: &str, seen: &mut Seen) -> Result<Side> {
    let value = map.require("FORMAT")?;
    let place = value.place();
    let format = format(&value.text()?, &place)?;
    let columns = map.take("COLUMNS")?;
    let columns = match columns {
        Some(value) => Some((value.place(), columns::list(value, seen)?)),
        None => None,
    };
    let columns = complete(format, columns, default_name, map, seen)?;
    let mut content = FormatSpec::new(format);
    let mut own = None;
    if let Some((name, _)) = format.info().option_block {
        map.has_deeper(name, options::keys_v2(format));
    }
    let blocks = FORMATS.iter().filter_map(|info| Some((info.format, info.option_block?)));
    for (of, (name, required)) in blocks {
        match map.take(name)? {
            Some(value) if of == format => own = Some(value),
            Some(value) => return Err(foreign_block(&value.place(), of, format)),
            None if of == format && required => return Err(map.missing(name)),
            None => {}
        }
    }
    if let Some(value) = own {
        let mut block = value.map()?;
        options::take_v2(&mut block, &mut content)?;
        block.finish()?;
    }
    Ok(Side { content, columns })
}

/// An option block of another format than the one that is chosen.
fn foreign_block(place: &Location, of: Format, format: Format) -> Error {
    let hint = match format.info().option_block {
        Some((own, _)) => format!("The options of format {} are in {own}.", format.name()),
        None if of == Format::Jsonl => {
            "Messages of several documents have format jsonl.".to_owned()
        }
        None => format!("Format {} takes no options: remove the key.", format.name()),
    };
    place.error(&format!("does not belong to format {}", format.name())).hint(hint)
}

/// VALUE or KEY of version 2.
pub(super) fn v2(value: Value, default_name: &str, seen: &mut Seen) -> Result<Side> {
    let mut map = value.map()?;
    let side = take_v2(&mut map, default_name, seen)?;
    map.finish()?;
    Ok(side)
}

/// value_content or key_content of version v3: `{<format>: {…}}`.
pub(super) fn v3(
    value: Value,
    default_name: &str,
    seen: &mut Seen,
    notices: &mut Vec<String>,
) -> Result<Side> {
    let (mut format, mut block) = named_block(value)?;
    if format == Format::Json
        && let Some(value) = block.take("IS_JSONL")?
        && value::boolean(value)?
    {
        format = Format::Jsonl;
    }
    if format == Format::Json {
        block.unused(&["NEWLINE"], "it has a meaning with is_jsonl only", notices)?;
    }
    let columns = columns_v3(format, &mut block, default_name, seen)?;
    let mut content = FormatSpec::new(format);
    options::take_v3(&mut block, &mut content)?;
    block.finish()?;
    Ok(Side { content, columns })
}

/// The columns of a format of version v3: `columns`; for formats of one document `column`; for
/// those whose column has a type of its own `source_column_name`.
fn columns_v3(
    format: Format,
    block: &mut Map,
    default_name: &str,
    seen: &mut Seen,
) -> Result<Vec<Column>> {
    let one = if format.is_document() { block.take("COLUMN")? } else { None };
    let name = match format {
        Format::Avro | Format::Binary | Format::Protobuf => block.take("SOURCE_COLUMN_NAME")?,
        _ => None,
    };
    let list = block.take("COLUMNS")?;
    let second = [&one, &name, &list].into_iter().flatten().nth(1).map(Value::place);
    if let Some(place) = second {
        return Err(place.error("describes the columns a second time"));
    }
    let columns = match (one, name, list) {
        (Some(value), ..) => Some((value.place(), vec![columns::one(value, seen)?])),
        (_, Some(value), _) => {
            let place = value.place();
            let name = value::column_name(value)?;
            seen.add(&name, &place)?;
            let type_name = columns::default_type(format).unwrap_or("json").to_owned();
            Some((place, vec![Column { name, type_name }]))
        }
        (.., Some(value)) => Some((value.place(), columns::list(value, seen)?)),
        _ => None,
    };
    complete(format, columns, default_name, block, seen)
}

/// The columns as they are described, or the format's own; `map` is what lacks a description.
fn complete(
    format: Format,
    described: Option<(Location, Vec<Column>)>,
    default_name: &str,
    map: &Map,
    seen: &mut Seen,
) -> Result<Vec<Column>> {
    match (described, columns::default_type(format)) {
        (Some((place, columns)), _) => {
            columns::check(format, &columns, &place)?;
            Ok(columns)
        }
        (None, Some(type_name)) => {
            seen.add(default_name, &map.place())?;
            Ok(vec![Column { name: default_name.to_owned(), type_name: type_name.to_owned() }])
        }
        // The target's, which are not known here.
        (None, None) if format.is_positional() && default_name == VALUE => Ok(vec![]),
        (None, None) => Err(map
            .missing("COLUMNS")
            .detail(format!("Format {} has no columns of its own.", format.name()))),
    }
}

/// META of version 2: `{COLUMNS, FORMAT: json}`.
pub(super) fn meta_v2(value: Value, seen: &mut Seen) -> Result<Column> {
    let mut map = value.map()?;
    if let Some(value) = map.take("FORMAT")? {
        value::choice(value, &["json"], "must be json")?;
    }
    let columns = map.take("COLUMNS")?;
    let place = columns.as_ref().map_or_else(|| map.place(), Value::place);
    let columns = columns.map(|value| columns::list(value, seen)).transpose()?;
    map.finish()?;
    meta(columns, &place, seen)
}

/// meta of version v3: `{json: {column: {…}}}`.
pub(super) fn meta_v3(value: Value, seen: &mut Seen) -> Result<Column> {
    let (format, mut block) = named_block(value)?;
    if format != Format::Json {
        return Err(block.place().invalid("must be json"));
    }
    let column = block.take("COLUMN")?;
    let place = column.as_ref().map_or_else(|| block.place(), Value::place);
    let column = column.map(|value| columns::one(value, seen)).transpose()?;
    block.finish()?;
    meta(column.map(|column| vec![column]), &place, seen)
}

fn meta(columns: Option<Vec<Column>>, place: &Location, seen: &mut Seen) -> Result<Column> {
    let Some(columns) = columns else {
        seen.add("meta", place)?;
        return Ok(Column { name: "meta".to_owned(), type_name: "json".to_owned() });
    };
    match <[Column; 1]>::try_from(columns) {
        Ok([column]) if columns::is_type(&column, &["json", "jsonb"]) && column.name != IGNORED => {
            Ok(column)
        }
        _ => Err(place.invalid("must name exactly one column of type json or jsonb")),
    }
}

/// `{<format>: {…}}`
fn named_block(value: Value) -> Result<(Format, Map)> {
    let place = value.place();
    let pairs = value.map()?.into_pairs();
    let Ok([(name, block)]) = <[(String, Value); 1]>::try_from(pairs) else {
        return Err(place.error("must name exactly one format"));
    };
    let format = format(&name, &block.place())?;
    Ok((format, block.map_or_empty()?))
}

fn format(name: &str, place: &Location) -> Result<Format> {
    let name = name.trim().to_ascii_lowercase();
    Format::by_name(&name).ok_or_else(|| {
        let formats =
            format!("The formats are: {}.", Format::names().collect::<Vec<_>>().join(", "));
        place.invalid("names an unknown format").hint(match suggest::hint(&name, Format::names()) {
            Some(hint) => format!("{hint} {formats}"),
            None => formats,
        })
    })
}
