//! The options of the formats: which key of a configuration is which option of `model::content`.

use super::tree::{Map, Value};
use super::value;
use crate::error::Result;
use crate::format::{Format, FormatSpec, OPTIONS, OptionKind};

/// GPSS's bound on the delimiter of format delimited, in bytes.
const MAX_DELIMITER: usize = 32;
const TLS_VERSIONS: [&str; 4] = ["1.0", "1.1", "1.2", "1.3"];

/// A key of an option block.
#[derive(Debug)]
pub(super) struct Key {
    /// In versions 1 and 2.
    v2: &'static str,
    /// In version v3; another name, not only other letters.
    pub v3: &'static str,
    /// In `model::content`.
    pub option: &'static str,
    /// Backslash sequences stand for other signs.
    pub escapes: bool,
}

const fn key(name: &'static str, option: &'static str) -> Key {
    Key { v2: name, v3: name, option, escapes: false }
}

const fn escaped(name: &'static str, option: &'static str) -> Key {
    Key { v2: name, v3: name, option, escapes: true }
}

/// Every key of an option block but those of format custom. `encoding`, `schema` and
/// `schema_id_bytes` have none.
pub(super) const KEYS: [Key; 18] = [
    escaped("DELIMITER", "delimiter"),
    escaped("QUOTE", "quote"),
    escaped("ESCAPE", "escape"),
    escaped("EOL_PREFIX", "eol_prefix"),
    escaped("NEWLINE", "newline"),
    key("NULL_STRING", "null"),
    key("FORCE_NOT_NULL", "force_not_null"),
    key("FORCE_NULL", "force_null"),
    key("FILL_MISSING_FIELDS", "fill_missing_fields"),
    key("HEADER", "header"),
    Key { v3: "SCHEMA_URL", ..key("SCHEMA_REGISTRY_ADDR", "schema_registry") },
    key("SCHEMA_CA_ON_GPDB", "schema_ca"),
    key("SCHEMA_CERT_ON_GPDB", "schema_cert"),
    key("SCHEMA_KEY_ON_GPDB", "schema_key"),
    key("SCHEMA_MIN_TLS_VERSION", "schema_min_tls_version"),
    key("SCHEMA_PATH_ON_GPDB", "schema_path"),
    key("MESSAGE", "message"),
    key("BYTES_TO_BASE64", "bytes_to_base64"),
];

/// The keys of versions 1 and 2 that the format has, but those of format custom.
pub(super) fn keys_v2(format: Format) -> impl Iterator<Item = &'static str> {
    let has = move |key: &&Key| {
        let known = OPTIONS.iter().find(|option| option.name == key.option);
        known.is_some_and(|option| option.formats.contains(&format))
    };
    KEYS.iter().filter(has).map(|key| key.v2)
}

/// Takes the keys of versions 1 and 2 that the format has.
pub(super) fn take_v2(block: &mut Map, content: &mut FormatSpec) -> Result<()> {
    take(block, content, |key| key.v2, "PARAMSTR")
}

/// Takes the keys of version v3 that the format has.
pub(super) fn take_v3(block: &mut Map, content: &mut FormatSpec) -> Result<()> {
    take(block, content, |key| key.v3, "OPTIONS")
}

fn take(
    block: &mut Map,
    content: &mut FormatSpec,
    name: impl Fn(&Key) -> &'static str,
    params: &'static str,
) -> Result<()> {
    for key in KEYS {
        let known = OPTIONS.iter().find(|option| option.name == key.option);
        let Some(option) = known.filter(|option| option.formats.contains(&content.format)) else {
            continue;
        };
        let Some(value) = block.take(name(&key))? else {
            continue;
        };
        let place = value.place();
        let text = text(value, &key, option.kind)?;
        // GPSS: an empty quote, escape or prefix is none. In CSV it would not do what it seems to.
        if text.is_empty() && content.format == Format::Delimited && key.escapes {
            continue;
        }
        content.set(key.option, &text).map_err(|error| place.locate(error))?;
    }
    if content.format == Format::Custom {
        let name = block.require("NAME")?;
        let place = name.place();
        content.set("formatter", &value::filled(name)?).map_err(|error| place.locate(error))?;
        if let Some(value) = block.take(params)? {
            let place = value.place();
            content.set("params", &parameters(value)?).map_err(|error| place.locate(error))?;
        }
    }
    check(content, block)
}

fn text(value: Value, key: &Key, kind: OptionKind) -> Result<String> {
    let place = value.place();
    if kind == OptionKind::Names {
        let names = value::names(value)?;
        if names.iter().any(|name| name.contains(',') || name.trim() != name) {
            return Err(
                place.invalid("names a column with a comma or a blank at an end in its name")
            );
        }
        return Ok(names.join(","));
    }
    let text = match kind {
        OptionKind::ServerFile => value::filled(value)?,
        _ => value.text()?,
    };
    match key.option {
        "schema_registry" if text.trim().is_empty() => Err(place.error("has no value")),
        "schema_min_tls_version" if !TLS_VERSIONS.contains(&text.trim()) => {
            Err(place.invalid("must be 1.0, 1.1, 1.2 or 1.3"))
        }
        "schema_registry" | "schema_min_tls_version" => Ok(text.trim().to_owned()),
        _ if key.escapes => value::unescaped(&text)
            .ok_or_else(|| place.invalid("has a sequence \\x that is no ASCII character")),
        _ => Ok(text),
    }
}

/// PARAMSTR `k=v,k=v`, or a list of `k=v`, as the text of a JSON object.
fn parameters(value: Value) -> Result<String> {
    let place = value.place();
    // A blank after a comma belongs to no value; in a list each text is what it is.
    let is_list = value.is_list();
    let pairs = if is_list {
        value.list()?.into_iter().map(Value::text).collect::<Result<Vec<_>>>()?
    } else {
        value.text()?.split(',').map(str::to_owned).collect()
    };
    let mut object = serde_json::Map::new();
    for pair in pairs {
        let (name, value) = pair
            .split_once('=')
            .map(|(name, value)| (name.trim(), if is_list { value } else { value.trim() }))
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| place.invalid("must be parameters such as name=value"))?;
        if object.insert(name.to_owned(), value.into()).is_some() {
            return Err(place.invalid("names a parameter a second time"));
        }
    }
    Ok(serde_json::Value::Object(object).to_string())
}

/// What a format asks of its options together.
fn check(content: &FormatSpec, block: &Map) -> Result<()> {
    let place = block.place();
    let delimiter = content.get("delimiter");
    match content.format {
        Format::Csv | Format::Text => match delimiter {
            Some(delimiter) if delimiter.len() != 1 => Err(place
                .invalid("has a delimiter that is not a single one-byte character")
                .hint("Format delimited has delimiters of several bytes.")),
            _ => Ok(()),
        },
        Format::Delimited => {
            let delimiter = delimiter.ok_or_else(|| block.missing("DELIMITER"))?;
            if delimiter.len() > MAX_DELIMITER {
                let message = format!("has a delimiter of more than {MAX_DELIMITER} bytes");
                return Err(place.invalid(&message));
            }
            let (quote, escape) = (content.get("quote"), content.get("escape"));
            if quote.is_some() && escape.is_none() {
                return Err(block.missing("ESCAPE").detail("QUOTE asks for it."));
            }
            for (name, sign) in [("quote", quote), ("escape", escape)] {
                if sign.is_some_and(|sign| delimiter.contains(sign)) {
                    let message = format!("has a delimiter that contains the {name} character");
                    return Err(place.invalid(&message));
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}
