//! Habits of files in the field: names in any case, functions of both kinds, shapes of other programs, and
//! what a user is told of them.

use gpss_testbed::{Scene, literal};

fn submit(scene: &Scene, job: &str, config: &str) {
    scene.db.sql(&format!("SELECT gpss.submit_job({}, {})", literal(job), scene.placed(config)));
}

/// Findings of a check that are about the configuration, not about Kafka.
fn check(scene: &Scene, config: &str) -> String {
    scene.db.sql(&format!(
        "SELECT component, status, regexp_replace(detail, '; rows (are|go) .*', ''), hint IS NOT NULL
         FROM gpss.check({})
         WHERE component IN ('mapping and privileges', 'transformer', 'remark')",
        scene.placed(config)
    ))
}

#[test]
fn names_in_any_case_mean_the_columns_that_are_there() {
    let scene = Scene::new(1);
    scene.db.sql(
        "CREATE TABLE crimes (id int, iucr text, \"Ward\" text);
         CREATE TABLE sums (total int, \"Kind\" text)",
    );
    scene.topic.send_lines(0, "1,0110,north,x\n2,0560,south,x\n");
    let by_name = r#"
KAFKA:
  INPUT:
    SOURCE: {BROKERS: "THE_ADDRESS", TOPIC: THE_TOPIC}
    COLUMNS:
      - {NAME: ID, TYPE: int}
      - {NAME: IUCR, TYPE: text}
      - {NAME: Ward, TYPE: text}
      - {NAME: __IGNORED__, TYPE: text}
    FORMAT: csv
  OUTPUT: {TABLE: crimes}
"#;
    submit(&scene, "by name", by_name);
    scene.run("by name");
    assert_eq!(scene.db.sql("SELECT * FROM crimes ORDER BY id"), "1|0110|north\n2|0560|south");
    let ok = r#"mapping and privileges|ok|the statement into "public"."crimes" can be planned|f"#;
    assert_eq!(check(&scene, by_name), ok);

    // An expression finds the column with quotes and without; a mapped name is folded as SQL folds it.
    let mapped = by_name.replace("FORMAT: csv", "FORMAT: csv\n    FILTER: ID < 2;").replace(
        "{TABLE: crimes}",
        r#"{TABLE: sums, MAPPING: {TOTAL: "ID + \"ID\" as total", Kind: "IUCR || ward || \"Ward\" as kind;"}}"#,
    );
    submit(&scene, "mapped", &mapped);
    scene.run("mapped");
    assert_eq!(scene.db.sql("SELECT * FROM sums"), "2|0110northnorth");
    // It is read as straight as without the second names: by the page.
    let how = "SELECT detail FROM gpss.check('mapped') WHERE detail LIKE '%written in bulk'";
    assert!(!scene.db.sql(how).is_empty());

    // What goes nowhere is said, by a load too; fields of a document keep their exact names.
    let others = by_name.replace("NAME: IUCR", "NAME: code").replace("NAME: Ward", "NAME: note");
    let found = check(&scene, &others);
    assert_eq!(
        found,
        format!(
            "{ok}\n\
             remark|warning|source columns \"code\", \"note\" go nowhere: Table \"public\".\"crimes\" has no \
             column of the same name.|t\n\
             remark|ok|nothing fills columns \"iucr\", \"Ward\" of table \"public\".\"crimes\": No source \
             column has the same name, and there is no default.|f"
        )
    );
    let notices = scene.db.notices(&format!("SELECT * FROM gpss.load({})", scene.placed(&others)));
    assert!(
        notices.contains("WARNING:  source columns \"code\", \"note\" go nowhere")
            && notices.contains("NOTICE:  nothing fills columns \"iucr\", \"Ward\""),
        "{notices}"
    );
}

#[test]
fn fields_of_a_document_keep_their_exact_names() {
    let scene = Scene::new(1);
    scene.db.sql("CREATE TABLE users (username text, id int)");
    scene.topic.send_lines(0, "{\"userName\": \"ann\", \"username\": \"wrong\", \"ID\": 7}\n");
    submit(
        &scene,
        "users",
        r#"
KAFKA:
  INPUT:
    SOURCE: {BROKERS: "THE_ADDRESS", TOPIC: THE_TOPIC}
    COLUMNS: [{NAME: userName, TYPE: text}, {NAME: ID, TYPE: int}]
    FORMAT: json
  OUTPUT: {TABLE: users}
"#,
    );
    scene.run("users");
    assert_eq!(scene.db.sql("SELECT * FROM users WHERE id IS NOT NULL"), "ann|7");
}

#[test]
fn a_transformer_reads_the_source_or_the_target() {
    let scene = Scene::new(1);
    scene.db.sql(
        "CREATE TABLE orders (id int, amount numeric, note text);
         CREATE FUNCTION from_source(s anyelement, properties json) RETURNS orders
         LANGUAGE plpgsql AS $$
         DECLARE r orders;
         BEGIN
             r.id := s.cust_id; r.amount := s.\"Amount\" * 2; r.note := properties->>'note';
             RETURN r;
         END $$;
         CREATE FUNCTION over_target(t anyelement, properties json) RETURNS anyelement
         LANGUAGE sql AS $$ SELECT json_populate_record(t, '{\"note\": \"target\"}') $$;
         CREATE FUNCTION fails(s anyelement, properties json) RETURNS anyelement
         LANGUAGE plpgsql AS $$ BEGIN PERFORM s.cust_id; RETURN s; END $$",
    );
    scene.topic.send_lines(0, "1,10.5\n");
    let config = r#"
VERSION: 2
KAFKA:
  INPUT:
    SOURCE: {BROKERS: "THE_ADDRESS", TOPIC: THE_TOPIC}
    VALUE: {COLUMNS: [{NAME: cust_id, TYPE: int}, {NAME: Amount, TYPE: numeric}], FORMAT: csv}
  OUTPUTS:
  - {TABLE: orders, TRANSFORMER: {TRANSFORM: from_source, PROPERTIES: {note: source}}}
  - {TABLE: orders, TRANSFORMER: {TRANSFORM: over_target}}
"#;
    let ok = r#"mapping and privileges|ok|the statement into "public"."orders" can be planned|f"#;
    assert_eq!(
        check(&scene, config),
        format!("{ok}\n{ok}\ntransformer|ok|takes the next message|f")
    );
    submit(&scene, "both", config);
    scene.run("both");
    assert_eq!(scene.db.sql("SELECT * FROM orders ORDER BY note"), "1|21.0|source\n|10.5|target");

    // A function that fails is found before the job runs, with what it is given.
    let failing = config.replace("from_source", "fails");
    let found = check(&scene, &failing);
    assert!(
        found.contains("transformer|failed|record \"s\" has no field \"cust_id\"")
            && found.ends_with("|t"),
        "{found}"
    );
    assert_eq!(scene.db.sql("SELECT count(*) FROM orders"), "2");
    let found = check(&scene, config);
    assert!(found.ends_with("transformer|ok|takes the oldest message|f"), "{found}");
    // Nothing to try it on.
    let empty = scene.broker.topic(1);
    let found = check(&scene, &config.replace("THE_TOPIC", &empty.name));
    assert!(found.ends_with("transformer|ok|was not tried: there is no message|f"), "{found}");
}

#[test]
fn milliseconds_for_a_time_are_explained() {
    let scene = Scene::new(2);
    scene.source_and_target("at timestamptz, n int", "format 'csv'");
    scene.topic.send_lines(0, "1600000000000,1\n2026-01-01,2\n");
    scene.db.sql("SELECT gpss.submit_job('load', 'source', 'target')");
    let dryrun = "SELECT error FROM gpss.dryrun('load') WHERE error IS NOT NULL";
    let advice = "Make source column \"at\" a bigint, with ALTER FOREIGN TABLE or TYPE in the file, \
                  and map column \"at\" to to_timestamp(\"at\" / 1000.0), in the mapping of submit_job";
    let error = scene.db.sql(dryrun);
    assert!(error.contains(advice), "{error}");
    scene.run("load");
    assert_eq!(scene.db.sql("SELECT n FROM target"), "2");
    let error = scene.db.sql("SELECT column_name, detail FROM gpss.errors");
    assert!(error.starts_with("at|") && error.contains(advice), "{error}");
    // A first load that it ends says the same.
    scene.db.sql("SELECT gpss.remove_job('load')");
    scene.topic.send_lines(1, "1600000000000,1\n");
    scene.db.sql("ALTER FOREIGN TABLE source OPTIONS (ADD partitions '1')");
    scene.db.sql("SELECT gpss.submit_job('load', 'source', 'target')");
    scene.db.sql(
        "SELECT gpss.start_job('load', quit_at_eof => true); SELECT gpss.wait_job('load', '60 s')",
    );
    let error = scene.db.sql("SELECT status || ' ' || errmsg FROM gpss.jobs");
    assert!(error.starts_with("JOB_ERROR the only message") && error.contains(advice), "{error}");
}

#[test]
fn files_of_other_programs_run() {
    let scene = Scene::new(1);
    scene.db.sql("CREATE TABLE clicks (id int, url text, day date DEFAULT '2026-01-01')");
    scene.topic.send_lines(0, "1,a,2026-02-02\n2,b,2026-03-03\n");
    // FlowServer; the manual's list item without its colon; csv with its table's columns.
    let flow = r#"
version: v1.0
source:
  kafka:
    brokers: ["THE_ADDRESS"]
    topic: THE_TOPIC
    value: {csv: {columns: [{name: id, type: int}, {name: url, type: text}], fill_missing_fields: true}}
    control: {consistency: exactly-once}
    task: {batch_size: {interval_ms: 100}}
target:
  database: {host: h, port: 5432, user: postgres, tables: [{table: clicks, mode: insert}]}
"#;
    let printed = r#"
version: v3
targets:
- gpdb
  host: h
  tables:
  - table: clicks
sources:
- kafka:
    brokers: "THE_ADDRESS"
    topic: THE_TOPIC
    value_content: {csv: {}}
    window: {batch_size: {interval_ms: 100}}
"#;
    let old = r#"
DEBUG: {GRANULARITY: 5}
KAFKA:
  INPUT:
    SOURCE: {BROKERS: "THE_ADDRESS", TOPIC: THE_TOPIC}
    KEY: {FORMAT: binary}
    VALUE: {FORMAT: csv}
  OUTPUT: {TABLE: clicks, MAPPING: {id: "id + 10 as id", url: "upper(url);"}}
"#;
    let rows = |config: &str| {
        scene.db.sql("TRUNCATE clicks");
        scene.db.sql(&format!(
            "SELECT * FROM gpss.load({}, name => 'l', reset => 'earliest')",
            scene.placed(config)
        ));
        scene.db.sql("SELECT * FROM clicks ORDER BY id")
    };
    let wide =
        flow.replace("{name: url, type: text}", "{name: url, type: text}, {name: day, type: date}");
    assert_eq!(rows(&wide), "1|a|2026-02-02\n2|b|2026-03-03");
    assert_eq!(rows(printed), "1|a|2026-02-02\n2|b|2026-03-03");
    assert_eq!(rows(old), "11|A|2026-01-01\n12|B|2026-01-01");

    // Greenplum's own SQL is found before a batch is loaded.
    let task = "  TASK: {POST_BATCH_SQL: \"CREATE TABLE x AS SELECT 1 AS a DISTRIBUTED BY (a)\"}\n  OUTPUT:";
    let found = check(&scene, &old.replace("  OUTPUT:", task));
    let wanted = "mapping and privileges|failed|POST_BATCH_SQL (window_statement): syntax error at or near \"DISTRIBUTED\"|t";
    assert_eq!(found, wanted);
}
