//! GPSS files as they are in the field, of all three versions, each run from submit to rows.

use gpss_testbed::{Producer, Record, Scene, eventually, kill_hard, literal, value};

/// Submits a configuration (see `Scene::placed`) as the job `load`.
fn submit(scene: &Scene, config: &str) {
    scene.db.sql(&format!("SELECT gpss.submit_job('load', {})", scene.placed(config)));
}

#[test]
fn csv_with_an_ignored_field_and_a_computed_column() {
    let scene = Scene::new(1);
    scene
        .db
        .sql("CREATE TABLE purchase_tax (buyer_id int8, amount decimal(9,2), vat decimal(7,2))");
    // The third amount is rounded before it is taxed, by the modifier of the field's type.
    scene.topic.send_lines(
        0,
        "\"501\",\"7\",\"100.00\"\n\"502\",\"8\",\"10.50\"\n\"x\",\"8\",\"1\"\n503,9,0.026\n",
    );
    submit(
        &scene,
        r#"
DATABASE: shopdb
USER: loader
HOST: coord1
PORT: 5432
KAFKA:
  INPUT:
    SOURCE: {BROKERS: "THE_ADDRESS", TOPIC: THE_TOPIC}
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
"#,
    );
    scene.run("load");
    assert_eq!(
        scene.db.sql("SELECT * FROM purchase_tax ORDER BY 1"),
        "501|100.00|19.00\n502|10.50|2.00\n503|0.03|0.01"
    );
    assert_eq!(
        scene.db.sql("SELECT \"offset\", sqlstate, convert_from(payload, 'UTF8') FROM gpss.errors"),
        "2|22P02|\"x\",\"8\",\"1\""
    );
}

#[test]
fn json_and_nothing_else() {
    let scene = Scene::new(1);
    scene.db.sql("CREATE TABLE raw_events (value json)");
    scene.topic.send_lines(0, "{\"a\": 1}\n{bad\n[2]\n");
    submit(
        &scene,
        "
DATABASE: shopdb
USER: loader
KAFKA:
  INPUT:
    SOURCE: {BROKERS: \"THE_ADDRESS\", TOPIC: THE_TOPIC}
    FORMAT: json
    ERROR_LIMIT: 5
  OUTPUT: {TABLE: raw_events}
  COMMIT: {MINIMAL_INTERVAL: 1000}
",
    );
    scene.run("load");
    assert_eq!(scene.db.sql("SELECT value FROM raw_events"), "{\"a\": 1}\n[2]");
    assert_eq!(scene.db.sql("SELECT \"offset\", stage FROM gpss.errors"), "1|decode");
}

#[test]
fn delimited_key_and_value() {
    let scene = Scene::new(1);
    scene.db.sql("CREATE TABLE notes (acct int, day date, note text, at_offset bigint)");
    Producer::new(&scene.topic).send([
        Record { key: Some(b"88"), ..value(b"2024-02-29~^'a~^b'") },
        Record { key: Some(b"x"), ..value(b"2024-02-29~^'c'") },
        Record { key: Some(b"89|1"), ..value(b"2024-02-29~^'c'") },
        Record { key: None, ..value(b"2024-03-01~^'d'") },
    ]);
    submit(
        &scene,
        r#"
DATABASE: shopdb
USER: loader
VERSION: 2
KAFKA:
  INPUT:
    SOURCE: {BROKERS: "THE_ADDRESS", TOPIC: THE_TOPIC}
    KEY:   {COLUMNS: [{NAME: acct, TYPE: int}], FORMAT: delimited, DELIMITED_OPTION: {DELIMITER: "|"}}
    VALUE: {COLUMNS: [{NAME: day, TYPE: date}, {NAME: note, TYPE: text}], FORMAT: delimited,
            DELIMITED_OPTION: {DELIMITER: "~^", QUOTE: "'", ESCAPE: "\\"}}
    META: {COLUMNS: [{NAME: meta, TYPE: jsonb}], FORMAT: json}
    ERROR_LIMIT: 10
  OUTPUT:
    TABLE: notes
    MAPPING: {acct: acct, day: day, note: note, at_offset: "(meta->>'offset')::bigint"}
"#,
    );
    scene.run("load");
    assert_eq!(
        scene.db.sql("SELECT * FROM notes ORDER BY at_offset"),
        "88|2024-02-29|a~^b|0\n|2024-03-01|d|3"
    );
    assert_eq!(
        scene.db.sql("SELECT \"offset\", stage, sqlstate FROM gpss.errors ORDER BY 1"),
        "1|map|22P02\n2|decode|22P02"
    );
}

#[test]
fn several_rows_of_one_message_repeat_its_key_and_metadata() {
    let scene = Scene::new(1);
    scene.db.sql("CREATE TABLE lines (day date, note text, acct int, o bigint)");
    Producer::new(&scene.topic)
        .send([Record { key: Some(b"7"), ..value(b"2024-01-01~^x;\n2024-01-02~^y;\n") }]);
    submit(
        &scene,
        r#"
DATABASE: shopdb
USER: loader
VERSION: 2
KAFKA:
  INPUT:
    SOURCE: {BROKERS: "THE_ADDRESS", TOPIC: THE_TOPIC}
    VALUE: {COLUMNS: [{NAME: day, TYPE: date}, {NAME: note, TYPE: text}], FORMAT: delimited,
            DELIMITED_OPTION: {DELIMITER: "~^", EOL_PREFIX: ";"}}
    KEY: {COLUMNS: [{NAME: acct, TYPE: int}], FORMAT: csv}
    META: {COLUMNS: [{NAME: meta, TYPE: json}], FORMAT: json}
  OUTPUT:
    TABLE: lines
    MAPPING: {day: day, note: note, acct: acct, o: "(meta->>'offset')::bigint"}
"#,
    );
    scene.run("load");
    let rows = scene.db.sql("SELECT * FROM lines ORDER BY 1");
    assert_eq!(rows, "2024-01-01|x|7|0\n2024-01-02|y|7|0");
    // A message counts once, its rows are counted as rows.
    let batch = scene.db.sql("SELECT sum(messages), sum(inserted) FROM gpss.batches");
    assert_eq!(batch, "1|2");
}

/// Two tables from one topic, each with its own filter and mapping.
const TWO_TABLES: &str = r#"
version: v3
targets:
- gpdb:
    host: coord1
    port: 5432
    user: loader
    password: secret
    database: shopdb
    work_schema: etl_work
    error_limit: "50%"
    filter_expression: "(m->>'offset')::int <> 3"
    tables:
    - table: clicks
      schema: web
      mode: {insert: {}}
      mapping: {url: "j->>'u'", at: "(j->>'t')::timestamptz", src: "(m->>'offset')::int"}
      filter: "j->>'kind' = 'click'"
    - table: views
      schema: web
      mapping: {id: "(j->>'id')::int", n: "(j->>'n')::int"}
      filter: "j->>'kind' = 'view' OR j->>'kind' = 'click'"
sources:
- kafka:
    topic: THE_TOPIC
    brokers: THE_ADDRESS
    value_content: {json: {column: {name: j, type: json}}}
    meta: {json: {column: {name: m, type: json}}}
    rdkafka_prop: {client.id: web_loader}
    task:
      batch_size: {max_count: 20000, interval_ms: 300}
    consistency: strong
    fallback_offset: earliest
"#;

fn two_tables(scene: &Scene) {
    scene.db.sql(
        "CREATE SCHEMA web; CREATE SCHEMA etl_work;
         CREATE TABLE web.clicks (url text, at timestamptz, src int);
         CREATE TABLE web.views (id int PRIMARY KEY, n int)",
    );
    submit(scene, TWO_TABLES);
}

#[test]
fn several_tables_take_their_rows_from_one_reading() {
    let scene = Scene::new(1);
    two_tables(&scene);
    scene.topic.send_lines(
        0,
        "{\"kind\":\"click\",\"u\":\"/a\",\"t\":\"2024-05-01T10:00:00Z\",\"id\":1,\"n\":5}
{\"kind\":\"view\",\"id\":2,\"n\":6}
{\"kind\":\"other\",\"id\":3,\"n\":7}
{\"kind\":\"view\",\"id\":4,\"n\":8}
",
    );
    scene.run("load");
    let clicks = "SELECT url, at AT TIME ZONE 'UTC', src FROM web.clicks";
    assert_eq!(scene.db.sql(clicks), "/a|2024-05-01 10:00:00|0");
    assert_eq!(scene.db.sql("SELECT * FROM web.views ORDER BY 1"), "1|5\n2|6");
    assert_eq!(
        scene.db.sql("SELECT target_schema, target_table, mode, rows_loaded FROM gpss.jobs"),
        "web, web|clicks, views|insert, insert|3"
    );
    let work = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
                WHERE relkind = 'f' AND nspname = 'etl_work'";
    assert_eq!(scene.db.sql(work), "1");
}

#[test]
fn a_message_that_one_table_refuses_goes_into_none() {
    let scene = Scene::new(1);
    two_tables(&scene);
    scene.topic.send_lines(
        0,
        "{\"kind\":\"click\",\"u\":\"/a\",\"id\":1,\"n\":5}
{\"kind\":\"click\",\"u\":\"/b\",\"id\":1,\"n\":6}
{\"kind\":\"click\",\"u\":\"/c\",\"id\":3,\"n\":7}
",
    );
    scene.run("load");
    assert_eq!(scene.db.sql("SELECT url FROM web.clicks ORDER BY 1"), "/a\n/c");
    assert_eq!(scene.db.sql("SELECT id FROM web.views ORDER BY 1"), "1\n3");
    let errors = "SELECT \"offset\", stage, sqlstate FROM gpss.errors";
    assert_eq!(scene.db.sql(errors), "1|write|23505");
}

#[test]
fn templates_are_filled_from_properties() {
    let scene = Scene::new(1);
    scene.db.sql("CREATE TABLE raw_events (value json)");
    scene.topic.send_lines(0, "1\n");
    let config = scene.placed(
        "
DATABASE: d
USER: u
PASSWORD: {{pw}}
KAFKA:
  INPUT:
    SOURCE: {BROKERS: \"THE_ADDRESS\", TOPIC: \"{{topic}}\"}
    FORMAT: json
  OUTPUT: {TABLE: \"{{table}}\"}
",
    );
    let error = scene.db.error(&format!("SELECT gpss.submit_job('load', {config})"));
    assert!(error.contains("no property is given for the template {{pw}}"), "{error}");
    scene.db.sql(&format!(
        "SELECT gpss.submit_job('load', {config},
            properties => '{{\"pw\": \"x\", \"topic\": \"{}\", \"table\": \"raw_events\"}}')",
        scene.topic.name
    ));
    scene.run("load");
    assert_eq!(scene.db.sql("SELECT value FROM raw_events"), "1");
}

#[test]
fn a_transformer_makes_the_rows() {
    let scene = Scene::new(1);
    scene.db.sql(
        "CREATE TABLE people (name text, age int, twice int GENERATED ALWAYS AS (age * 2) STORED);
         CREATE FUNCTION tag_row(s people, properties json) RETURNS people
         LANGUAGE plpgsql AS $$
         BEGIN
             s.name := (properties->>'tag') || s.name;
             s.age := s.age + (properties->>'add')::int;
             RETURN s;
         END $$;
         CREATE FUNCTION older(s anyelement, properties json) RETURNS anyelement LANGUAGE sql AS $$
             SELECT json_populate_record(s,
                 json_build_object('age', (to_json(s)->>'age')::int + (properties->>'by')::int))
         $$",
    );
    scene.topic.send_lines(0, "ann,20\nbob,30\n");
    submit(
        &scene,
        r#"
DATABASE: d
USER: u
VERSION: 2
KAFKA:
  INPUT:
    SOURCE: {BROKERS: "THE_ADDRESS", TOPIC: THE_TOPIC}
    VALUE: {COLUMNS: [{NAME: name, TYPE: text}, {NAME: age, TYPE: int}], FORMAT: csv}
    FILTER: age > 25
  OUTPUTS:
  - TABLE: people
    TRANSFORMER: {TRANSFORM: tag_row, PROPERTIES: {tag: "eu-", add: 5}, COLUMNS: [name, age]}
  - TABLE: people
    TRANSFORMER: {TRANSFORM: older, PROPERTIES: {by: 10}}
"#,
    );
    scene.run("load");
    assert_eq!(scene.db.sql("SELECT * FROM people ORDER BY age"), "eu-bob|35|70\nbob|40|80");
}

#[test]
fn a_statement_after_each_batch_folds_a_staging_table() {
    let scene = Scene::new(1);
    scene.db.sql(
        "CREATE TABLE staging (id int, n int);
         CREATE TABLE final (id int PRIMARY KEY, n int, folded int);
         CREATE FUNCTION fold() RETURNS void LANGUAGE sql AS $$
             INSERT INTO final SELECT id, max(n), 1 FROM staging GROUP BY id
             ON CONFLICT (id) DO UPDATE SET n = greatest(final.n, excluded.n), folded = final.folded + 1;
             DELETE FROM staging
         $$",
    );
    scene.topic.send_lines(0, "1,1\n1,2\n2,1\n");
    submit(
        &scene,
        r#"
DATABASE: d
USER: u
VERSION: 2
KAFKA:
  INPUT:
    SOURCE: {BROKERS: "THE_ADDRESS", TOPIC: THE_TOPIC}
    VALUE: {COLUMNS: [{NAME: id, TYPE: int}, {NAME: n, TYPE: int}], FORMAT: csv}
  OUTPUT: {TABLE: staging}
  COMMIT: {MAX_ROW: 2}
  TASK: {POST_BATCH_SQL: "select fold();", BATCH_INTERVAL: 1}
"#,
    );
    scene.run("load");
    assert_eq!(scene.db.sql("SELECT * FROM final ORDER BY 1"), "1|2|1\n2|1|1");
    assert_eq!(scene.db.sql("SELECT count(*) FROM staging"), "0");

    // An error in it is nobody's message, and nothing of the batch stays.
    scene.db.sql("ALTER TABLE final ADD CHECK (n < 100)");
    scene.topic.send_lines(0, "3,100\n");
    scene.db.sql(
        "SELECT gpss.start_job('load', quit_at_eof => true); SELECT gpss.wait_job('load', '60 s')",
    );
    let status = "SELECT status, errmsg LIKE '%POST_BATCH_SQL%check constraint%' FROM gpss.jobs";
    assert_eq!(scene.db.sql(status), "JOB_ERROR|t");
    assert_eq!(scene.db.sql("SELECT count(*) FROM staging"), "0");
    assert_eq!(scene.db.sql("SELECT count(*) FROM gpss.errors"), "0");
    assert_eq!(scene.db.sql("SELECT next_offset FROM gpss.progress"), "3");
}

#[test]
fn a_mapping_may_make_several_rows_of_a_message() {
    let scene = Scene::new(1);
    scene.db.sql("CREATE TABLE items (id int, n int)");
    scene.topic.send_lines(
        0,
        "{\"items\":[{\"id\":1},{\"id\":2}],\"ns\":[7]}\n{\"items\":[]}\n{\"items\":[{\"id\":3}],\"ns\":[8]}\n",
    );
    submit(
        &scene,
        r#"
DATABASE: d
USER: u
KAFKA:
  INPUT:
    SOURCE: {BROKERS: "THE_ADDRESS", TOPIC: THE_TOPIC}
    COLUMNS: [{NAME: j, TYPE: json}]
    FORMAT: json
  OUTPUT:
    TABLE: items
    MAPPING:
      id: "(json_array_elements(j->'items')->>'id')::int"
      n: "json_array_elements_text(j->'ns')::int"
"#,
    );
    scene.run("load");
    assert_eq!(scene.db.sql("SELECT * FROM items ORDER BY 1"), "1|7\n2|\n3|8");
}

#[test]
fn a_load_goes_on_with_another_mapping_and_begins_anew_in_another_table() {
    let scene = Scene::new(1);
    scene.db.sql("CREATE TABLE a (n int, note text); CREATE TABLE b (n int, note text)");
    let config = |table: &str, note: &str| {
        scene.placed(&format!(
                "
version: v3
targets: [{{gpdb: {{database: d, user: u, tables: [{{table: {table}, mapping: {{n: \"(j->>'n')::int\", note: \"'{note}'\"}}}}]}}}}]
sources: [{{kafka: {{topic: THE_TOPIC, brokers: THE_ADDRESS, value_content: {{json: {{column: {{name: j, type: json}}}}}}}}}}]
"
            ),
        )
    };
    let run = |config: &str| scene.db.sql(&format!("SELECT count(*) FROM gpss.load({config})"));
    scene.topic.send_lines(0, "{\"n\": 1}\n{\"n\": 2}\n");
    run(&config("a", "one"));
    scene.topic.send_lines(0, "{\"n\": 3}\n");
    run(&config("a", "two"));
    assert_eq!(scene.db.sql("SELECT * FROM a ORDER BY n"), "1|one\n2|one\n3|two");
    run(&config("b", "x"));
    assert_eq!(scene.db.sql("SELECT * FROM b ORDER BY n"), "1|x\n2|x\n3|x");

    // Whoever has loaded last: a job goes on where a load stopped, and the other way round.
    scene.db.sql(&format!("SELECT gpss.submit_job('load', {})", config("a", "job")));
    scene.topic.send_lines(0, "{\"n\": 4}\n");
    scene.run("load");
    scene.topic.send_lines(0, "{\"n\": 5}\n");
    run(&config("a", "last"));
    scene.topic.send_lines(0, "{\"n\": 6}\n");
    scene.run("load");
    let rows = "1|one\n2|one\n3|two\n4|job\n5|last\n6|job";
    assert_eq!(scene.db.sql("SELECT * FROM a ORDER BY n"), rows);
}

#[test]
fn a_refused_escape_costs_its_message_only() {
    let scene = Scene::new(1);
    scene.db.sql("CREATE TABLE docs (doc jsonb)");
    scene.topic.send_lines(0, "{\"a\":\"x\"}\n{\"a\":\"x\\u0000y\"}\n{\"a\":\"z\"}\n");
    submit(
        &scene,
        "
DATABASE: d
USER: u
VERSION: 2
KAFKA:
  INPUT:
    SOURCE: {BROKERS: \"THE_ADDRESS\", TOPIC: THE_TOPIC}
    VALUE: {COLUMNS: [{NAME: j, TYPE: json}], FORMAT: json}
    ERROR_LIMIT: 5
  OUTPUT: {TABLE: docs, MAPPING: {doc: \"j::jsonb\"}}
",
    );
    scene.run("load");
    assert_eq!(scene.db.sql("SELECT doc->>'a' FROM docs"), "x\nz");
    assert_eq!(scene.db.sql("SELECT \"offset\", sqlstate FROM gpss.errors"), "1|22P05");
}

#[test]
fn only_the_chosen_partitions_are_read() {
    let scene = Scene::new(4);
    scene.topic.send_numbers(0..40);
    submit(
        &scene,
        "
DATABASE: d
USER: u
VERSION: 2
KAFKA:
  INPUT:
    SOURCE: {BROKERS: \"THE_ADDRESS\", TOPIC: THE_TOPIC, PARTITIONS: \"(0, 2...3)\"}
    VALUE: {COLUMNS: [{NAME: j, TYPE: json}], FORMAT: json}
  OUTPUT: {TABLE: numbers, MAPPING: {n: \"(j->>'n')::int\"}}
",
    );
    scene.run("load");
    assert_eq!(scene.db.sql("SELECT count(*), bool_or(n % 4 = 1) FROM numbers"), "30|f");
    assert_eq!(
        scene
            .db
            .sql("SELECT string_agg(partition::text, ',' ORDER BY partition) FROM gpss.progress"),
        "0,2,3"
    );
}

#[test]
fn a_dry_run_shows_statements_and_rows_and_moves_nothing() {
    let scene = Scene::new(1);
    two_tables(&scene);
    scene.topic.send_lines(
        0,
        "{\"kind\":\"click\",\"u\":\"/a\",\"t\":\"soon\",\"id\":1,\"n\":5}
{\"kind\":\"view\",\"id\":2,\"n\":6}
{bad
",
    );
    let rows = "SELECT target, statement IS NOT NULL, \"offset\", \"row\", error FROM ";
    let expected = "\"web\".\"clicks\"|t|||
\"web\".\"clicks\"|f|0||invalid input syntax for type timestamp with time zone: \"soon\"
\"web\".\"clicks\"|f|2||invalid input syntax for type json: expected string or \"}\" at byte 1
\"web\".\"views\"|t|||
\"web\".\"views\"|f|0|{\"n\": 5, \"id\": 1}|
\"web\".\"views\"|f|1|{\"n\": 6, \"id\": 2}|
\"web\".\"views\"|f|2||invalid input syntax for type json: expected string or \"}\" at byte 1";
    assert_eq!(scene.db.sql(&format!("{rows} gpss.dryrun('load')")), expected);
    let config = scene.placed(TWO_TABLES);
    assert_eq!(scene.db.sql(&format!("{rows} gpss.dryrun({config})")), expected);
    assert_eq!(scene.db.sql("SELECT count(*) FROM web.views"), "0");
    assert_eq!(scene.db.sql("SELECT count(*) FROM gpss.progress"), "0");
    assert_eq!(scene.db.sql("SELECT count(*) FROM pg_foreign_server"), "1");
    let converted = format!("SELECT gpss.convert({config})");
    let again = scene.db.sql(&converted);
    assert!(again.starts_with("version: v3\n"), "{again}");
    assert_eq!(scene.db.sql(&format!("{rows} gpss.dryrun({})", literal(&again))), expected);
}

#[test]
fn update_and_merge_are_read_and_refused() {
    let scene = Scene::new(1);
    scene.db.sql("CREATE TABLE client (id int, name text)");
    let config = scene.placed(
        "
DATABASE: d
USER: u
VERSION: 2
KAFKA:
  INPUT:
    SOURCE: {BROKERS: \"THE_ADDRESS\", TOPIC: THE_TOPIC}
    VALUE: {COLUMNS: [{NAME: c, TYPE: json}], FORMAT: json}
  OUTPUT:
    TABLE: client
    MODE: MERGE
    MATCH_COLUMNS: [id]
    UPDATE_COLUMNS: [name]
    ORDER_COLUMNS: [id]
    MAPPING: {id: \"(c->>'id')::int\", name: \"c->>'name'\"}
",
    );
    let error = scene.db.error(&format!("SELECT gpss.submit_job('load', {config})"));
    assert!(error.contains("mode \"merge\" is not supported yet"), "{error}");
    let converted = scene.db.sql(&format!("SELECT gpss.convert({config})"));
    assert!(converted.contains("match_columns"), "{converted}");
    eventually("nothing is left behind", 5, || {
        scene.db.sql("SELECT count(*) FROM pg_foreign_server") == "0"
    });
}

#[test]
fn properties_for_old_brokers_do_not_keep_a_job_from_new_ones() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..10);
    submit(
        &scene,
        "
DATABASE: d
USER: u
KAFKA:
  INPUT:
    SOURCE: {BROKERS: \"THE_ADDRESS\", TOPIC: THE_TOPIC}
    COLUMNS: [{NAME: j, TYPE: json}]
    FORMAT: json
  OUTPUT: {TABLE: numbers, MAPPING: {n: \"(j->>'n')::int\"}}
  PROPERTIES: {api.version.request: false, broker.version.fallback: 0.8.2.1}
",
    );
    scene.run("load");
    scene.expect_exactly(0..10);
}

#[test]
fn each_consistency_loads_exactly_once_whatever_dies() {
    let scene = Scene::new(1);
    scene.slow_down(20);
    scene.topic.send_numbers(0..600);
    let consistencies =
        [("strong", "true"), ("at-least", "false"), ("at-most", "true"), ("none", "false")];
    for (consistency, auto_commit) in consistencies {
        scene.db.sql("TRUNCATE numbers");
        let config = "
DATABASE: d
USER: u
VERSION: 2
KAFKA:
  INPUT:
    SOURCE: {BROKERS: \"THE_ADDRESS\", TOPIC: THE_TOPIC}
    VALUE: {COLUMNS: [{NAME: j, TYPE: json}], FORMAT: json}
  OUTPUT: {TABLE: numbers, MAPPING: {n: \"(j->>'n')::int\"}}
  COMMIT: {MAX_ROW: 20, CONSISTENCY: THE_CONSISTENCY}
  PROPERTIES: {group.id: a_group, enable.auto.commit: AUTO}
";
        let config = config.replace("THE_CONSISTENCY", consistency).replace("AUTO", auto_commit);
        submit(&scene, &config);
        scene.db.sql("SELECT gpss.start_job('load', reset => 'earliest')");
        // Once in a batch's transaction, once wherever it happens to be.
        for _ in 0..2 {
            let before = scene.rows();
            eventually("another batch", 60, || scene.rows() > before);
            eventually("a worker", 30, || {
                scene.workers().first().map(|pid| kill_hard(*pid)).is_some()
            });
        }
        scene.expect_exactly(0..600);
        scene.db.sql("SELECT gpss.stop_job('load'); SELECT gpss.remove_job('load')");
    }
}
