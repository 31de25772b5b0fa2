//! What is written is read again, whatever the texts in it.

use super::super::parse;
use super::*;
use crate::fragment;
use crate::job::{Fallback, MissingTopic, Transformer};
use crate::partitions::Partitions;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::BTreeMap;

const MAX: u64 = i64::MAX as u64;

fn nasty() -> BoxedStrategy<String> {
    let parts = vec![
        "a",
        "Größe",
        "1",
        ":",
        ": ",
        " ",
        "#",
        " #",
        "\n",
        "\r",
        "\t",
        "\"",
        "'",
        "\\",
        "\\n",
        "\\x41",
        "{{x}}",
        "{{",
        "{",
        "}",
        "[",
        "]",
        ",",
        "-",
        "- ",
        "? ",
        "&a",
        "*a",
        "!",
        "|",
        ">",
        "%",
        "@",
        "`",
        "~",
        "null",
        "true",
        "0x1",
        "1e3",
        "18:30",
        "\u{85}",
        "\u{2028}",
        "\u{feff}",
        "\x01",
        "=",
        ".",
        "__IGNORED__",
    ];
    prop_oneof!["\\PC{0,10}", vec(select(parts), 0..5).prop_map(|parts| parts.concat())].boxed()
}

/// Not blank, without blanks around it.
fn trimmed() -> BoxedStrategy<String> {
    nasty().prop_map(|text| format!("x{text}").trim().to_owned()).boxed()
}

fn name() -> BoxedStrategy<String> {
    nasty().prop_filter("a name", |name| !name.is_empty() && name != columns::IGNORED).boxed()
}

fn distinct_names() -> BoxedStrategy<Vec<String>> {
    btree_set(name(), 1..4).prop_map(|names| names.into_iter().collect()).boxed()
}

fn sql() -> BoxedStrategy<String> {
    let parts = vec![
        "a",
        " ",
        "\n",
        "\n\n  ",
        "\t",
        "'it''s: #'",
        "(j->>'k')::int",
        "j #>> '{a,b}'",
        "'{{1,2}}'",
        "'{{x}}'",
        "-- c\n",
        "\"A b\"",
        "E'\\\\n'",
        "$$ ; ) $$",
        "null",
        "1.5",
        ", ",
        "[1]",
        "{{x}}",
        "\r\n",
        "* .19",
        "'ä'",
        "? 'k'",
    ];
    vec(select(parts), 1..6)
        .prop_map(|parts| parts.concat())
        .prop_filter("a fragment", |sql| fragment::check_fragment(sql).is_ok())
        .boxed()
}

fn statements() -> BoxedStrategy<String> {
    (sql(), of(sql()))
        .prop_map(|(one, two)| match two {
            Some(two) => format!("{one};{two};"),
            None => one,
        })
        .boxed()
}

fn json() -> BoxedStrategy<serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        nasty().prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Into::into),
            btree_map(nasty(), inner, 0..3)
                .prop_map(|pairs| serde_json::Value::Object(pairs.into_iter().collect())),
        ]
    })
    .boxed()
}

fn matching() -> BoxedStrategy<Matching> {
    (distinct_names(), of(distinct_names()), distinct_names(), of(sql()))
        .prop_map(|(match_columns, order, update_columns, update_condition)| Matching {
            match_columns,
            order_columns: order.unwrap_or_default(),
            update_columns,
            update_condition,
            delete_condition: None,
        })
        .boxed()
}

fn mode() -> BoxedStrategy<Mode> {
    prop_oneof![
        Just(Mode::Insert),
        matching().prop_map(Mode::Update),
        (matching(), of(sql())).prop_map(|(matching, delete_condition)| {
            Mode::Merge(Matching { delete_condition, ..matching })
        }),
    ]
    .boxed()
}

fn output() -> BoxedStrategy<TargetSpec<Target>> {
    let mapping = btree_map(name(), sql(), 1..4).prop_map(|pairs| {
        pairs.into_iter().map(|(column, expression)| Mapping { column, expression }).collect()
    });
    let transformer = (trimmed(), btree_map(nasty(), json(), 0..3), of(distinct_names())).prop_map(
        |(function, properties, columns)| Transformer {
            function,
            properties: properties.into_iter().collect(),
            columns: columns.unwrap_or_default(),
            input: Default::default(),
        },
    );
    let source = prop_oneof![
        of(mapping).prop_map(|mapping| (mapping, None)),
        transformer.prop_map(|transformer| (None, Some(transformer))),
    ];
    (of(name()), name(), mode(), source, of(sql()))
        .prop_map(|(schema, table, mode, (mapping, transformer), filter)| TargetSpec {
            target: Target { schema, table },
            mode,
            mapping,
            transformer,
            filter,
        })
        .boxed()
}

type Options = Vec<(&'static str, String)>;

/// A format with options that fit together.
fn options() -> BoxedStrategy<(Format, Options)> {
    let sign = || select((1u8..128).map(|b| char::from(b).to_string()).collect::<Vec<_>>());
    let flag = || select(vec!["true", "off", "1"]).prop_map(str::to_owned);
    let path = || nasty().prop_map(|path| format!("/{path}").trim().to_owned());
    let list = || {
        btree_set("[a-z\"#:]{1,3}", 1..3)
            .prop_map(|names| names.into_iter().collect::<Vec<_>>().join(","))
    };
    let given = |format: Format, pairs: Vec<(&'static str, Option<String>)>| {
        (format, pairs.into_iter().filter_map(|(k, v)| Some((k, v?))).collect::<Options>())
    };
    let csv = (of(sign()), of(sign()), of(sign()), of(nasty()), of(list()), of(flag())).prop_map(
        move |(delimiter, quote, escape, null, list, flag)| {
            given(
                Format::Csv,
                vec![
                    ("delimiter", delimiter),
                    ("quote", quote),
                    ("escape", escape),
                    ("null", null),
                    ("force_not_null", list.clone()),
                    ("force_null", list),
                    ("header", flag.clone()),
                    ("fill_missing_fields", flag),
                ],
            )
        },
    );
    let text = (of(sign()), of(nasty())).prop_map(move |(delimiter, null)| {
        given(Format::Text, vec![("delimiter", delimiter), ("null", null)])
    });
    let delimited = (nasty(), of((sign(), sign())), of(nasty()), of(nasty())).prop_filter_map(
        "fits",
        move |(delimiter, signs, prefix, null)| {
            let (quote, escape) = signs.unzip();
            let inside =
                [&quote, &escape].into_iter().flatten().any(|s| delimiter.contains(s.as_str()));
            let fits = !inside && (1..=32).contains(&delimiter.len());
            fits.then(|| {
                given(
                    Format::Delimited,
                    vec![
                        ("delimiter", Some(delimiter)),
                        ("quote", quote),
                        ("escape", escape),
                        ("eol_prefix", prefix.filter(|text| !text.is_empty())),
                        ("null", null),
                    ],
                )
            })
        },
    );
    let schema = (
        select(vec![Format::Avro, Format::Protobuf]),
        of(trimmed()),
        of(path()),
        of(select(vec!["1.0".to_owned(), "1.3".to_owned()])),
        of(nasty()),
    )
        .prop_map(move |(format, registry, path, tls, message)| {
            given(
                format,
                vec![
                    ("schema_registry", registry),
                    ("schema_ca", path.clone()),
                    ("schema_path", path),
                    ("schema_min_tls_version", tls),
                    ("message", message.filter(|_| format == Format::Protobuf)),
                    ("bytes_to_base64", (format == Format::Avro).then(|| "yes".to_owned())),
                ],
            )
        });
    let key = trimmed().prop_filter("a name", |name| !name.contains('='));
    let custom = (trimmed(), of(btree_map(key, nasty(), 0..3))).prop_map(move |(name, params)| {
        let params = params.map(|params| serde_json::json!(params).to_string());
        given(Format::Custom, vec![("formatter", Some(name)), ("params", params)])
    });
    prop_oneof![
        Just((Format::Json, Vec::new())),
        Just((Format::Binary, Vec::new())),
        of(nasty()).prop_map(move |newline| given(Format::Jsonl, vec![("newline", newline)])),
        csv,
        text,
        delimited,
        schema,
        custom,
    ]
    .boxed()
}

/// Names begin with `tag`, so that those of value, key and metadata are distinct.
fn side(tag: &'static str) -> BoxedStrategy<Side> {
    let types = vec((nasty(), trimmed()), 1..4);
    let own = select(vec!["json", "jsonb", "JSON"]);
    (options(), types, own, any::<bool>())
        .prop_map(move |((format, options), types, own, one)| {
            let options = options.iter().map(|(name, value)| (*name, value.as_str()));
            let content = FormatSpec::with_options(format, options).unwrap();
            let name = |i: usize, text: &str| format!("{tag}{i}{text}");
            let mut columns: Vec<_> = types
                .iter()
                .enumerate()
                .map(|(i, (text, type_name))| Column {
                    name: name(i, text),
                    type_name: type_name.clone(),
                })
                .collect();
            if format == Format::Binary || format.is_document() && one {
                columns.truncate(1);
                let own = if format == Format::Binary { "bytea" } else { own };
                columns.iter_mut().for_each(|column| column.type_name = own.to_owned());
            }
            if format.is_positional() && one {
                columns.insert(0, Column { name: columns::IGNORED.into(), type_name: "x".into() });
            }
            Side { content, columns }
        })
        .boxed()
}

fn source() -> BoxedStrategy<SourceSpec> {
    let sides = prop_oneof![
        side("v").prop_map(|value| (Some(value), None)),
        side("k").prop_map(|key| (None, Some(key))),
        (side("v"), side("k")).prop_map(|(value, key)| (Some(value), Some(key))),
    ];
    let meta = (nasty(), select(vec!["json", "JSONB"]))
        .prop_map(|(name, t)| Column { name: format!("m{name}"), type_name: t.to_owned() });
    let partitions = select(vec!["1", "0, 3...5", "2147483647"]);
    let fallback = select(vec![Fallback::Earliest, Fallback::Latest]);
    let missing = select(vec![MissingTopic::Wait, MissingTopic::Fail]);
    let properties = btree_map(nasty(), nasty(), 0..3);
    (
        (
            "[a-z0-9.-]{1,9}(:[1-9][0-9]{0,3})?(,b)?",
            "[A-Za-z0-9_-]{1,9}",
            of(partitions),
            of(fallback),
            of(missing),
        ),
        (sides, of(meta), of(trimmed()), properties),
    )
        .prop_map(
            |(
                (brokers, topic, partitions, fallback, missing_topic),
                (sides, meta, encoding, properties),
            )| {
                let (mut value, mut key) = sides;
                if let Some(encoding) = encoding {
                    for side in [&mut value, &mut key].into_iter().flatten() {
                        let _ = side.content.set("encoding", &encoding);
                    }
                }
                SourceSpec {
                    brokers,
                    topic,
                    partitions: partitions.map(|text| Partitions::parse(text).unwrap()),
                    fallback,
                    missing_topic,
                    value,
                    key,
                    meta,
                    properties: properties.into_iter().collect(),
                }
            },
        )
        .boxed()
}

fn around() -> BoxedStrategy<(Commit, Task, Schedule, Option<Alert>)> {
    let commit = (of(1..=MAX), 0..=MAX)
        .prop_map(|(max_row, minimal_interval_ms)| Commit { max_row, minimal_interval_ms });
    let task = (of(statements()), of(statements()), 0..=MAX, of(statements())).prop_map(
        |(prepare, post_batch, batch_interval, teardown)| Task {
            prepare,
            post_batch,
            batch_interval,
            teardown,
        },
    );
    let ms = || prop_oneof![1..=MAX, (1u64..100_000).prop_map(|s| s * 60_000)];
    let schedule =
        (of(ms()), of(any::<i64>()), of(ms()), of(0..=MAX), any::<i64>(), of(0u32..86_400))
            .prop_map(|(retry, retries, running, restart, times, quit)| Schedule {
                retry_interval_ms: retry,
                max_retries: retries,
                running_duration_ms: running,
                auto_stop_restart_interval_ms: restart,
                max_restart_times: times,
                quit_at_eof_after: quit,
            });
    let schedule = prop_oneof![Just(Schedule::default()), schedule];
    let command = nasty().prop_map(|text| format!(" {text}x\n"));
    let workdir = nasty().prop_map(|path| format!("/{path}").trim().to_owned());
    let alert = (command, of(workdir), of(ms())).prop_map(|(command, workdir, timeout_ms)| Alert {
        command,
        workdir,
        timeout_ms,
    });
    (commit, task, schedule, of(alert)).boxed()
}

fn config() -> BoxedStrategy<LoadConfig> {
    let limit = prop_oneof![
        any::<u64>().prop_map(ErrorLimit::Count),
        (0.0..=100.0f64).prop_map(ErrorLimit::Percent),
    ];
    let head = (of(nasty()), of(nasty()), of(name()), of(sql()), of(limit));
    (head, source(), vec(output(), 1..3), around())
        .prop_map(
            |((database, user, work_schema, filter, error_limit), source, outputs, around)| {
                let (commit, task, schedule, alert) = around;
                LoadConfig {
                    database,
                    user,
                    source,
                    outputs,
                    work_schema,
                    filter,
                    error_limit,
                    commit,
                    task,
                    schedule,
                    alert,
                    notices: Vec::new(),
                }
            },
        )
        .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_is_written_is_read_again(config in config()) {
        let text = write(&config);
        let read = match parse(&text, &BTreeMap::new()) {
            Ok(read) => read,
            Err(error) => return Err(TestCaseError::fail(format!("{error:?}\n{text}"))),
        };
        prop_assert_eq!(LoadConfig { notices: Vec::new(), ..read }, config, "\n{}", text);
    }
}

#[test]
fn columns_that_are_the_tables_are_not_written() {
    let text = "KAFKA:\n  INPUT: {SOURCE: {BROKERS: k, TOPIC: t}, FORMAT: csv, CSV_OPTION: {QUOTE: x}}\n  OUTPUT: {TABLE: t}\n";
    let config = parse(text, &BTreeMap::new()).unwrap();
    let written = write(&config);
    assert!(!written.contains("columns"), "{written}");
    assert_eq!(parse(&written, &BTreeMap::new()).unwrap(), config);
}

#[test]
fn secrets_are_the_users_own_and_go_with_the_rest() {
    let text = r#"
KAFKA:
  INPUT: {SOURCE: {BROKERS: k, TOPIC: t}, FORMAT: json}
  OUTPUT: {TABLE: t}
  PROPERTIES: {sasl.password: "{ {s3: #"}
"#;
    let config = parse(text, &BTreeMap::new()).unwrap();
    assert_eq!(
        write(&config),
        "\
version: v3
targets:
  - gpdb:
      tables:
        - table: t
          mode:
            insert: {}
sources:
  - kafka:
      brokers: k
      topic: t
      value_content:
        json:
          column:
            name: value
            type: json
      rdkafka_prop:
        sasl.password: \"{ {s3: #\"
      task:
        batch_size:
          max_count: 20000
          interval_ms: 1000
"
    );
}
