//! Rejected messages: what costs one message only, what is said about it, and what becomes of it.

use gpss_testbed::{Producer, Record, Scene, eventually, literal, value};

/// The columns of the target, which everything that can fail has one of.
const TARGET: &str = "
    CREATE TABLE known (n int PRIMARY KEY);
    INSERT INTO known VALUES (1);
    CREATE DOMAIN positive AS int CHECK (VALUE > 0);
    CREATE TABLE target (
        id int PRIMARY KEY,
        must text NOT NULL,
        checked int CHECK (checked < 100),
        two int, CHECK (two <> checked),
        short varchar(3),
        narrow int,
        dom positive,
        refers int REFERENCES known,
        later int UNIQUE DEFERRABLE INITIALLY DEFERRED,
        period int4range, EXCLUDE USING gist (period WITH &&),
        computed int GENERATED ALWAYS AS (100 / (checked + 7)) STORED
    );
    CREATE UNIQUE INDEX ON target ((narrow + 1));
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.must = TG_WHEN || ' ' || TG_LEVEL THEN
                RAISE EXCEPTION 'refused' USING ERRCODE = 'G0001', DETAIL = 'by a trigger';
            END IF;
            RETURN NEW;
        END $$;
    CREATE TRIGGER before BEFORE INSERT ON target FOR EACH ROW EXECUTE FUNCTION refuse();
    CREATE TRIGGER after AFTER INSERT ON target FOR EACH ROW EXECUTE FUNCTION refuse();";

const MAPPING: &str = r#"{
    "id": "(doc->>'id')::int",
    "must": "doc->>'must'",
    "checked": "100 / coalesce((doc->>'divisor')::int, 50)",
    "two": "(doc->>'two')::int",
    "short": "doc->>'short'",
    "narrow": "(doc->>'narrow')::bigint",
    "dom": "(doc->>'dom')::int",
    "refers": "(doc->>'refers')::int",
    "later": "(doc->>'later')::int",
    "period": "(doc->>'period')::int4range"
}"#;

/// A message's fields besides `id` and `must`, and what gpss.errors is to say: stage, SQLSTATE, column.
const BAD: [(&str, &str); 22] = [
    (r#""id": "x""#, "map|22P02|id"),
    (r#""id": 99999999999"#, "map|22003|id"),
    (r#""id": null"#, "write|23502|id"),
    (r#""must": null"#, "write|23502|must"),
    (r#""divisor": 0"#, "map|22012|checked"),
    (r#""divisor": 1"#, "write|23514|checked"),
    (r#""two": 2"#, "write|23514|"),
    (r#""short": "long""#, "map|22001|short"),
    (r#""narrow": 3000000000"#, "map|22003|narrow"),
    (r#""dom": 0"#, "write|23514|dom"),
    (r#""refers": 2"#, "write|23503|refers"),
    // The same as in the good message before it.
    (r#""later": 7"#, "write|23505|later"),
    (r#""period": "[1,5)""#, "write|23P01|period"),
    (r#""narrow": 5"#, "write|23505|"),
    // Of the generated column, which has its value from this one.
    (r#""divisor": -14"#, "map|22012|checked"),
    (r#""must": "BEFORE ROW""#, "write|G0001|"),
    (r#""must": "AFTER ROW""#, "write|G0001|"),
    // PostgreSQL's operators refuse the whole document for it, whichever of its fields they are asked for.
    (r#""must": "a\u0000b""#, "map|22P05|must"),
    (r#""narrow": "1\u0000""#, "map|22P05|narrow"),
    (r#""narrow": "\ud800""#, "map|22P02|narrow"),
    (r#""unread": "\u0000""#, "map|22P05|"),
    (r#""id": 1, "must": "the first one's key""#, "write|23505|id"),
];

/// Makes the job `load` over `source` into `target`; batches of everything there is.
fn scene_with_target() -> Scene {
    let scene = Scene::new(1);
    scene.server();
    scene.table("source", "doc json OPTIONS (source 'value')", "format 'json'");
    scene.db.sql(TARGET);
    submit(&scene, MAPPING);
    scene
}

fn submit(scene: &Scene, mapping: &str) {
    scene.db.sql(&format!(
        "SELECT gpss.submit_job('load', 'source'::regclass, 'target'::regclass, mapping => {},
             max_row => 1000, minimal_interval => 60000, error_limit => '100%')",
        literal(mapping)
    ));
}

/// A document of a good message with these fields besides, which come last and so win.
fn document(id: usize, fields: &str) -> String {
    let comma = if fields.is_empty() { "" } else { ", " };
    format!("{{\"id\": {id}, \"must\": \"m\"{comma}{fields}}}\n")
}

#[test]
fn whatever_is_wrong_with_a_message_costs_that_message_and_is_told() {
    let scene = scene_with_target();
    let good = r#""later": 7, "period": "[2,3)", "narrow": 5, "refers": 1, "short": "abc""#;
    let mut lines = document(1, good);
    for (number, (fields, _)) in BAD.iter().enumerate() {
        lines += &document(2 * number + 2, fields);
        lines += &document(2 * number + 3, "");
    }
    scene.topic.send_lines(0, &lines);
    scene.run("load");
    let reasons = scene
        .db
        .sql(r#"SELECT "offset", stage, sqlstate, column_name FROM gpss.errors ORDER BY "offset""#);
    let expected = |(n, (_, reason)): (usize, &(&str, &str))| format!("{}|{reason}", 2 * n + 1);
    let expected: Vec<String> = BAD.iter().enumerate().map(expected).collect();
    assert_eq!(reasons.lines().collect::<Vec<_>>(), expected);
    assert_eq!(scene.db.number("SELECT count(*) FROM target"), BAD.len() as i64 + 1);
    assert_eq!(scene.db.number("SELECT count(DISTINCT batch_id) FROM gpss.errors"), 1);
    let detail = "SELECT DISTINCT detail FROM gpss.errors WHERE sqlstate = 'G0001'";
    assert_eq!(scene.db.sql(detail), "by a trigger");
}

#[test]
fn values_that_cannot_be_converted_cost_their_messages_alone() {
    let scene = Scene::new(1);
    scene.server();
    let columns = "id int, day date, dom known_number, part text,
        place bigint OPTIONS (source 'offset')";
    scene.db.sql(
        "CREATE FUNCTION is_known(n int) RETURNS bool LANGUAGE plpgsql AS $$
         BEGIN
             IF n = 99 THEN RAISE 'a full disk' USING ERRCODE = '53100'; END IF;
             RETURN n < 50;
         END $$;
         CREATE DOMAIN known_number AS int CHECK (is_known(VALUE))",
    );
    scene.table("source", columns, "format 'jsonl'");
    // Rows that a trigger puts elsewhere are not the statement's; they stay.
    scene.db.sql(
        "CREATE TABLE target (id int, day date, dom int, place bigint, CHECK (id <> 13));
         CREATE TABLE elsewhere (LIKE target);
         CREATE TABLE statements (rows bigint);
         CREATE FUNCTION away() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF NEW.id = 5 THEN INSERT INTO elsewhere SELECT NEW.*; RETURN NULL; END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER away BEFORE INSERT ON target FOR EACH ROW EXECUTE FUNCTION away();
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN INSERT INTO statements SELECT count(*) FROM added; RETURN NULL; END $$;
         CREATE TRIGGER note AFTER INSERT ON target REFERENCING NEW TABLE AS added
             FOR EACH STATEMENT EXECUTE FUNCTION note();
         SELECT gpss.submit_job('load', 'source'::regclass, 'target'::regclass,
             mapping => '{\"day\": \"day\", \"dom\": \"dom\", \"id\": \"id\", \"place\": \"place\"}',
             filter => 'part IS NULL', minimal_interval => 60000, error_limit => '100%')",
    );
    let messages: [&[u8]; 14] = [
        b"{\"id\": \"x\", \"day\": \"2024-02-30\"}",
        b"{\"id\": 5}",
        b"{\"day\": \"2024-02-30\"}",
        b"{\"id\": 1, \"day\": \"2024-02-29\"}",
        b"{\"id\": 2}\n{\"id\": 3}",
        // The rows of this message before the bad one, and after it.
        b"{\"id\": 4}\n{\"id\": \"y\"}\n{\"id\": 6}",
        b"{\"id\": \"z\"}\n{\"id\": 7}",
        // Excluded by the filter.
        b"{\"id\": \"x\", \"part\": \"other\"}",
        b"{\"dom\": 50}",
        b"{\"id\": 13}",
        b"{\"day\": \"x\", \"dom\": \"x\"}",
        b"{\"dom\": \"x\"}",
        b"{\"id\": \"1\\u0000\"}",
        b"{\"id\": 8, \"dom\": 49}",
    ];
    Producer::new(&scene.topic).send(messages.map(value));
    scene.run("load");
    let errors = r#"SELECT "offset", stage, sqlstate, column_name FROM gpss.errors ORDER BY 1"#;
    let expected = [
        "0|map|22P02|id",
        "2|map|22008|day",
        "5|map|22P02|id",
        "6|map|22P02|id",
        "8|write|23514|dom",
        "9|write|23514|id",
        "10|map|22007|day",
        "11|map|22P02|dom",
        "12|map|22P05|",
    ];
    assert_eq!(scene.db.sql(errors).lines().collect::<Vec<_>>(), expected);
    assert_eq!(scene.db.sql("SELECT id FROM target ORDER BY 1"), "1\n2\n3\n8");
    assert_eq!(scene.db.sql("SELECT id FROM elsewhere"), "5");
    assert_eq!(scene.db.sql("SELECT sum(rows) FROM statements"), "4");

    // What the surroundings lack is no message's fault.
    Producer::new(&scene.topic).send([value(b"{\"id\": \"x\"}"), value(b"{\"dom\": 99}")]);
    scene.db.sql("SELECT gpss.start_job('load', quit_at_eof => true)");
    let status = "SELECT status FROM gpss.jobs WHERE name = 'load'";
    eventually("it retries", 30, || scene.db.sql(status) == "JOB_RETRYING");
    assert_eq!(scene.db.number("SELECT count(*) FROM gpss.errors"), 9);
    scene.db.sql("CREATE OR REPLACE FUNCTION is_known(n int) RETURNS bool RETURN true");
    assert_eq!(scene.db.sql("SELECT gpss.wait_job('load', '60 s')"), "JOB_SUCCESS");
    assert_eq!(scene.db.number("SELECT count(*) FROM gpss.errors"), 10);
}

#[test]
fn many_values_that_cannot_be_converted_are_told_apart() {
    let scene = scene_with_target();
    let fields = |n: usize| match n % 4 {
        0 => r#""id": "x""#,
        1 => r#""narrow": "x""#,
        // PostgreSQL reads it, though the decoder leaves it to the input function.
        2 => r#""narrow": " 7 ""#,
        // The first in the mapping's order.
        _ => r#""two": "x", "dom": "x""#,
    };
    let lines: String = (1..401).map(|n| document(n, fields(n))).collect();
    scene.db.sql("DROP INDEX target_expr_idx");
    scene.topic.send_lines(0, &lines);
    scene.run("load");
    let errors = "SELECT column_name, count(*), count(DISTINCT stage || sqlstate) FROM gpss.errors
        GROUP BY 1 ORDER BY 1";
    assert_eq!(scene.db.sql(errors), "dom|100|1\nid|100|1\nnarrow|100|1");
    assert_eq!(scene.db.number("SELECT count(*) FROM target WHERE narrow = 7"), 100);
}

#[test]
fn a_row_without_a_partition_costs_its_message() {
    let scene = Scene::new(1);
    scene.db.sql(
        "DROP TABLE numbers;
         CREATE TABLE numbers (n int NOT NULL) PARTITION BY RANGE (n);
         CREATE TABLE low PARTITION OF numbers FOR VALUES FROM (0) TO (10);
         ALTER TABLE low ADD CHECK (n <> 5)",
    );
    scene.topic.send_numbers(3..12);
    scene.topic.send_lines(0, "{}\n");
    scene.submit(100);
    scene.load_to_the_end();
    let errors = r#"SELECT "offset", sqlstate, column_name FROM gpss.errors ORDER BY "offset""#;
    assert_eq!(scene.db.sql(errors), "2|23514|n\n7|23514|\n8|23514|\n9|23514|");
    assert_eq!(scene.rows(), 6);
}

#[test]
fn what_a_function_raises_for_some_messages_costs_these() {
    let scene = Scene::new(1);
    scene.db.sql(
        "CREATE FUNCTION pick(n int) RETURNS int LANGUAGE plpgsql AS $$
         BEGIN
             CASE n WHEN 1 THEN RETURN date_part('nonsense', now());
                    WHEN 2 THEN PERFORM date_trunc('hour', '1 day'::interval), date_trunc('week', '1 day'::interval);
                    WHEN 3 THEN PERFORM 'a & '::tsquery;
                    WHEN 4 THEN NULL;
                    WHEN 7 THEN PERFORM ('missing_' || n)::regclass;
                    WHEN 5 THEN RETURN 5;
             END CASE;
         END $$",
    );
    scene.topic.send_numbers(1..8);
    let config = scene.config(100, 100).replace("(jdata->>'n')::int", "pick((jdata->>'n')::int)");
    scene.db.sql(&format!("SELECT gpss.submit_job('numbers', {})", literal(&config)));
    scene.load_to_the_end();
    let errors =
        r#"SELECT "offset", sqlstate, stage, column_name FROM gpss.errors ORDER BY "offset""#;
    let expected = [
        "0|22023|map|n",
        "1|0A000|map|n",
        "2|42601|map|n",
        "3|2F005|map|n",
        "5|20000|map|n",
        "6|42P01|map|n",
    ];
    assert_eq!(scene.db.sql(errors).lines().collect::<Vec<_>>(), expected);
    assert_eq!(scene.rows(), 1);
}

#[test]
fn a_statement_that_fails_without_any_message_is_at_fault_itself() {
    let scene = Scene::new(1);
    scene.db.sql(
        "CREATE FUNCTION frozen() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN RAISE EXCEPTION 'the table is frozen'; END $$;
         CREATE TRIGGER frozen AFTER INSERT ON numbers FOR EACH STATEMENT EXECUTE FUNCTION frozen()",
    );
    scene.topic.send_numbers(0..10);
    scene.submit(100);
    scene.start();
    eventually("the job fails", 30, || scene.status() == "JOB_ERROR");
    let message = scene.db.sql("SELECT errmsg FROM gpss.jobs WHERE name = 'numbers'");
    assert!(message.contains("the table is frozen"), "{message}");
    assert_eq!(scene.db.sql("SELECT count(*) FROM gpss.errors"), "0");
}

#[test]
fn a_statement_trigger_that_looks_at_the_rows_costs_those_it_refuses() {
    let scene = Scene::new(1);
    scene.db.sql(
        "CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF EXISTS (SELECT FROM added WHERE n % 40 = 7) THEN RAISE EXCEPTION 'no sevens'; END IF;
             RETURN NULL;
         END $$;
         CREATE TRIGGER look AFTER INSERT ON numbers REFERENCING NEW TABLE AS added
             FOR EACH STATEMENT EXECUTE FUNCTION look()",
    );
    scene.topic.send_numbers(0..100);
    scene.submit(100);
    scene.load_to_the_end();
    let errors =
        r#"SELECT string_agg("offset"::text, ' ' ORDER BY "offset"), min(stage) FROM gpss.errors"#;
    assert_eq!(scene.db.sql(errors), "7 47 87|write");
    assert_eq!(scene.rows(), 97);
}

#[test]
fn an_error_of_one_table_of_several_names_its_column() {
    let scene = Scene::new(1);
    scene.db.sql("CREATE TABLE other (m int CHECK (m < 5))");
    let config = "
version: 2
DATABASE: d
KAFKA:
  INPUT:
    SOURCE: {BROKERS: THE_ADDRESS, TOPIC: THE_TOPIC}
    VALUE: {COLUMNS: [{NAME: doc, TYPE: json}], FORMAT: json}
    ERROR_LIMIT: 100
  OUTPUTS:
    - {TABLE: numbers, MAPPING: {n: \"(doc->>'n')::int\"}}
    - {TABLE: other, MAPPING: {m: \"(doc->>'n')::int + 0\"}}
";
    scene.db.sql(&format!("SELECT gpss.submit_job('load', {})", scene.placed(config)));
    scene.topic.send_numbers(0..8);
    scene.run("load");
    let errors = "SELECT count(*), min(stage), min(column_name) FROM gpss.errors";
    assert_eq!(scene.db.sql(errors), "3|write|m");
    assert_eq!(scene.rows(), 5);
}

#[test]
fn key_headers_and_time_are_kept_though_the_mapping_has_no_use_for_them() {
    let scene = scene_with_target();
    let producer = Producer::new(&scene.topic);
    producer.send([Record {
        key: Some(b"\x00key\xff"),
        value: Some(b"{\"id\": \"bad\"}"),
        headers: &[("trace", Some(b"abc")), ("empty", None)],
        timestamp: Some(1_700_000_000_123),
        ..Record::default()
    }]);
    scene.run("load");
    let kept = "SELECT key, headers, extract(epoch FROM message_timestamp) FROM gpss.errors";
    assert_eq!(
        scene.db.sql(kept),
        r#"\x006b6579ff|[{"key": "trace", "value": "abc"}, {"key": "empty", "value": null}]|1700000000.123000"#
    );
}

#[test]
fn a_bad_message_does_no_harm_to_those_that_refer_to_later_ones() {
    let scene = Scene::new(1);
    scene.server();
    scene.table("source", "id int, parent int", "format 'json'");
    scene.db.sql(
        "CREATE TABLE target (id int PRIMARY KEY,
             parent int REFERENCES target DEFERRABLE INITIALLY DEFERRED);
         SELECT gpss.submit_job('load', 'source'::regclass, 'target'::regclass, max_row => 10000,
             minimal_interval => 60000)",
    );
    let child =
        |n: u32| format!("{{\"id\": {n}, \"parent\": {}}}\n", if n < 3000 { n + 1 } else { n });
    let lines: String = (1..=3000).map(child).collect();
    scene.topic.send_lines(0, &(lines + "{\"id\": \"x\"}\n"));
    scene.run("load");
    assert_eq!(scene.db.sql("SELECT count(*) FROM target"), "3000");
    assert_eq!(scene.db.sql("SELECT count(*) FROM gpss.errors"), "1");
    // One that refers to nothing is found; those that refer to it are refused with it.
    let lines: String =
        (4001..=4100).map(|n| format!("{{\"id\": {n}, \"parent\": 1}}\n")).collect();
    scene.topic.send_lines(0, &(lines + "{\"id\": 5000, \"parent\": 6000}\n"));
    scene.run("load");
    assert_eq!(scene.db.sql("SELECT count(*) FROM target"), "3100");
    let last = r#"SELECT sqlstate, stage FROM gpss.errors WHERE "offset" > 3000"#;
    assert_eq!(scene.db.sql(last), "23503|write");
}

/// A target whose trigger writes into `audit`, and a job with batches of one message.
fn audited(scene: &Scene) -> String {
    let owner = format!("owner_{}", scene.db.name);
    scene.server();
    scene.table("source", "n int", "format 'json'");
    scene.db.sql(&format!(
        "CREATE ROLE {owner} LOGIN; CREATE TABLE audit (n int);
         GRANT INSERT ON numbers, audit TO {owner}; GRANT SELECT ON source TO {owner};
         GRANT USAGE ON FOREIGN SERVER kafka TO {owner};
         CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN INSERT INTO public.audit VALUES (NEW.n); RETURN NEW; END $$;
         CREATE TRIGGER audit BEFORE INSERT ON numbers FOR EACH ROW EXECUTE FUNCTION audit();
         SET ROLE {owner};
         SELECT gpss.submit_job('numbers', 'source'::regclass, 'numbers'::regclass, max_row => 1)"
    ));
    owner
}

#[test]
fn a_privilege_that_a_trigger_lacks_is_no_messages_fault() {
    let scene = Scene::new(1);
    let owner = audited(&scene);
    scene.topic.send_numbers(0..3);
    scene.start();
    scene.expect_exactly(0..3);
    scene.db.sql(&format!("REVOKE INSERT ON audit FROM {owner}"));
    scene.topic.send_numbers(3..6);
    eventually("the job fails", 30, || scene.status() == "JOB_ERROR");
    let message = scene.db.sql("SELECT errmsg FROM gpss.jobs");
    assert!(message.contains("permission denied for table audit"), "{message}");
    assert_eq!(scene.db.sql("SELECT count(*) FROM gpss.errors"), "0");
    scene.db.sql(&format!("GRANT INSERT ON audit TO {owner}"));
    scene.start();
    scene.expect_exactly(0..6);
    scene.stop();
    scene.db.sql(&format!(
        "SELECT gpss.remove_job('numbers'); DROP OWNED BY {owner}; DROP ROLE {owner}"
    ));
}

#[test]
fn an_exhausted_sequence_is_no_messages_fault() {
    let scene = Scene::new(1);
    scene.db.sql("ALTER TABLE numbers ADD id serial; ALTER SEQUENCE numbers_id_seq MAXVALUE 3");
    scene.topic.send_numbers(0..10);
    scene.submit(100);
    scene.start();
    eventually("the job fails", 30, || scene.status() == "JOB_ERROR");
    assert_eq!(scene.db.sql("SELECT count(*) FROM gpss.errors"), "0");
    scene.db.sql("ALTER SEQUENCE numbers_id_seq MAXVALUE 1000");
    scene.start();
    scene.expect_exactly(0..10);
    scene.stop();
}

#[test]
fn a_renamed_column_ends_a_job_without_a_mapping_instead_of_losing_its_values() {
    let scene = Scene::new(1);
    scene.server();
    scene.table("source", "n int, note text", "format 'json'");
    scene.db.sql(
        "ALTER TABLE numbers ADD note text;
         SELECT gpss.submit_job('numbers', 'source'::regclass, 'numbers'::regclass)",
    );
    scene.topic.send_lines(0, "{\"n\": 0, \"note\": \"a\"}\n");
    scene.load_to_the_end();
    scene.db.sql("ALTER TABLE numbers RENAME note TO remark");
    scene.topic.send_lines(0, "{\"n\": 1, \"note\": \"b\"}\n");
    scene.start();
    eventually("the job fails", 30, || scene.status() == "JOB_ERROR");
    let message = scene.db.sql("SELECT errmsg FROM gpss.jobs");
    assert!(message.contains("column \"note\" of table"), "{message}");
    scene.db.sql("ALTER TABLE numbers RENAME remark TO note");
    scene.load_to_the_end();
    assert_eq!(scene.db.sql("SELECT n, note FROM numbers ORDER BY n"), "0|a\n1|b");
}

#[test]
fn a_header_that_the_database_cannot_hold_keeps_no_message_from_being_recorded() {
    let scene = Scene::new(1);
    let latin = scene.cluster.database_in("LATIN1");
    let config = literal(&scene.config_for(&latin, 25, 100));
    latin
        .sql(&format!("CREATE TABLE numbers (n int); SELECT gpss.submit_job('numbers', {config})"));
    let headers = [("k", Some("\u{1f600}".as_bytes()))];
    let record = |value| Record { value: Some(value), headers: &headers, ..Record::default() };
    Producer::new(&scene.topic).send([record(b"{\"n\": \"x\"}"), record(b"{\"n\": 1}")]);
    latin.sql("SELECT gpss.start_job('numbers', quit_at_eof => true); SELECT gpss.wait_job('numbers', '60 s')");
    assert_eq!(latin.sql("SELECT n FROM numbers"), "1");
    assert_eq!(latin.sql("SELECT headers FROM gpss.errors"), r#"[{"key": "k", "value": "?"}]"#);
}

#[test]
fn a_job_with_many_bad_messages_stops_soon() {
    let scene = Scene::new(1);
    scene.db.sql("ALTER TABLE numbers ADD CHECK (n < 0)");
    scene.topic.send_numbers(0..20_000);
    let config = literal(&scene.config(100_000, 20_000));
    scene.db.sql(&format!("SELECT gpss.submit_job('numbers', {config})"));
    for pause in [300, 600, 900, 1200] {
        scene.start();
        eventually("it loads", 30, || {
            scene.db.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%loading 20000%'")
                == "1"
        });
        std::thread::sleep(std::time::Duration::from_millis(pause));
        let begun = std::time::Instant::now();
        scene.stop();
        assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
        assert_eq!(scene.db.sql("SELECT count(*) FROM gpss.errors"), "0");
    }
}

#[test]
fn temporary_tables_of_the_session_are_none_of_the_jobs() {
    let scene = Scene::new(1);
    scene.db.sql("CREATE TABLE look (k int, v int); INSERT INTO look VALUES (1, 2)");
    let config = scene.config(25, 100);
    let config = config
        .replace("(jdata->>'n')::int", "(SELECT v FROM look WHERE k = (jdata->>'n')::int / 0)");
    let config = config.replace("/ 0)", "/ (SELECT count(*) FROM known))");
    scene.db.sql(&format!(
        "CREATE TABLE known (n int); SELECT gpss.submit_job('numbers', {})",
        literal(&config)
    ));
    scene.topic.send_numbers(1..2);
    scene.load_to_the_end();
    let retried = scene.db.sql(
        "INSERT INTO known VALUES (1);
         CREATE TEMP TABLE look (k int, v int); INSERT INTO look VALUES (1, 666);
         SELECT retried FROM gpss.retry_errors('numbers'); SELECT n FROM numbers",
    );
    assert_eq!(retried, "1\n2");
}

#[test]
fn an_internal_error_that_a_message_causes_holds_nothing_up_for_ever() {
    let scene = Scene::new(1);
    scene.db.sql(
        "CREATE FUNCTION strange() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF NEW.n BETWEEN 3 AND 18 THEN
                 RAISE EXCEPTION 'cache lookup failed' USING ERRCODE = 'XX000';
             END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER strange BEFORE INSERT ON numbers FOR EACH ROW EXECUTE FUNCTION strange()",
    );
    scene.topic.send_numbers(0..20);
    scene.submit(100);
    scene.start();
    eventually("the job tries again", 30, || scene.status() == "JOB_RETRYING");
    eventually("the rest is loaded", 60, || scene.rows() == 4);
    eventually("the job is well", 10, || scene.status() == "JOB_RUNNING");
    let errors = "SELECT count(*), min(sqlstate), min(stage) FROM gpss.errors";
    assert_eq!(scene.db.sql(errors), "16|XX000|write");
}

#[test]
fn an_internal_error_of_every_message_is_not_the_messages() {
    let scene = Scene::new(1);
    scene.db.sql(
        "CREATE FUNCTION strange() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN RAISE EXCEPTION 'cache lookup failed' USING ERRCODE = 'XX000'; END $$;
         CREATE TRIGGER strange BEFORE INSERT ON numbers FOR EACH ROW EXECUTE FUNCTION strange()",
    );
    scene.topic.send_numbers(0..3);
    scene.submit(100);
    scene.start();
    std::thread::sleep(std::time::Duration::from_secs(12));
    assert_eq!(scene.status(), "JOB_RETRYING");
    assert_eq!(scene.db.sql("SELECT count(*) FROM gpss.errors"), "0");
    scene.db.sql("DROP TRIGGER strange ON numbers");
    scene.expect_exactly(0..3);
}

#[test]
fn rejected_messages_are_loaded_again_when_the_cause_is_mended() {
    let scene = scene_with_target();
    let lines: String = (0..20).map(|n| document(n, r#""refers": 2"#)).collect();
    scene.topic.send_lines(0, &(lines + "no json\n" + &document(20, r#""two": 2"#)));
    scene.run("load");
    assert_eq!(scene.db.sql("SELECT count(*) FROM target"), "0");
    let retry = "SELECT * FROM gpss.retry_errors('load')";
    assert_eq!(scene.db.sql(retry), "0|22");
    assert_eq!(scene.db.sql("SELECT DISTINCT attempts, status FROM gpss.errors"), "2|new");
    // What is rolled back has not been.
    scene.db.sql("INSERT INTO known VALUES (2)");
    assert_eq!(scene.db.sql(&format!("BEGIN; {retry}; ROLLBACK")), "20|2");
    assert_eq!(scene.db.sql("SELECT count(*) FROM target"), "0");
    let some = "SELECT * FROM gpss.retry_errors('load', ids =>
        ARRAY(SELECT id FROM gpss.errors WHERE sqlstate = '23503' ORDER BY id LIMIT 5))";
    assert_eq!(scene.db.sql(some), "5|0");
    assert_eq!(scene.db.sql(retry), "15|2");
    // No row twice.
    assert_eq!(scene.db.sql(retry), "0|2");
    assert_eq!(scene.db.sql("SELECT count(*), count(DISTINCT id) FROM target"), "20|20");
    let left = r#"SELECT "offset", stage, attempts FROM gpss.errors WHERE status = 'new'
                  ORDER BY "offset""#;
    assert_eq!(scene.db.sql(left), "20|decode|4\n21|write|4");
    let done =
        "SELECT count(*), min(attempts), max(attempts) FROM gpss.errors WHERE status = 'retried'";
    assert_eq!(scene.db.sql(done), "20|3|3");
}

#[test]
fn a_new_job_of_the_name_loads_what_the_removed_one_has_rejected() {
    let scene = scene_with_target();
    scene.topic.send_lines(0, &(document(1, r#""dom": "1.5""#) + &document(2, "")));
    scene.run("load");
    scene.db.sql("SELECT gpss.remove_job('load')");
    submit(&scene, &MAPPING.replace("(doc->>'dom')::int", "(doc->>'dom')::numeric"));
    assert_eq!(scene.db.sql("SELECT * FROM gpss.retry_errors('load')"), "1|0");
    assert_eq!(scene.db.sql("SELECT id, dom FROM target ORDER BY id"), "1|2\n2|");
}

#[test]
fn who_retries_for_another_lends_him_no_rights() {
    let scene = Scene::new(1);
    scene.server();
    scene.table("source", "doc json OPTIONS (source 'value')", "format 'json'");
    let (role, stranger) =
        (format!("loader_{}", scene.db.name), format!("stranger_{}", scene.db.name));
    scene.db.sql(&format!(
        "CREATE ROLE {role} LOGIN; CREATE ROLE {stranger};
         CREATE TABLE secret (n int);
         GRANT SELECT ON source TO {role};
         GRANT USAGE ON FOREIGN SERVER kafka TO {role};
         GRANT CREATE ON SCHEMA public TO {role};
         SET ROLE {role};
         CREATE TABLE mine (n int CHECK (n > 0), who text);
         CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             NEW.who := current_user;
             BEGIN
                 EXECUTE 'RESET ROLE'; INSERT INTO public.secret VALUES (1);
             EXCEPTION WHEN OTHERS THEN NEW.who := NEW.who || ' ' || SQLSTATE; END;
             PERFORM set_config('gpss.batch_size', '64', false);
             RETURN NEW;
         EXCEPTION WHEN OTHERS THEN RETURN NEW;
         END $$;
         CREATE TRIGGER spy BEFORE INSERT ON mine FOR EACH ROW EXECUTE FUNCTION spy();
         SELECT FROM gpss.submit_job('load', 'source'::regclass, 'mine'::regclass,
             error_limit => '100%', mapping => '{{\"n\": \"(doc->>''n'')::int\"}}')",
    ));
    scene.topic.send_numbers(0..1);
    scene.run("load");
    scene.db.sql("ALTER TABLE mine DROP CONSTRAINT mine_n_check");
    assert_eq!(scene.db.sql("SELECT * FROM gpss.retry_errors('load')"), "1|0");
    assert_eq!(scene.db.sql("SELECT count(*) FROM secret"), "0");
    let who = scene.db.sql("SELECT who FROM mine");
    assert!(who.starts_with(&role), "{who}");
    // And not who is no member of the role.
    for call in ["gpss.retry_errors('load')", "gpss.purge_errors('load')"] {
        let error = scene.db.error(&format!("SET ROLE {stranger}; SELECT * FROM {call}"));
        assert!(error.contains("must be owner of job"), "{error}");
    }
    scene.db.sql(&format!(
        "SELECT gpss.remove_job('load'); DROP OWNED BY {role}; DROP ROLE {role}, {stranger}"
    ));
}

#[test]
fn rejected_messages_are_purged_on_demand() {
    let scene = scene_with_target();
    scene.topic.send_lines(0, &"no json\n".repeat(6));
    scene.run("load");
    let number = |sql: &str| scene.db.number(sql);
    assert_eq!(number("SELECT gpss.purge_errors('load', older_than => '1 hour')"), 0);
    assert_eq!(number("SELECT gpss.purge_errors('load', status => 'retried')"), 0);
    let two = "SELECT gpss.purge_errors('load', ids =>
        ARRAY(SELECT id FROM gpss.errors ORDER BY id LIMIT 2))";
    assert_eq!(number(two), 2);
    assert_eq!(number("SELECT count(*) FROM gpss.errors"), 4);
    let error = scene.db.error("SELECT gpss.purge_errors('load', status => 'old')");
    assert!(error.contains("new, retried, discarded"), "{error}");
    let error = scene.db.error("SELECT gpss.purge_errors('lod')");
    assert!(error.contains("job \"lod\" does not exist"), "{error}");
    scene.db.sql("SELECT gpss.remove_job('load')");
    assert_eq!(number("SELECT gpss.purge_errors('load')"), 4);
}

#[test]
fn old_and_large_rejected_messages_are_purged_by_the_settings() {
    let scene = scene_with_target();
    // What cannot be compressed: the size on disk counts.
    let noise = |n: u32| n.wrapping_mul(2_654_435_761) >> 7;
    let bad = |n: u32| {
        let text: String = (0..10_000)
            .map(|i| char::from(b'#' + (noise(noise(n * 10_000 + i) + i) % 90) as u8))
            .collect();
        format!("no json {text}\n")
    };
    scene.topic.send_lines(0, &(0..10).map(bad).collect::<String>());
    scene.run("load");
    scene.db.sql(
        "UPDATE gpss.error SET occurred_at = now() - interval '2 days' WHERE \"offset\" < 3;
         ALTER SYSTEM SET gpss.error_retention = '1d';
         ALTER SYSTEM SET gpss.error_size = '41kB';
         SELECT pg_reload_conf()",
    );
    // A scheduler purges when it begins.
    scene.db.sql("SELECT gpss.start_job('load')");
    let shown = || {
        let rows = "SELECT \"offset\", status, payload IS NULL FROM gpss.errors ORDER BY id";
        scene.db.sql(rows).replace('\n', " ")
    };
    eventually("a purge", 20, || !shown().starts_with('0') && shown().contains("discarded"));
    let expected = "3|discarded|t 4|discarded|t 5|discarded|t 6|new|f 7|new|f 8|new|f 9|new|f";
    scene.db.sql("ALTER SYSTEM RESET ALL; SELECT pg_reload_conf()");
    assert_eq!(shown(), expected);
}
