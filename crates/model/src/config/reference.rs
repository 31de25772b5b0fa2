//! Tests: the configurations of GPSS's documentation and of the field, with other names and values.

use super::{Column, LoadConfig, Target, parse, write};
use crate::format::Format;
use crate::job::{Commit, ErrorLimit, Fallback, Mapping, Matching, MissingTopic, Mode, Schedule};
use std::collections::BTreeMap;

/// Reads a text, and what is written from it, which has to be the same.
fn read(text: &str) -> LoadConfig {
    let config = parse(text, &BTreeMap::new()).unwrap();
    let written = parse(&write(&config), &BTreeMap::new()).unwrap();
    assert_eq!(LoadConfig { notices: config.notices.clone(), ..written }, config);
    config
}

fn column(name: &str, type_name: &str) -> Column {
    Column { name: name.into(), type_name: type_name.into() }
}

fn map(column: &str, expression: &str) -> Mapping {
    Mapping { column: column.into(), expression: expression.into() }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

const CSV: &str = r#"
DATABASE: shopdb
USER: loader
HOST: coord1
PORT: 5432
KAFKA:
  INPUT:
    SOURCE: {BROKERS: "k1:9092", TOPIC: purchases}
    COLUMNS:
      - {NAME: buyer, TYPE: int}
      - {NAME: __IGNORED__, TYPE: int}
      - {NAME: amount, TYPE: "decimal(9,2)"}
    FORMAT: csv
    ERROR_LIMIT: 40
  OUTPUT:
    TABLE: purchase_tax
    MAPPING:
      - {NAME: buyer_id, EXPRESSION: buyer}
      - {NAME: amount, EXPRESSION: amount}
      - {NAME: vat, EXPRESSION: "amount * .19"}
  COMMIT: {MINIMAL_INTERVAL: 1500}
"#;

#[test]
fn csv_with_an_ignored_field_and_a_computed_column() {
    let config = read(CSV);
    let value = config.source.value.unwrap();
    assert_eq!(value.content.format, Format::Csv);
    assert_eq!(
        value.columns,
        [column("buyer", "int"), column("__IGNORED__", "int"), column("amount", "decimal(9,2)")]
    );
    assert_eq!((config.source.key, config.source.meta), (None, None));
    assert_eq!(config.error_limit, Some(ErrorLimit::Count(40)));
    assert_eq!(
        config.outputs[0].mapping.as_deref().unwrap(),
        [map("buyer_id", "buyer"), map("amount", "amount"), map("vat", "amount * .19")]
    );
    assert_eq!(config.commit, Commit { max_row: None, minimal_interval_ms: 1_500 });
    assert_eq!(config.notices.len(), 0);
}

#[test]
fn json_and_nothing_else() {
    let config = read(
        r#"
DATABASE: shopdb
USER: loader
HOST: coord1
PORT: 5432
KAFKA:
  INPUT:
    SOURCE: {BROKERS: "k1:9092", TOPIC: raw_events}
    FORMAT: json
    ERROR_LIMIT: 5
  OUTPUT: {TABLE: raw_events}
  COMMIT: {MINIMAL_INTERVAL: 1000}
"#,
    );
    assert_eq!(config.source.value.unwrap().columns, [column("value", "json")]);
    assert_eq!(config.outputs[0].mapping, None);
}

#[test]
fn json_with_a_mapping() {
    let config = read(
        r#"
KAFKA:
  INPUT:
    SOURCE: {BROKERS: "k1:9092", TOPIC: readings}
    COLUMNS: [{NAME: doc, TYPE: json}]
    FORMAT: json
  OUTPUT:
    TABLE: readings
    MAPPING:
      - {NAME: sensor, EXPRESSION: "(doc->>'sensor_id')::int"}
      - {NAME: reading, EXPRESSION: "(doc->>'val')::decimal"}
"#,
    );
    assert_eq!(config.source.value.unwrap().columns, [column("doc", "json")]);
    assert_eq!(
        config.outputs[0].mapping.as_deref().unwrap(),
        [map("sensor", "(doc->>'sensor_id')::int"), map("reading", "(doc->>'val')::decimal")]
    );
}

#[test]
fn avro_key_and_value_from_a_registry() {
    let config = read(
        r#"
VERSION: 2
KAFKA:
  INPUT:
    SOURCE: {BROKERS: "k1:9092", TOPIC: invoices_avro}
    VALUE:
      COLUMNS: [{NAME: v, TYPE: json}]
      FORMAT: avro
      AVRO_OPTION: {SCHEMA_REGISTRY_ADDR: "http://sr1:8081, http://sr2:8081"}
    KEY:
      COLUMNS: [{NAME: k, TYPE: json}]
      FORMAT: avro
      AVRO_OPTION: {SCHEMA_REGISTRY_ADDR: "http://sr1:8081"}
    ERROR_LIMIT: 0
  OUTPUT:
    TABLE: invoices
    MAPPING:
      - {NAME: k, EXPRESSION: k}
      - {NAME: client, EXPRESSION: "(v->>'client')::int"}
      - {NAME: items, EXPRESSION: "array(select json_array_elements(v->'items')::text::float)"}
  COMMIT: {MINIMAL_INTERVAL: 2000}
"#,
    );
    let (value, key) = (config.source.value.unwrap(), config.source.key.unwrap());
    assert_eq!((value.content.format, key.content.format), (Format::Avro, Format::Avro));
    let registry = value.content.get("schema_registry");
    assert_eq!(registry, Some("http://sr1:8081, http://sr2:8081"));
    assert_eq!(key.content.get("schema_registry"), Some("http://sr1:8081"));
    assert_eq!(
        (value.columns, key.columns),
        (vec![column("v", "json")], vec![column("k", "json")])
    );
    assert_eq!(config.error_limit, Some(ErrorLimit::Count(0)));
    assert!(config.notices.is_empty());
}

#[test]
fn delimited_key_and_value() {
    let config = read(
        r#"
VERSION: 2
KAFKA:
  INPUT:
    SOURCE: {BROKERS: "k1:9092", TOPIC: notes}
    KEY:   {COLUMNS: [{NAME: acct, TYPE: int}], FORMAT: delimited,
            DELIMITED_OPTION: {DELIMITER: "|"}}
    VALUE: {COLUMNS: [{NAME: day, TYPE: date}, {NAME: note, TYPE: text}], FORMAT: delimited,
            DELIMITED_OPTION: {DELIMITER: "~^", QUOTE: "'", ESCAPE: "\\"}}
  OUTPUT: {TABLE: notes}
"#,
    );
    let (value, key) = (config.source.value.unwrap().content, config.source.key.unwrap().content);
    assert_eq!(key.get("delimiter"), Some("|"));
    let options: Vec<_> = value.options().collect();
    assert_eq!(options, [("delimiter", "~^"), ("escape", "\\"), ("quote", "'")]);
}

#[test]
fn merge_of_change_data() {
    let config = read(
        r#"
VERSION: 2
KAFKA:
  INPUT:
    SOURCE: {BROKERS: "k1:9092", TOPIC: clients}
    VALUE: {COLUMNS: [{NAME: c, TYPE: json}], FORMAT: json}
  OUTPUT:
    SCHEMA: crm
    TABLE: client
    MODE: MERGE
    MATCH_COLUMNS: [client_id]
    UPDATE_COLUMNS: [name, city, removed]
    ORDER_COLUMNS: [changed_at]
    MAPPING:
      - {NAME: client_id, EXPRESSION: "coalesce(c->'after', c->'before')->>'client_id'"}
      - {NAME: name,      EXPRESSION: "coalesce(c->'after', c->'before')->>'name'"}
      - {NAME: city,      EXPRESSION: "coalesce(c->'after', c->'before')->>'city'"}
      - {NAME: removed,   EXPRESSION: "c->>'op' = 'D'"}
      - {NAME: changed_at, EXPRESSION: "(c->>'ts')::timestamp"}
"#,
    );
    let output = &config.outputs[0];
    assert_eq!(output.target, Target { schema: Some("crm".into()), table: "client".into() });
    assert_eq!(
        output.mode,
        Mode::Merge(Matching {
            match_columns: names(&["client_id"]),
            order_columns: names(&["changed_at"]),
            update_columns: names(&["name", "city", "removed"]),
            update_condition: None,
            delete_condition: None,
        })
    );
    assert_eq!(output.mapping.as_ref().unwrap().len(), 5);
}

#[test]
fn update_in_version_3() {
    let config = read(
        r#"
version: v3
targets:
- gpdb:
    tables:
    - table: stock
      mode:
        update:
          match_columns: [sku]
          update_columns: [stock]
          update_condition: "stock >= 0"
sources:
- kafka:
    topic: stock
    brokers: k1:9092
    value_content:
      csv:
        columns: [{name: sku, type: text}, {name: stock, type: int}]
"#,
    );
    let Mode::Update(matching) = &config.outputs[0].mode else { panic!() };
    assert_eq!(matching.match_columns, ["sku"]);
    assert_eq!(matching.update_columns, ["stock"]);
    assert_eq!(matching.update_condition.as_deref(), Some("stock >= 0"));
}

const FRAME: &str = r#"
version: v3
targets:
- gpdb:
    host: coord1
    port: 5432
    user: loader
    password: secret
    database: shopdb
    work_schema: etl_work
    error_limit: "2%"
    filter_expression: "(m->>'partition')::int <> 3"
    tables:
    - table: clicks
      schema: web
      mode: {insert: {}}
      mapping: {url: "j->>'u'", at: "(j->>'t')::timestamptz", src: "m->>'offset'"}
      filter: "j->>'kind' = 'click'"
    - table: views
      schema: web
      mode: {merge: {match_columns: [id], update_columns: [n], order_columns: [n]}}
      mapping: {id: "(j->>'id')::int", n: "(j->>'n')::int"}
      filter: "j->>'kind' = 'view'"
sources:
- kafka:
    topic: web_log
    brokers: k1:9092,k2:9092
    value_content: {json: {column: {name: j, type: jsonb}}}
    meta: {json: {column: {name: m, type: json}}}
    rdkafka_prop: {group.id: web_loader, enable.auto.commit: false}
    task:
      batch_size: {max_count: 20000, interval_ms: 3000, idle_duration_ms: 1000}
      window_size: 10
      window_statement: "select web.refresh_daily()"
      prepare_statement: "set search_path to web"
      teardown_statement: "analyze web.views"
    consistency: strong
    fallback_offset: earliest
    missing_topic: fail
option:
  schedule: {max_retries: 3, retry_interval: 30s, running_duration: 8h}
"#;

#[test]
fn the_frame_of_version_3() {
    let config = read(FRAME);
    assert_eq!(config.database.as_deref(), Some("shopdb"));
    assert_eq!(config.user.as_deref(), Some("loader"));
    assert_eq!(config.work_schema.as_deref(), Some("etl_work"));
    assert_eq!(config.error_limit, Some(ErrorLimit::Percent(2.0)));
    assert_eq!(config.filter.as_deref(), Some("(m->>'partition')::int <> 3"));
    let [clicks, views] = config.outputs.as_slice() else { panic!() };
    assert_eq!(clicks.target, Target { schema: Some("web".into()), table: "clicks".into() });
    assert_eq!(clicks.mode, Mode::Insert);
    let mapping = clicks.mapping.as_ref().unwrap();
    assert_eq!(mapping[1], map("at", "(j->>'t')::timestamptz"));
    assert_eq!(clicks.filter.as_deref(), Some("j->>'kind' = 'click'"));
    let Mode::Merge(matching) = &views.mode else { panic!() };
    assert_eq!(matching.order_columns, ["n"]);
    let source = &config.source;
    assert_eq!((source.topic.as_str(), source.brokers.as_str()), ("web_log", "k1:9092,k2:9092"));
    assert_eq!(source.value.as_ref().unwrap().columns, [column("j", "jsonb")]);
    assert_eq!(source.meta, Some(column("m", "json")));
    assert_eq!(source.fallback, Some(Fallback::Earliest));
    assert_eq!(source.missing_topic, Some(MissingTopic::Fail));
    let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let properties = [text("group.id", "web_loader"), text("enable.auto.commit", "false")];
    assert_eq!(source.properties, properties);
    assert_eq!(config.commit, Commit { max_row: Some(20_000), minimal_interval_ms: 3_000 });
    assert_eq!(config.task.batch_interval, 10);
    assert_eq!(config.task.post_batch.as_deref(), Some("select web.refresh_daily()"));
    assert_eq!(config.task.prepare.as_deref(), Some("set search_path to web"));
    assert_eq!(config.task.teardown.as_deref(), Some("analyze web.views"));
    assert_eq!(
        config.schedule,
        Schedule {
            max_retries: Some(3),
            retry_interval_ms: Some(30_000),
            running_duration_ms: Some(28_800_000),
            ..Schedule::default()
        }
    );
    let keys: Vec<_> = config.notices.iter().filter_map(|n| n.split(' ').next()).collect();
    assert_eq!(keys, ["password", "idle_duration_ms"]);
}

#[test]
fn templates_stand_where_yaml_would_not_allow_them() {
    let text = r#"
PASSWORD: {{pw}}
KAFKA: {INPUT: {SOURCE: {BROKERS: k, TOPIC: "{{topic}}"}, FORMAT: json}, OUTPUT: {TABLE: t}}
"#;
    let properties = |names: &[(&str, &str)]| -> BTreeMap<String, String> {
        names.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    };
    let config = parse(text, &properties(&[("pw", "x"), ("topic", "orders_eu")])).unwrap();
    assert_eq!(config.source.topic, "orders_eu");
    let error = parse(text, &properties(&[("pw", "x")])).unwrap_err();
    assert_eq!(error.message, "line 3: no property is given for the template {{topic}}");
}

#[test]
fn an_sql_function_in_the_place_of_a_mapping() {
    let transformer =
        "{transform: tag_row, properties: {tag: \"eu-\", add: 5}, columns: [url, at, src]}";
    let start = FRAME.find("      mapping: {url").unwrap();
    let end = FRAME.find("      filter: \"j->>'kind' = 'click'").unwrap();
    let mut text = FRAME.to_owned();
    text.replace_range(start..end, &format!("      transformer: {transformer}\n"));
    let config = read(&text);
    let read = config.outputs[0].transformer.as_ref().unwrap();
    assert_eq!(read.function, "tag_row");
    assert_eq!(
        serde_json::Value::Object(read.properties.clone()),
        serde_json::json!({"tag": "eu-", "add": 5})
    );
    assert_eq!(read.columns, ["url", "at", "src"]);

    let both =
        FRAME.replacen("mapping:", &format!("transformer: {transformer}\n      mapping:"), 1);
    let error = parse(&both, &BTreeMap::new()).unwrap_err();
    assert_eq!(
        error.message,
        "line 17: targets[1]:gpdb:tables[1]:transformer cannot stand beside mapping"
    );
}

#[test]
fn sql_after_each_batch() {
    let text = format!(
        "{CSV}  TASK: {{POST_BATCH_SQL: \"select etl.fold_client();\", BATCH_INTERVAL: 1}}\n"
    );
    let config = read(&text);
    assert_eq!(config.task.post_batch.as_deref(), Some("select etl.fold_client();"));
    assert_eq!(config.task.batch_interval, 1);
}

#[test]
fn a_message_of_many_rows() {
    let text = FRAME.replace(
        "id: \"(j->>'id')::int\"",
        "id: \"(json_array_elements(j->'items')->>'id')::int\"",
    );
    let mapping = read(&text).outputs[1].mapping.clone().unwrap();
    assert_eq!(mapping[0].expression, "(json_array_elements(j->'items')->>'id')::int");
}
