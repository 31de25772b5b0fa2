//! What each column of a foreign table holds, by its options, and what the decoder has to deliver.

use crate::format::{Cast, JsonField, Step};
use crate::pg::datum;
use crate::pg::fdw::{Column, JsonCall, Table};
use pgrx::pg_sys;

/// Where a column's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnSource {
    /// The message's value as a whole.
    Value,
    /// A member of the JSON object.
    Field(String),
    Key,
    Topic,
    Partition,
    Offset,
    Timestamp,
    Headers,
    /// Why the message does not parse; NULL when it does.
    Error,
}

impl ColumnSource {
    /// By the options `source` and `field`. A column without them is a member of the JSON object
    /// of its own name, except the only such column of a table if it is json or jsonb: that is the
    /// whole value, as in a GPSS configuration.
    pub fn of(table: &Table, column: &Column) -> ColumnSource {
        let named = |c: &Column| c.option("source").is_some() || c.option("field").is_some();
        let field = || column.option("field").unwrap_or(&column.name).to_owned();
        match column.option("source") {
            Some("value") => ColumnSource::Value,
            Some("key") => ColumnSource::Key,
            Some("topic") => ColumnSource::Topic,
            Some("partition") => ColumnSource::Partition,
            Some("offset") => ColumnSource::Offset,
            Some("timestamp") => ColumnSource::Timestamp,
            Some("headers") => ColumnSource::Headers,
            Some("error") => ColumnSource::Error,
            Some(_) => ColumnSource::Field(field()),
            None if named(column) => ColumnSource::Field(field()),
            None => {
                let only = table.columns.iter().filter(|c| !named(c)).count() == 1;
                if only && is_json(column) {
                    ColumnSource::Value
                } else {
                    ColumnSource::Field(field())
                }
            }
        }
    }
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
