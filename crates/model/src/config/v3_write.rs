//! `LoadConfig` → the text of a load configuration of version v3.

use super::yaml_write::Yaml;
use super::{Column, LoadConfig, Side, SourceSpec, Target, columns, name, options, value};
use crate::format::{Format, FormatSpec, OPTIONS, OptionKind};
use crate::job::{Alert, Commit, ErrorLimit, Mapping, Matching, Mode, Schedule, TargetSpec, Task};

/// Writes a configuration that `parse` has read, so that `parse` reads the same from it again.
///
/// What `parse` does not keep is not written: HOST, PORT, PASSWORD, keys without effect, comments,
/// and the templates, in whose place are their values. The properties are written with their
/// values, secrets among them: the text is for the eyes that saw the configuration it was read
/// from, and belongs into no log.
pub fn write(config: &LoadConfig) -> String {
    let target = Yaml::map([("gpdb", Some(gpdb(config)))]);
    let source = Yaml::map([("kafka", Some(kafka(config)))]);
    let option = Yaml::map([
        ("schedule", schedule(&config.schedule)),
        ("alert", config.alert.as_ref().map(alert)),
    ]);
    Yaml::map([
        ("version", Some(Yaml::text("v3"))),
        ("targets", Some(Yaml::List(vec![target]))),
        ("sources", Some(Yaml::List(vec![source]))),
        ("option", filled(option)),
    ])
    .document()
}

fn text(text: &Option<String>) -> Option<Yaml> {
    text.as_ref().map(Yaml::text)
}

/// None for a mapping or list without entries.
fn filled(yaml: Yaml) -> Option<Yaml> {
    match &yaml {
        Yaml::Map(pairs) if pairs.is_empty() => None,
        Yaml::List(items) if items.is_empty() => None,
        _ => Some(yaml),
    }
}

fn named(name: &str) -> Yaml {
    Yaml::text(name::written(name))
}

fn names(names: &[String]) -> Yaml {
    Yaml::List(names.iter().map(|name| named(name)).collect())
}

fn gpdb(config: &LoadConfig) -> Yaml {
    let limit = config.error_limit.map(|limit| match limit {
        ErrorLimit::Count(count) => Yaml::bare(count),
        ErrorLimit::Percent(percent) => Yaml::text(format!("{percent}%")),
    });
    Yaml::map([
        ("database", text(&config.database)),
        ("user", text(&config.user)),
        ("work_schema", config.work_schema.as_deref().map(named)),
        ("error_limit", limit),
        ("filter_expression", text(&config.filter)),
        ("tables", Some(Yaml::List(config.outputs.iter().map(table).collect()))),
    ])
}

fn table(output: &TargetSpec<Target>) -> Yaml {
    let mode = match &output.mode {
        Mode::Insert => Yaml::map([("insert", Some(Yaml::map([])))]),
        Mode::Update(keys) => Yaml::map([("update", Some(matching(keys)))]),
        Mode::Merge(keys) => Yaml::map([("merge", Some(matching(keys)))]),
    };
    let transformer = output.transformer.as_ref().map(|transformer| {
        Yaml::map([
            ("transform", Some(Yaml::text(&transformer.function))),
            ("properties", filled(json_map(&transformer.properties))),
            ("columns", filled(names(&transformer.columns))),
        ])
    });
    let mapping = output.mapping.as_ref().map(|mapping| {
        let pair = |m: &Mapping| (name::written(&m.column), Yaml::text(&m.expression));
        Yaml::Map(mapping.iter().map(pair).collect())
    });
    Yaml::map([
        ("table", Some(named(&output.target.table))),
        ("schema", output.target.schema.as_deref().map(named)),
        ("mode", Some(mode)),
        ("transformer", transformer),
        ("mapping", mapping),
        ("filter", text(&output.filter)),
    ])
}

fn matching(keys: &Matching) -> Yaml {
    Yaml::map([
        ("match_columns", Some(names(&keys.match_columns))),
        ("order_columns", filled(names(&keys.order_columns))),
        ("update_columns", Some(names(&keys.update_columns))),
        ("update_condition", text(&keys.update_condition)),
        ("delete_condition", text(&keys.delete_condition)),
    ])
}

fn json_map(object: &serde_json::Map<String, serde_json::Value>) -> Yaml {
    Yaml::Map(object.iter().map(|(key, value)| (key.clone(), json(value))).collect())
}

fn json(value: &serde_json::Value) -> Yaml {
    match value {
        serde_json::Value::String(text) => Yaml::text(text),
        serde_json::Value::Array(items) => Yaml::List(items.iter().map(json).collect()),
        serde_json::Value::Object(object) => json_map(object),
        value => Yaml::bare(value),
    }
}

fn kafka(config: &LoadConfig) -> Yaml {
    let source = &config.source;
    let properties =
        source.properties.iter().map(|(name, value)| (name.clone(), Yaml::text(value)));
    let partitions = source.partitions.as_ref().map(|p| Yaml::text(format!("({p})")));
    Yaml::map([
        ("brokers", Some(Yaml::text(&source.brokers))),
        ("topic", Some(Yaml::text(&source.topic))),
        ("partitions", partitions),
        ("key_content", source.key.as_ref().map(side)),
        ("value_content", source.value.as_ref().map(side)),
        ("meta", source.meta.as_ref().map(|c| Yaml::map([("json", Some(one_column(c)))]))),
        ("encoding", encoding(source).map(Yaml::text)),
        ("rdkafka_prop", filled(Yaml::Map(properties.collect()))),
        ("task", Some(task(&config.commit, &config.task))),
        ("fallback_offset", source.fallback.map(|fallback| Yaml::text(fallback.name()))),
        ("missing_topic", source.missing_topic.map(|missing| Yaml::text(missing.name()))),
    ])
}

/// The value and the key have the same, as far as they have one.
fn encoding(source: &SourceSpec) -> Option<&str> {
    [&source.value, &source.key].into_iter().flatten().find_map(|side| side.content.get("encoding"))
}

fn one_column(column: &Column) -> Yaml {
    Yaml::map([("column", Some(named_column(column)))])
}

fn named_column(column: &Column) -> Yaml {
    Yaml::map([("name", Some(named(&column.name))), ("type", Some(Yaml::text(&column.type_name)))])
}

fn side(side: &Side) -> Yaml {
    let format = side.content.format;
    let own_type = columns::default_type(format);
    let mut keys = vec![match side.columns.as_slice() {
        [column] if matches!(format, Format::Json | Format::Jsonl) => {
            ("column".to_owned(), named_column(column))
        }
        [column] if own_type == Some(column.type_name.as_str()) => {
            ("source_column_name".to_owned(), named(&column.name))
        }
        columns => ("columns".to_owned(), Yaml::List(columns.iter().map(named_column).collect())),
    }];
    if side.columns.is_empty() {
        keys.clear();
    }
    if format == Format::Jsonl {
        keys.push(("is_jsonl".to_owned(), Yaml::bare(true)));
    }
    keys.extend(content(&side.content));
    // GPSS has no format jsonl in version v3.
    let name = if format == Format::Jsonl { Format::Json } else { format }.name();
    Yaml::map([(name, Some(Yaml::Map(keys)))])
}

fn content(content: &FormatSpec) -> Vec<(String, Yaml)> {
    let mut keys = Vec::new();
    for key in options::KEYS {
        if let Some(text) = content.get(key.option) {
            let is_names =
                OPTIONS.iter().any(|o| o.name == key.option && o.kind == OptionKind::Names);
            let value = match key.escapes {
                _ if is_names => {
                    Yaml::List(content.names(key.option).into_iter().map(named).collect())
                }
                true => Yaml::text(value::escaped(text)),
                false => Yaml::text(text),
            };
            keys.push((key.v3.to_ascii_lowercase(), value));
        }
    }
    keys.extend(content.get("formatter").map(|name| ("name".to_owned(), Yaml::text(name))));
    keys.extend(content.get("params").map(|params| ("options".to_owned(), parameters(params))));
    keys
}

/// The text of a JSON object of texts as a list of `name=value`.
fn parameters(params: &str) -> Yaml {
    let params: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(params).unwrap_or_default();
    Yaml::texts(params.iter().map(|(name, value)| match value {
        serde_json::Value::String(value) => format!("{name}={value}"),
        value => format!("{name}={value}"),
    }))
}

fn task(commit: &Commit, task: &Task) -> Yaml {
    let interval = (task.batch_interval > 0).then(|| Yaml::bare(task.batch_interval));
    let sizes = Yaml::map([
        // Zero is no bound; both keys absent would mean the defaults.
        ("max_count", Some(Yaml::bare(commit.max_row.unwrap_or(0)))),
        ("interval_ms", Some(Yaml::bare(commit.minimal_interval_ms))),
    ]);
    Yaml::map([
        ("batch_size", Some(sizes)),
        ("window_size", interval),
        ("window_statement", text(&task.post_batch)),
        ("prepare_statement", text(&task.prepare)),
        ("teardown_statement", text(&task.teardown)),
    ])
}

/// None when nothing is different from the defaults.
fn schedule(schedule: &Schedule) -> Option<Yaml> {
    let restarts = Some(schedule.max_restart_times).filter(|times| *times != 0);
    filled(Yaml::map([
        ("max_retries", schedule.max_retries.map(Yaml::bare)),
        ("retry_interval", schedule.retry_interval_ms.map(duration)),
        ("running_duration", schedule.running_duration_ms.map(duration)),
        ("auto_stop_restart_interval", schedule.auto_stop_restart_interval_ms.map(duration)),
        ("max_restart_times", restarts.map(Yaml::bare)),
        ("quit_at_eof_after", schedule.quit_at_eof_after.map(clock)),
    ]))
}

fn alert(alert: &Alert) -> Yaml {
    Yaml::map([
        ("command", Some(Yaml::text(&alert.command))),
        ("workdir", text(&alert.workdir)),
        ("timeout", alert.timeout_ms.map(duration)),
    ])
}

/// In the longest unit that it is a whole number of.
fn duration(ms: u64) -> Yaml {
    let whole = value::UNITS.iter().find(|(_, factor)| ms > 0 && ms.is_multiple_of(*factor));
    match whole {
        Some((unit, factor)) => Yaml::bare(format!("{}{unit}", ms / factor)),
        None => Yaml::bare("0s"),
    }
}

fn clock(seconds: u32) -> Yaml {
    let (hours, minutes, rest) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    // In quotes: to a reader of YAML 1.1, 18:30 is a number.
    Yaml::text(match rest {
        0 => format!("{hours:02}:{minutes:02}"),
        rest => format!("{hours:02}:{minutes:02}:{rest:02}"),
    })
}

#[cfg(test)]
mod tests;
