//! What each column of a foreign table holds, by its options and the formats of value and key, and
//! what the decoders have to deliver for it.

use crate::pg::datum;
use crate::pg::fdw::{Column, JsonCall, Table};
use gpss_format::{Cast, JsonField, Step};
use gpss_model::block::Side;
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::format::{self, Format, FormatSpec, Records};
use pgrx::pg_sys;

/// Where a column's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnSource {
    /// The message's value or key as a whole: its bytes, or the document that it holds.
    Whole(Side),
    /// A member of the JSON document.
    Member(Side, String),
    /// A member of the document as the bytes it is, not as JSON would have to write them: its place
    /// in `Layout::raw`.
    Raw(Side, usize),
    /// A field of the record, by its position.
    Position(Side, usize),
    /// A column of the rows that the format's function returns.
    Returned(Side, String),
    /// Topic, partition, offset, timestamp and headers as one JSON object (GPSS: META).
    Meta,
    Topic,
    Partition,
    Offset,
    Timestamp,
    Headers,
    /// Why the message does not parse; NULL when it does.
    Error,
}

/// The formats of a foreign table and what its columns hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Of value and key; None: not decoded.
    pub contents: [Option<FormatSpec>; 2],
    /// In the order of the table's columns.
    pub sources: Vec<ColumnSource>,
    /// The members that bytea columns take of a document of a format that has bytes.
    pub raw: [Vec<String>; 2],
}

impl Layout {
    /// By the options `format` and `key_format` of the table with those that belong to them, and
    /// `source` and `field` of the columns. A column without them is the field of the value of its own
    /// name or, where fields have no names, its own place. But the only such column of a table is the
    /// whole document if it is json or jsonb, as in a GPSS configuration.
    ///
    /// # Errors
    /// Options that do not go together.
    pub fn of(table: &Table) -> Result<Layout> {
        let mut layout = Layout::of_options(&table.options, &table.columns)?;
        for content in layout.contents.iter_mut().flatten().filter(|c| !c.has_schema()) {
            for (name, value) in &table.server_options {
                content.set_default(name, value);
            }
        }
        Ok(layout)
    }

    /// The same by a table's options and columns.
    ///
    /// # Errors
    /// As `of`.
    pub fn of_options(options: &[(String, String)], columns: &[Column]) -> Result<Layout> {
        let contents = contents(options)?;
        let mut layout = Layout { contents, sources: vec![], raw: Default::default() };
        let mut next = [0, 0];
        let named = |c: &Column| c.option("source").is_some() || c.option("field").is_some();
        let only = columns.iter().filter(|c| !named(c)).count() == 1;
        for column in columns {
            let source = match column.option("source") {
                Some("value") => ColumnSource::Whole(Side::Value),
                Some("key") => ColumnSource::Whole(Side::Key),
                Some("meta") => ColumnSource::Meta,
                Some("topic") => ColumnSource::Topic,
                Some("partition") => ColumnSource::Partition,
                Some("offset") => ColumnSource::Offset,
                Some("timestamp") => ColumnSource::Timestamp,
                Some("headers") => ColumnSource::Headers,
                Some("error") => ColumnSource::Error,
                Some("key_field") => layout.field(Side::Key, column, &mut next)?,
                None if only
                    && !named(column)
                    && is_json(column)
                    && layout.format(Side::Value).is_some_and(Format::is_document) =>
                {
                    ColumnSource::Whole(Side::Value)
                }
                Some(_) | None => layout.field(Side::Value, column, &mut next)?,
            };
            layout.sources.push(source);
        }
        Ok(layout)
    }

    /// What a column holds that takes a field of one side.
    fn field(
        &mut self,
        side: Side,
        column: &Column,
        next: &mut [usize; 2],
    ) -> Result<ColumnSource> {
        let name = || column.option("field").unwrap_or(&column.name).to_owned();
        let Some(format) = self.format(side) else {
            return Err(Error::new(
                SqlState::INVALID_PARAMETER,
                format!("column \"{}\" takes a field of the key, which has no format", column.name),
            )
            .hint("Set the table option key_format, or take the whole key with source 'key'."));
        };
        let info = format.info();
        Ok(match info.records {
            Records::Bytes => ColumnSource::Whole(side),
            Records::Returned => ColumnSource::Returned(side, name()),
            Records::Fields => {
                next[side as usize] += 1;
                ColumnSource::Position(side, next[side as usize] - 1)
            }
            // Bytes of a document that is made come as they are.
            Records::Documents if info.has_schemas && column.type_oid == pg_sys::BYTEAOID => {
                let raw = &mut self.raw[side as usize];
                let place = raw.iter().position(|known| *known == name());
                ColumnSource::Raw(
                    side,
                    place.unwrap_or_else(|| {
                        raw.push(name());
                        raw.len() - 1
                    }),
                )
            }
            Records::Documents => ColumnSource::Member(side, name()),
        })
    }

    /// The names of the fields of a side's records, by position.
    pub fn field_names(&self, side: Side, columns: &[Column]) -> Vec<String> {
        let here = |(source, column): (&ColumnSource, &Column)| {
            matches!(source, ColumnSource::Position(of, _) if *of == side)
                .then(|| column.name.clone())
        };
        self.sources.iter().zip(columns).filter_map(here).collect()
    }

    /// Does a column take what the side holds as it is?
    pub fn takes_whole(&self, side: Side) -> bool {
        self.sources.contains(&ColumnSource::Whole(side))
    }

    /// The members that the side's columns are named after, where a document without any of them is not
    /// what the table was made for. A table that has the document in a column takes whatever it is.
    pub fn required(&self, side: Side) -> Vec<String> {
        let content = self.contents[side as usize].as_ref();
        let strict = content.is_some_and(|content| {
            content.format.info().wants_members && !content.is_on("fill_missing_fields")
        });
        if !strict || self.takes_whole(side) {
            return vec![];
        }
        let named = self.sources.iter().filter_map(|source| match source {
            ColumnSource::Member(of, name) if *of == side => Some(name.clone()),
            _ => None,
        });
        named.chain(self.raw[side as usize].iter().cloned()).collect()
    }

    /// The place of a column among those that its side's function returns.
    pub fn returned_place(&self, source: &ColumnSource) -> usize {
        let ColumnSource::Returned(side, _) = source else { return usize::MAX };
        let mut same = self
            .sources
            .iter()
            .filter(|other| matches!(other, ColumnSource::Returned(of, _) if of == side));
        same.position(|other| other == source).unwrap_or(usize::MAX)
    }

    /// Are fields told apart by their names only, so that a block that was decoded for other columns
    /// can be decoded again?
    pub fn is_by_name(&self) -> bool {
        self.format(Side::Value) == Some(Format::Json) && self.format(Side::Key).is_none()
    }

    /// Are rows made by functions of the user's (format custom)?
    pub fn calls_functions(&self) -> bool {
        Side::BOTH.into_iter().any(|side| self.format(side) == Some(Format::Custom))
    }

    pub fn format(&self, side: Side) -> Option<Format> {
        self.contents[side as usize].as_ref().map(|content| content.format)
    }
}

/// The formats of value and key by a table's options.
///
/// # Errors
/// `INVALID_PARAMETER`: an option of a format that the table does not have.
pub fn contents(options: &[(String, String)]) -> Result<[Option<FormatSpec>; 2]> {
    let get = |name: &str| options.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    let value = Format::by_name(get("format").unwrap_or("json")).unwrap_or(Format::Json);
    let key = get("key_format").and_then(Format::by_name);
    let mut contents = [Some(FormatSpec::new(value)), key.map(FormatSpec::new)];
    for (name, value) in options {
        let (side, own) = match name.strip_prefix("key_") {
            Some(own) => (Side::Key, own),
            None => (Side::Value, name.as_str()),
        };
        if format::option(own).is_none() {
            continue;
        }
        match &mut contents[side as usize] {
            Some(content) => content.set(own, value)?,
            None => {
                return Err(Error::new(
                    SqlState::INVALID_PARAMETER,
                    format!("option \"{name}\" needs the option \"key_format\""),
                ));
            }
        }
    }
    Ok(contents)
}

pub fn is_json(column: &Column) -> bool {
    [pg_sys::JSONOID, pg_sys::JSONBOID].contains(&column.type_oid)
}

/// The conversion that the decoder does for a scan of this session.
pub fn conversion(type_oid: pg_sys::Oid) -> Option<Cast> {
    let in_time = |cast: &Cast| matches!(cast, Cast::Timestamp | Cast::Timestamptz);
    cast_to(type_oid).filter(|cast| !in_time(cast) || datum::z_means_utc())
}

/// The conversion that the decoder can do for a type without modifier.
pub fn cast_to(type_oid: pg_sys::Oid) -> Option<Cast> {
    Some(match type_oid {
        pg_sys::BOOLOID => Cast::Bool,
        pg_sys::INT2OID => Cast::Int2,
        pg_sys::INT4OID => Cast::Int4,
        pg_sys::INT8OID => Cast::Int8,
        pg_sys::FLOAT4OID => Cast::Float4,
        pg_sys::FLOAT8OID => Cast::Float8,
        pg_sys::NUMERICOID => Cast::Numeric,
        pg_sys::DATEOID => Cast::Date,
        pg_sys::TIMESTAMPOID => Cast::Timestamp,
        pg_sys::TIMESTAMPTZOID => Cast::Timestamptz,
        pg_sys::UUIDOID => Cast::Uuid,
        _ => return None,
    })
}

/// The decoder's field for a chain of JSON calls.
pub fn json_field(calls: &[JsonCall], cast: Option<Cast>) -> JsonField {
    let mut field = JsonField { steps: vec![], text: false, cast };
    for call in calls {
        match call {
            JsonCall::Field(key) | JsonCall::FieldText(key) => {
                field.steps.push(Step::Key(key.clone()));
            }
            JsonCall::Path(path) | JsonCall::PathText(path) => {
                field.steps.extend(path.iter().cloned().map(Step::Element));
            }
        }
        field.text = matches!(call, JsonCall::FieldText(_) | JsonCall::PathText(_));
    }
    field
}

/// The call that takes a column by name: JSON and array columns need the JSON text, the others the
/// unquoted value.
pub fn field_call(column: &Column, name: &str) -> JsonCall {
    if is_json(column) || column.is_array {
        JsonCall::Field(name.to_owned())
    } else {
        JsonCall::FieldText(name.to_owned())
    }
}
