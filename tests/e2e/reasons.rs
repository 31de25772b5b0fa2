//! What a user is told about messages that are not loaded: reasons, a wrong first load, and who may read it.

use gpss_testbed::{Producer, Record, Scene, encode, eventually, literal, value};

/// An Avro container file with this schema and without any block.
fn container(schema: &str) -> Vec<u8> {
    let entry = [encode::bytes(b"avro.schema"), encode::bytes(schema.as_bytes())].concat();
    [b"Obj\x01".as_slice(), &encode::array(&[entry]), &[7; 16]].concat()
}

#[test]
fn whatever_a_reason_quotes_it_is_stored_shown_and_short() {
    let scene = Scene::new(1);
    scene.source_and_target("n int, error text OPTIONS (source 'error')", "format 'avro'");
    scene.topic.send_bytes(0, &container(r#""a\u0000b\u001b[31m""#));
    let long = format!(r#"{{"type": "{}\u0000"}}"#, "é".repeat(3000));
    scene.topic.send_bytes(0, &container(&long));
    scene.db.sql(
        "SELECT gpss.submit_job('load', 'source'::regclass, 'target'::regclass,
             mapping => '{\"n\": \"n\"}', error_limit => '100%')",
    );
    let in_dryrun =
        scene.db.sql("SELECT DISTINCT error FROM gpss.dryrun('load', 1) WHERE error IS NOT NULL");
    scene.run("load");
    let stored = r#"SELECT message FROM gpss.errors ORDER BY "offset""#;
    let reasons = scene.db.sql(stored);
    assert!(reasons.contains(r#"type "a\u0000b\u001b[31m" is not defined"#), "{reasons}");
    assert_eq!(
        scene.db.number("SELECT count(*) FROM gpss.errors WHERE length(message) <= 1000"),
        2
    );
    assert!(reasons.starts_with(&in_dryrun) && !in_dryrun.is_empty(), "{in_dryrun}");
    assert_eq!(scene.db.sql("SELECT error FROM source"), reasons);
    let shown =
        scene.db.error("ALTER FOREIGN TABLE source DROP COLUMN error; SELECT n FROM source");
    assert!(shown.contains(r#"a\u0000b\u001b[31m"#), "{shown}");
}

#[test]
fn a_reason_of_postgresqls_that_quotes_a_megabyte_is_short() {
    let scene = Scene::new(1);
    scene.submit(100);
    scene.topic.send_numbers(0..1);
    let long = format!("{{\"n\": \"{}\"}}", "x".repeat(1 << 20));
    scene.topic.send_bytes(0, long.as_bytes());
    scene.load_to_the_end();
    let stored =
        "SELECT length(message), right(message, 5), octet_length(payload) > 1000000, column_name
                  FROM gpss.errors";
    assert_eq!(scene.db.sql(stored), "1000|xx...|t|n");
}

#[test]
fn a_first_load_of_nothing_but_rejected_messages_ends_with_an_error_and_can_be_repeated() {
    let scene = Scene::new(1);
    scene.source_and_target("id int", "format 'avro'");
    scene.topic.send_lines(0, "{\"id\": 1}\n{\"id\": 2}\n{\"id\": 3}\n");
    scene.db.sql("SELECT gpss.submit_job('load', 'source'::regclass, 'target'::regclass)");
    let start = "SELECT gpss.start_job('load', quit_at_eof => true)";
    let wait = "SELECT gpss.wait_job('load', '60 s')";
    scene.db.sql(&format!("{start}; {wait}"));
    let job = "SELECT status, errmsg FROM gpss.jobs";
    let said = scene.db.sql(job);
    let first = "JOB_ERROR|all 3 messages that the job has read were rejected: The first is partition 0, offset 0: ";
    assert!(
        said.starts_with(first) && said.contains("HINT: No offset was moved for this batch."),
        "{said}"
    );
    assert_eq!(scene.db.sql("SELECT next_offset, rows_rejected FROM gpss.progress"), "0|0");
    assert_eq!(scene.db.number("SELECT count(*) FROM gpss.errors"), 0);

    // Who may see the job by pg_monitor alone sees no data in it.
    scene.db.sql(
        "DO $$ BEGIN CREATE ROLE watcher; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
                  GRANT pg_monitor TO watcher",
    );
    assert_eq!(
        scene.db.sql(&format!("SET ROLE watcher; {job}")),
        "JOB_ERROR|<insufficient privilege>"
    );

    // The same again, and once it is mended all messages are loaded.
    scene.db.sql(&format!("{start}; {wait}"));
    assert!(scene.db.sql(job).starts_with(first));
    scene.db.sql("ALTER FOREIGN TABLE source OPTIONS (SET format 'json')");
    scene.run("load");
    assert_eq!(scene.db.sql("SELECT id FROM target ORDER BY id"), "1\n2\n3");
    assert_eq!(scene.db.sql("SET ROLE watcher; SELECT errmsg IS NULL FROM gpss.jobs"), "t");

    // Later on it is the messages.
    scene.topic.send_lines(0, "no JSON\n");
    scene.db.sql(&format!("{start}; {wait}"));
    assert_eq!(
        scene.db.sql(job),
        "JOB_SUCCESS|1 message was rejected and not loaded\nHINT: gpss.errors has them and says why. \
         gpss.retry_errors('load') loads them when that is mended."
    );
}

#[test]
fn an_exceeded_error_limit_claims_no_more_than_is_known() {
    let scene = Scene::new(1);
    scene.submit(1000);
    scene.db.sql("ALTER TABLE numbers ADD CHECK (n % 10 <> 0)");
    scene.topic.send_numbers(0..400);
    let start = "SELECT gpss.start_job('numbers', quit_at_eof => true);
         SELECT gpss.wait_job('numbers', '60 s')";
    scene.db.sql(start);
    let errmsg = scene.db.sql("SELECT errmsg FROM gpss.jobs");
    let wanted = "at least 25 of 400 messages of a batch were rejected, the error limit is 25";
    assert!(errmsg.contains(wanted), "{errmsg}");
}

#[test]
fn the_sums_of_a_run_do_not_need_its_batches() {
    let scene = Scene::new(1);
    // As retention does in a run that lasts for longer.
    let task =
        "   TASK: {POST_BATCH_SQL: \"DELETE FROM gpss.batch\", BATCH_INTERVAL: 1}\n   COMMIT:";
    let load = literal(&scene.config(25, 10).replace("   COMMIT:", task));
    for first in [0, 30] {
        scene.topic.send_numbers(first..first + 30);
        scene.topic.send_lines(0, "no JSON\nno JSON\n");
        let told = scene.db.notices(&format!("SELECT gpss.load({load})"));
        assert!(told.contains("30 rows loaded, 2 messages rejected"), "{told}");
        assert!(told.contains("2 messages were rejected and not loaded"), "{told}");
    }
    scene.expect_exactly(0..60);
}

#[test]
fn a_first_bad_message_does_not_stop_a_job_that_goes_on_and_many_do() {
    let scene = Scene::new(1);
    scene.source_and_target("id int", "format 'json'");
    scene.db.sql(
        "SELECT gpss.submit_job('load', 'source'::regclass, 'target'::regclass, minimal_interval => 0);
         SELECT gpss.start_job('load')",
    );
    scene.topic.send_lines(0, "no JSON\n");
    let rejected = "SELECT rows_rejected FROM gpss.jobs WHERE name = 'load'";
    eventually("the bad message is recorded", 30, || scene.db.number(rejected) == 1);
    assert_eq!(
        scene.db.sql("SELECT status, errmsg FROM gpss.jobs"),
        "JOB_RUNNING|the only message that the job has read so far was rejected\nHINT: gpss.errors says why."
    );
    let bad: Vec<Record<'_>> = (0..9).map(|_| value(b"no JSON")).collect();
    gpss_testbed::Producer::new(&scene.topic).send(bad);
    let status = "SELECT status FROM gpss.jobs WHERE name = 'load'";
    eventually("the job ends", 30, || scene.db.sql(status) == "JOB_ERROR");
    assert!(scene.db.number(rejected) < 10);

    // With a limit of its own the job takes what comes.
    scene.db.sql(
        "SELECT gpss.remove_job('load');
         SELECT gpss.submit_job('load', 'source'::regclass, 'target'::regclass, error_limit => '100%')",
    );
    scene.topic.send_lines(0, "{\"id\": 1}\n");
    scene.run("load");
    assert_eq!(scene.db.sql("SELECT rows_loaded, rows_rejected FROM gpss.jobs"), "1|10");
}

#[test]
fn a_job_that_has_read_good_messages_is_not_ended_by_bad_ones_when_its_history_is_purged() {
    let scene = Scene::new(1);
    scene.source_and_target("id int", "format 'json'");
    // Good, and yet not loaded.
    scene.topic.send_lines(0, "{\"id\": 1}\n");
    scene.db.sql(
        "SELECT gpss.submit_job('load', 'source'::regclass, 'target'::regclass, filter => 'id > 1')",
    );
    scene.run("load");
    scene.db.sql("DELETE FROM gpss.batch");
    scene.topic.send_lines(0, "no JSON\n");
    scene.run("load");
    assert_eq!(scene.db.sql("SELECT rows_loaded, rows_rejected FROM gpss.jobs"), "0|1");
}

#[test]
fn bad_messages_before_good_ones_do_not_end_a_first_run_to_the_end() {
    let scene = Scene::new(1);
    scene.source_and_target("id int", "format 'json'");
    scene.topic.send_lines(0, "no JSON\nno JSON\n{\"id\": 1}\n");
    scene.db.sql(
        "SELECT gpss.submit_job('load', 'source'::regclass, 'target'::regclass, max_row => 1)",
    );
    scene.run("load");
    assert_eq!(scene.db.sql("SELECT rows_loaded, rows_rejected FROM gpss.jobs"), "1|2");
}

#[test]
fn gpss_load_warns_of_what_it_has_rejected() {
    let scene = Scene::new(1);
    scene.topic.send_lines(0, "{\"n\": 1}\nno JSON\n");
    let config = gpss_testbed::literal(&scene.config(25, 100));
    let said = scene.db.notices(&format!("SELECT gpss.load({config})"));
    let warning = said.lines().find(|line| line.contains("WARNING")).unwrap_or_default();
    assert!(warning.ends_with("1 message was rejected and not loaded"), "{said}");
    assert!(said.contains("gpss.retry_errors("), "{said}");
}

#[test]
fn a_protobuf_message_of_another_type_is_rejected_unless_the_table_says_otherwise() {
    let scene = Scene::new(1);
    let schema = "syntax = \"proto3\"; message Ping { int32 id = 1; string host = 2; }";
    let options = format!("format 'protobuf', schema {}", literal(schema));
    scene.source_and_target("id int, place bigint OPTIONS (source 'offset')", &options);
    // Of another type; empty, so all defaults; with a field that no column reads.
    let messages: [&[u8]; 4] = [b"\x08\x07", b"\x2a\x01x", b"", b"\x12\x01h"];
    Producer::new(&scene.topic).send(messages.map(value));
    scene.load_source();
    assert_eq!(scene.db.sql("SELECT place, id FROM target ORDER BY 1"), "0|7\n2|0\n3|0");
    let reason = "none of the fields of message type \"Ping\" is there; there are fields with the numbers: 5";
    let errors = "SELECT \"offset\", message FROM gpss.errors WHERE stage = 'decode'";
    assert_eq!(scene.db.sql(errors), format!("1|{reason}"));
    scene.db.sql("ALTER FOREIGN TABLE source OPTIONS (ADD fill_missing_fields 'true')");
    assert_eq!(scene.db.sql("SELECT id FROM source WHERE place = 1"), "0");
}

#[test]
fn a_document_without_any_wanted_field_is_rejected_unless_the_table_says_otherwise() {
    let scene = Scene::new(1);
    let columns =
        "username text, id int OPTIONS (field 'Id'), place bigint OPTIONS (source 'offset')";
    scene.source_and_target(columns, "format 'json'");
    scene.table(
        "shown",
        &format!("{columns}, error text OPTIONS (source 'error')"),
        "format 'json'",
    );
    scene.topic.send_lines(
        0,
        "{\"username\": \"a\"}
{\"userName\": \"b\", \"id\": 2}
[{\"Id\": 1}]
null
7
{\"Id\": null, \"x\": 1}
{}
{\"other\": {\"Id\": 1}}
",
    );
    scene.topic.send_tombstone(0);
    let missing = r#"none of the wanted fields is there: "username", "Id""#;
    let reasons = format!(
        "1|{missing}; \"userName\", \"id\" differs in case\n\
         2|a JSON array has no fields; format jsonl makes a row of each element of the outermost array, \
         json_array_elements over a column with source 'value' of any; wanted: \"username\", \"Id\"\n\
         3|JSON null has no fields, wanted: \"username\", \"Id\"\n\
         4|a JSON number has no fields, wanted: \"username\", \"Id\"\n\
         6|{missing}\n\
         7|{missing}; there are: \"other\""
    );
    scene.load_source();
    let errors = r#"SELECT "offset", message FROM gpss.errors WHERE stage = 'decode' ORDER BY 1"#;
    assert_eq!(scene.db.sql(errors), reasons);
    assert_eq!(scene.db.sql("SELECT place, username, id FROM target ORDER BY 1"), "0|a|\n5||\n8||");

    // A query is told the same, whichever columns it reads.
    let shown = "SELECT place, error FROM shown WHERE error IS NOT NULL";
    assert_eq!(scene.db.sql(shown), reasons);
    assert!(scene.db.error("SELECT id FROM source").contains(missing));
    assert!(scene.db.error("SELECT count(*) FROM source").contains(missing));
    let function = |options: &str| {
        format!(
            "SELECT * FROM gpss.gpfmt_gpss('[1]'::bytea, '{{\"format\": \"json\"{options}}}') AS t (id int)"
        )
    };
    assert!(scene.db.error(&function("")).contains("a JSON array has no fields; format jsonl"));
    assert_eq!(scene.db.sql(&function(", \"fill_missing_fields\": true")), "");

    // The table may take them, and a table that holds the document does.
    scene.db.sql("ALTER FOREIGN TABLE source OPTIONS (ADD fill_missing_fields 'true')");
    assert_eq!(scene.db.number("SELECT count(*) FROM source WHERE username IS NULL"), 8);
    scene.db.sql("ALTER FOREIGN TABLE shown ADD COLUMN doc json OPTIONS (source 'value')");
    let both = "SELECT count(*), count(error), count(doc), count(doc->>'other') FROM shown";
    assert_eq!(scene.db.sql(both), "9|0|8|1");
}

#[test]
fn an_avro_field_whose_name_differs_in_case_is_told_and_a_line_has_its_number() {
    let scene = Scene::new(1);
    let schema =
        r#"{"type": "record", "name": "r", "fields": [{"name": "userName", "type": "long"}]}"#;
    scene.source_and_target("username bigint", &format!("format 'avro', schema '{schema}'"));
    scene.topic.send_bytes(0, &encode::long(5));
    let said = scene.db.error("SELECT * FROM source");
    assert!(said.contains("\"userName\" differs in case"), "{said}");

    scene.topic.send_lines(0, "\n");
    let lines = |format: &str, text: &str| {
        scene.db.error(&format!(
            "SELECT * FROM gpss.gpfmt_gpss('{text}'::bytea, '{{\"format\": \"{format}\", \"delimiter\": \",\"}}')
             AS t (a int, b int)"
        ))
    };
    for format in ["csv", "text", "delimited"] {
        let said = lines(format, "1,2\n3\n");
        assert!(said.contains("line 2: missing data for column \"b\""), "{said}");
        let said = lines(format, "3\n");
        assert!(!said.contains("line "), "{said}");
    }
    let said = scene.db.error(
        "SELECT * FROM gpss.gpfmt_gpss('{\"a\": 1}\n{\"a\": ', '{\"format\": \"jsonl\"}') AS t (a int)",
    );
    assert!(said.contains("document 2: "), "{said}");
}

#[test]
fn an_error_in_the_filter_is_told_as_the_filters() {
    let scene = Scene::new(1);
    scene.server();
    scene.table("source", "doc json OPTIONS (source 'value')", "format 'json'");
    scene.db.sql("CREATE TABLE target (n int)");
    let submit = |filter: &str| {
        format!(
            "SELECT gpss.submit_job('load', 'source'::regclass, 'target'::regclass,
                 mapping => '{{\"n\": \"(doc->>''n'')::int\"}}', filter => '{filter}')"
        )
    };
    let said = scene.db.error(&submit("n > 0"));
    assert!(said.contains("In the filter: n > 0") && !said.contains("target"), "{said}");
    scene.db.sql(&submit("(doc->>''m'')::int > 0"));
    scene.topic.send_lines(
        0,
        "{\"n\": 1, \"m\": 1}\n{\"n\": 2, \"m\": \"x\"}\n{\"n\": \"y\", \"m\": 1}\n",
    );
    scene.run("load");
    assert_eq!(
        scene.db.sql(r#"SELECT "offset", stage, column_name, detail FROM gpss.errors ORDER BY 1"#),
        "1|map||In the filter.\n2|map|n|"
    );
}
