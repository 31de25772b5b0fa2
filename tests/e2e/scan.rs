//! SELECT on a topic: which messages a scan returns, what its columns hold, and how it fails.

use gpss_testbed::{Producer, Record, Scene, eventually, value};
use std::time::{Duration, Instant};

/// Every kind of column.
const ALL_COLUMNS: &str = "doc json OPTIONS (source 'value'), raw bytea OPTIONS (source 'value'),
    part int OPTIONS (source 'partition'), pos bigint OPTIONS (source 'offset'),
    at timestamptz OPTIONS (source 'timestamp'), topic text OPTIONS (source 'topic'),
    key text OPTIONS (source 'key'), binary_key bytea OPTIONS (source 'key'),
    headers jsonb OPTIONS (source 'headers')";

/// Makes the foreign table `source` with these columns over the scene's topic.
fn source(scene: &Scene, columns: &str) {
    scene.db.sql(&format!(
        "CREATE SERVER kafka FOREIGN DATA WRAPPER gpss OPTIONS (brokers '{brokers}');
         CREATE FOREIGN TABLE source ({columns}) SERVER kafka OPTIONS (topic '{topic}')",
        brokers = scene.broker.address,
        topic = scene.topic.name,
    ));
}

/// A topic with the numbers from 0 to 299 as `n`, dealt over three partitions, and their columns.
fn three_hundred_numbers() -> Scene {
    let scene = Scene::new(3);
    source(&scene, ALL_COLUMNS);
    scene.topic.send_numbers(0..300);
    scene
}

/// A server of the same properties whose broker is not there, with the foreign table `lost`.
fn lost(scene: &Scene) {
    scene.db.sql(
        "CREATE SERVER nowhere FOREIGN DATA WRAPPER gpss OPTIONS (brokers '127.0.0.1:1');
         CREATE FOREIGN TABLE lost (doc json) SERVER nowhere OPTIONS (topic 't')",
    );
}

#[test]
fn metadata_columns_hold_what_was_sent() {
    let scene = Scene::new(2);
    source(&scene, ALL_COLUMNS);
    let headers: &[(&str, Option<&[u8]>)] = &[
        ("trace", Some(b"first")),
        ("empty", Some(b"")),
        ("none", None),
        ("trace", Some("zweiter \"ä\" \\ \n".as_bytes())),
        ("binary", Some(b"\xff\x00\xfe")),
    ];
    Producer::new(&scene.topic).send([
        Record {
            key: Some("schlüssel".as_bytes()),
            timestamp: Some(1_700_000_000_123),
            ..value(b" {\"n\" : 1} ")
        },
        Record { headers, timestamp: Some(1), ..value(b"{\"n\":2}") },
        Record {
            partition: 1,
            key: Some(b""),
            timestamp: Some(1_700_000_000_000),
            ..value(b"{\"n\":3}")
        },
    ]);
    let rows =
        "SELECT part, pos, extract(epoch FROM at), coalesce(key, 'NULL'), binary_key, doc, raw
                FROM source ORDER BY part, pos";
    assert_eq!(
        scene.db.sql(rows),
        "0|0|1700000000.123000|schlüssel|\\x7363686cc3bc7373656c| {\"n\" : 1} |\\x207b226e22203a20317d20\n\
         0|1|0.001000|NULL||{\"n\":2}|\\x7b226e223a327d\n\
         1|0|1700000000.000000||\\x|{\"n\":3}|\\x7b226e223a337d"
    );
    let topics = format!("SELECT count(*) FROM source WHERE topic = '{}'", scene.topic.name);
    assert_eq!(scene.db.number(&topics), 3);
    assert_eq!(scene.db.number("SELECT count(headers) FROM source"), 1);
    // In their order, a repeated one twice; what is no text in the form of bytea.
    let expected = r#"SELECT headers = '[{"key": "trace", "value": "first"}, {"key": "empty", "value": ""},
            {"key": "none", "value": null}, {"key": "trace", "value": "zweiter \"ä\" \\ \n"},
            {"key": "binary", "value_hex": "\\xff00fe"}]', (headers->4->>'value_hex')::bytea
        FROM source WHERE headers IS NOT NULL"#;
    assert_eq!(scene.db.sql(expected), "t|\\xff00fe");
}

#[test]
fn a_key_that_is_no_text_is_an_error_in_a_text_column_only() {
    let scene = Scene::new(1);
    source(&scene, ALL_COLUMNS);
    Producer::new(&scene.topic).send([Record { key: Some(b"\xff\x00"), ..value(b"1") }]);
    assert_eq!(scene.db.sql("SELECT binary_key FROM source"), "\\xff00");
    let error = scene.db.error("SELECT key FROM source");
    assert!(error.contains("invalid byte sequence for encoding \"UTF8\""), "{error}");
}

#[test]
fn metadata_comes_in_columns_of_other_types_too() {
    let scene = Scene::new(1);
    source(
        &scene,
        "part bigint OPTIONS (source 'partition'), pos numeric OPTIONS (source 'offset'),
         at bigint OPTIONS (source 'timestamp'), key int OPTIONS (source 'key'),
         headers text OPTIONS (source 'headers'), whole text OPTIONS (source 'value'),
         short varchar(3) OPTIONS (source 'topic')",
    );
    Producer::new(&scene.topic).send([Record {
        key: Some(b"42"),
        headers: &[("a", Some(b"b"))],
        timestamp: Some(1_700_000_000_123),
        ..value(b"[1, 2]")
    }]);
    assert_eq!(
        scene.db.sql("SELECT part, pos, at, key, headers, whole FROM source"),
        r#"0|0|1700000000123|42|[{"key":"a","value":"b"}]|[1, 2]"#
    );
    let error = scene.db.error("SELECT short FROM source");
    assert!(error.contains("value too long for type character varying(3)"), "{error}");
}

#[test]
fn a_tombstone_is_a_row_of_nulls_with_its_metadata() {
    let scene = Scene::new(1);
    source(
        &scene,
        "doc json OPTIONS (source 'value'), n int, raw bytea OPTIONS (source 'value'),
         pos bigint OPTIONS (source 'offset'), key text OPTIONS (source 'key')",
    );
    Producer::new(&scene.topic).send([
        value(b"{\"n\": 1}"),
        Record { key: Some(b"gone"), ..Record::default() },
        value(b"null"),
    ]);
    let rows = "SELECT pos, key, doc IS NULL, raw IS NULL, n, doc->>'n', doc->'n' FROM source";
    assert_eq!(scene.db.sql(rows), "0||f|f|1|1|1\n1|gone|t|t|||\n2||f|f|||");
}

#[test]
fn an_empty_topic_has_no_rows() {
    let scene = Scene::new(2);
    source(&scene, ALL_COLUMNS);
    assert_eq!(scene.db.number("SELECT count(*) FROM source"), 0);
    scene.topic.send_lines(1, "1\n");
    assert_eq!(scene.db.sql("SELECT part, doc FROM source"), "1|1");
}

#[test]
fn a_message_that_does_not_parse_is_an_error_that_names_it() {
    let scene = Scene::new(1);
    source(&scene, ALL_COLUMNS);
    Producer::new(&scene.topic).send([
        value(b"{\"n\": 1}"),
        value(b"{\"n\": "),
        value(b"{\"n\": 3}"),
    ]);
    let error = scene.db.error("SELECT doc FROM source");
    let place = format!("topic \"{}\", partition 0, offset 1.", scene.topic.name);
    assert!(error.contains(&place) && error.contains("HINT"), "{error}");
    let state =
        "DO $$ BEGIN PERFORM doc FROM source; EXCEPTION WHEN invalid_text_representation THEN
                 RAISE NOTICE 'as expected'; END $$";
    assert!(scene.db.notices(state).contains("as expected"));
    // A range keeps away from it.
    assert_eq!(scene.db.sql("SELECT doc->>'n' FROM source WHERE pos > 1"), "3");
    assert_eq!(scene.db.sql("SELECT doc->>'n' FROM source WHERE pos < 1"), "1");
}

#[test]
fn with_an_error_column_a_message_that_does_not_parse_is_a_row() {
    let scene = Scene::new(1);
    source(
        &scene,
        "doc json OPTIONS (source 'value'), n int, raw bytea OPTIONS (source 'value'),
         pos bigint OPTIONS (source 'offset'), problem text OPTIONS (source 'error')",
    );
    let bad: [&[u8]; 4] = [b"{\"n\": ", b"", b"\xff", b"{\"n\": 1} x"];
    Producer::new(&scene.topic).send([value(b"{\"n\": 1}")].into_iter().chain(bad.map(value)));
    let rows = "SELECT pos, doc, n, doc->>'n', raw, problem <> '' FROM source";
    assert_eq!(
        scene.db.sql(rows),
        "0|{\"n\": 1}|1|1|\\x7b226e223a20317d|\n1||||\\x7b226e223a20|t\n2||||\\x|t\n3||||\\xff|t\n\
         4||||\\x7b226e223a20317d2078|t"
    );
    // Also when the column is not asked for.
    assert_eq!(scene.db.number("SELECT count(*) FROM source"), 5);
}

#[test]
fn a_column_that_nothing_reads_is_not_converted() {
    let scene = Scene::new(1);
    source(&scene, "n int, pos bigint OPTIONS (source 'offset')");
    scene.topic.send_lines(0, "{\"n\": 1}\n{\"n\": \"one\"}\n");
    let error = scene.db.error("SELECT n FROM source");
    assert!(error.contains("invalid input syntax for type integer: \"one\""), "{error}");
    assert_eq!(scene.db.sql("SELECT pos FROM source"), "0\n1");
    assert_eq!(scene.db.number("SELECT count(*) FROM source"), 2);
    assert_eq!(scene.db.number("SELECT sum(pos) FROM source"), 1);
}

#[test]
fn a_row_that_a_condition_excludes_does_not_fail() {
    let scene = Scene::new(1);
    source(&scene, ALL_COLUMNS);
    scene.topic.send_lines(0, "{\"a\": \"x\"}\n{\"a\": \"\\u0000\"}\n{\"a\": \"y\"}\n");
    let rows = "SELECT doc->>'a' FROM source";
    assert!(scene.db.error(rows).contains("unsupported Unicode escape sequence"));
    assert_eq!(scene.db.sql(&format!("{rows} WHERE pos IN (0, 2)")), "x\ny");
    assert_eq!(scene.db.sql(&format!("{rows} WHERE pos <> 1")), "x\ny");
}

#[test]
fn a_limit_ends_the_scan() {
    let scene = three_hundred_numbers();
    assert_eq!(scene.db.sql("SELECT pos FROM source WHERE part = 1 LIMIT 3"), "0\n1\n2");
    assert_eq!(scene.db.sql("SELECT pos FROM source WHERE part = 1 OFFSET 98"), "98\n99");
    assert_eq!(scene.db.sql("SELECT pos FROM source LIMIT 0"), "");
    assert_eq!(scene.db.number("SELECT count(*) FROM (SELECT FROM source LIMIT 250) AS s"), 250);
}

#[test]
fn a_scan_can_be_repeated_within_its_statement() {
    let scene = three_hundred_numbers();
    scene.db.sql("CREATE TABLE outer_side AS SELECT generate_series(0, 2) AS part");
    // The inner side of a nested loop, with and without materialisation.
    for settings in ["", "SET enable_material = off;"] {
        let sum = format!(
            "SET enable_hashjoin = off; SET enable_mergejoin = off; {settings}
             SELECT count(*), sum((doc->>'n')::int) FROM outer_side o LEFT JOIN source s ON s.part = o.part"
        );
        assert_eq!(scene.db.sql(&sum), format!("300|{}", 299 * 300 / 2));
    }
    let joined = "SELECT count(*) FROM source a JOIN source b ON a.doc->>'n' = b.doc->>'n'";
    assert_eq!(scene.db.number(joined), 300);
    let twice =
        "SELECT count(*) FROM (SELECT doc FROM source UNION ALL SELECT doc FROM source) AS s";
    assert_eq!(scene.db.number(twice), 600);
}

#[test]
fn ranges_may_come_from_the_statement_itself() {
    let scene = three_hundred_numbers();
    scene.db.sql(
        "CREATE TABLE done AS SELECT part, 90 + part AS pos FROM generate_series(0, 2) AS part",
    );
    let expect = |sql: &str, answer: &str| assert_eq!(scene.db.sql(sql), answer, "{sql}");
    expect("SELECT count(*) FROM source WHERE pos > (SELECT max(pos) FROM done)", "21");
    expect(
        "SELECT done.part, (SELECT count(*) FROM source s WHERE s.part = done.part AND s.pos >= done.pos)
         FROM done ORDER BY 1",
        "0|10\n1|9\n2|8",
    );
    expect(
        "SELECT done.part, first.pos FROM done, LATERAL (
             SELECT pos FROM source s WHERE s.part = done.part AND s.pos >= done.pos ORDER BY pos LIMIT 1) AS first
         ORDER BY 1",
        "0|90\n1|91\n2|92",
    );
    expect("SELECT count(*) FROM source WHERE pos = ANY (ARRAY(SELECT pos FROM done))", "9");
    expect("SELECT count(*) FROM source WHERE pos > (SELECT max(pos) FROM done WHERE false)", "0");
}

#[test]
fn a_prepared_statement_reads_what_its_parameters_say() {
    let scene = three_hundred_numbers();
    let runs: String =
        (0..10).map(|n| format!("EXECUTE reading ({}, {}, 'n');\n", n % 3, n * 10)).collect();
    let expected: Vec<String> = (0..10).map(|n| format!("{}", 100 - n * 10)).collect();
    for mode in ["force_generic_plan", "force_custom_plan", "auto"] {
        let answer = scene.db.sql(&format!(
            "SET plan_cache_mode = {mode};
             PREPARE reading (int, bigint, text) AS SELECT count(*) FROM (
                 SELECT doc->>'n', doc->>$3 FROM source WHERE part = $1 AND pos >= $2 AND doc->>$3 <> ''
                 OFFSET 0) AS s;
             {runs}"
        ));
        assert_eq!(answer, expected.join("\n"), "{mode}");
    }
    let none =
        "PREPARE none (bigint) AS SELECT count(*) FROM source WHERE pos >= $1; EXECUTE none (NULL)";
    assert_eq!(scene.db.number(none), 0);
}

#[test]
fn a_range_returns_what_a_full_scan_with_the_same_filter_returns() {
    let scene = Scene::new(3);
    source(&scene, ALL_COLUMNS);
    // Timestamps that neither rise with the offset nor fall, from before and after 2024.
    let times = (0..90).map(|n: i64| 1_704_067_200_000 + (n * 7919 % 90 - 45) * 60_000);
    let values: Vec<String> = (0..90).map(|n| format!("{{\"n\": {n}}}")).collect();
    let records = times.zip(&values).enumerate().map(|(n, (time, text))| Record {
        partition: i32::try_from(n % 3).expect("small"),
        timestamp: Some(time),
        ..value(text.as_bytes())
    });
    Producer::new(&scene.topic).send(records);
    scene.db.sql("CREATE TABLE full_scan AS SELECT part, pos, at FROM source");
    assert_eq!(scene.db.number("SELECT count(*) FROM full_scan"), 90);
    for filter in [
        "part = 1",
        "part IN (0, 2)",
        "part IN (0, NULL)",
        "part = 7",
        "part < 0",
        "part <> 1",
        "part = '1'::bigint AND part = '1'::smallint",
        "part = NULL::int",
        "part IN (0, 1) AND part >= 1",
        "pos = 5",
        "pos >= 5 AND pos < 7",
        "5 <= pos AND 7 > pos",
        "pos BETWEEN 28 AND 1000",
        "pos BETWEEN 7 AND 5",
        "pos IN (3, 9, 400)",
        "pos = ANY ('{}'::bigint[])",
        "pos > 9223372036854775806",
        "pos >= 9223372036854775807",
        "pos <= 9223372036854775807",
        "pos > -9223372036854775808",
        "pos >= -1 AND pos < 2",
        "pos > -2",
        "pos < NULL::bigint",
        "pos > 2.5",
        "pos <> 5",
        "part = 1 AND pos = 5 OR part = 2 AND pos = 6",
        "at >= '2024-01-01 00:00+00'",
        "at > '2024-01-01 00:00+00'",
        "at < '2024-01-01 00:00+00'",
        "at = '2024-01-01 00:10+00'",
        "at >= '2024-01-01 00:00:00.0001+00'",
        "at > '2024-01-01 00:00+00' AND at <= '2024-01-01 00:20+00' AND part = 1",
        "at >= '2023-12-31'::date",
        "at > '1970-01-01 00:00+00'",
        "at >= '1969-12-31 23:59:59.999+00'",
        "at >= '1969-12-31 23:59:59.998+00'",
        "at > '1960-01-01 00:00+00'",
        "at > '-infinity'",
        "at < 'infinity'",
        "at >= 'infinity'",
        "at >= '294276-12-31 00:00+00'",
        "at > '4713-01-01 00:00+00 BC'",
        "at > now()",
        "at < now() - interval '1 hour'",
        "at > NULL::timestamptz",
    ] {
        let difference = format!(
            "SELECT 'missing', * FROM (SELECT part, pos, at FROM full_scan WHERE {filter}
                 EXCEPT ALL SELECT part, pos, at FROM source WHERE {filter}) AS m
             UNION ALL SELECT 'too many', * FROM (SELECT part, pos, at FROM source WHERE {filter}
                 EXCEPT ALL SELECT part, pos, at FROM full_scan WHERE {filter}) AS t"
        );
        assert_eq!(scene.db.sql(&difference), "", "{filter}");
    }
}

#[test]
fn messages_that_arrive_during_a_scan_are_not_returned() {
    let scene = Scene::new(1);
    source(&scene, ALL_COLUMNS);
    scene.topic.send_numbers(0..100);
    let more = format!(
        "\\! printf '{{\"n\": 100}}\\n{{\"n\": 101}}\\n' | kcat -P -b {} -t {} -p 0",
        scene.broker.address, scene.topic.name
    );
    let answer = scene.db.sql(&format!(
        "BEGIN;
         DECLARE c CURSOR FOR SELECT doc->>'n' FROM source;
         FETCH 2 FROM c;
{more}
         MOVE ALL FROM c;
         FETCH 1 FROM c;
         COMMIT;
         SELECT count(*) FROM source"
    ));
    assert_eq!(answer, "0\n1\n102");
}

#[test]
fn a_cursor_goes_forward_and_only_a_scrollable_one_back() {
    let scene = Scene::new(1);
    source(&scene, ALL_COLUMNS);
    scene.topic.send_numbers(0..5);
    let cursor = |kind: &str| {
        format!(
            "BEGIN; DECLARE c {kind} CURSOR FOR SELECT doc->>'n' FROM source;
             FETCH 2 FROM c; FETCH BACKWARD 1 FROM c; FETCH ALL FROM c"
        )
    };
    let error = scene.db.error(&cursor(""));
    assert!(error.contains("cursor can only scan forward"), "{error}");
    assert_eq!(scene.db.sql(&cursor("SCROLL")), "0\n1\n0\n1\n2\n3\n4");
    let held = "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT doc->>'n' FROM source; COMMIT; FETCH ALL FROM c";
    assert_eq!(scene.db.sql(held), "0\n1\n2\n3\n4");
}

#[test]
fn only_committed_transactions_are_read_and_their_ends_are_no_messages() {
    let scene = Scene::new(1);
    source(&scene, ALL_COLUMNS);
    let numbers: Vec<String> = (0..40).map(|n| format!("{{\"n\": {n}}}")).collect();
    let some = |from: usize| numbers[from..from + 10].iter().map(|n| value(n.as_bytes()));
    let rows = || {
        let sum = "SELECT count(*), min((doc->>'n')::int), max((doc->>'n')::int) FROM source";
        let start = Instant::now();
        let answer = scene.db.sql(&format!("SET statement_timeout = '20 s'; {sum}"));
        (answer, start.elapsed() < Duration::from_secs(5))
    };
    let committed = Producer::in_transaction(&scene.topic);
    committed.send(some(0));
    committed.commit();
    // The broker answers before it has written the markers.
    eventually("the end of the transaction is there", 20, || rows().0 != "0||");
    assert_eq!(rows(), ("10|0|9".to_string(), true));
    // A scan ends although the topic's last record is a marker.
    let aborted = Producer::in_transaction(&scene.topic);
    aborted.send(some(10));
    aborted.abort();
    assert_eq!(rows(), ("10|0|9".to_string(), true));
    // What is open is not there yet, and neither is what came after its beginning.
    let open = Producer::in_transaction(&scene.topic);
    open.send(some(20));
    assert_eq!(rows(), ("10|0|9".to_string(), true));
    Producer::new(&scene.topic).send(some(30));
    assert_eq!(rows(), ("10|0|9".to_string(), true));
    open.commit();
    eventually("the end of the transaction is there", 20, || rows().0 != "10|0|9");
    assert_eq!(rows(), ("30|0|39".to_string(), true));
    let range =
        "SET statement_timeout = '20 s'; SELECT count(*) FROM source WHERE pos >= 11 AND pos < 22";
    assert_eq!(scene.db.number(range), 0);
}

#[test]
fn a_foreign_table_can_be_a_partition_or_a_child() {
    let scene = Scene::new(1);
    source(&scene, "doc json, pos bigint OPTIONS (source 'offset')");
    scene.topic.send_numbers(0..10);
    scene.db.sql(
        "CREATE TABLE everything (pos bigint, doc json) PARTITION BY RANGE (pos);
         CREATE TABLE old PARTITION OF everything FOR VALUES FROM (MINVALUE) TO (0);
         INSERT INTO everything VALUES (-1, '{\"n\": -1}');
         ALTER TABLE everything ATTACH PARTITION source FOR VALUES FROM (0) TO (1000)",
    );
    let sum = "SELECT count(*), sum((doc->>'n')::int) FROM everything";
    assert_eq!(scene.db.sql(sum), "11|44");
    let some = "SELECT tableoid::regclass, doc->>'n', everything FROM everything WHERE pos < 1 AND doc->>'n' <> ''";
    assert_eq!(
        scene.db.sql(some),
        "old|-1|(-1,\"{\"\"n\"\": -1}\")\nsource|0|(0,\"{\"\"n\"\": 0}\")"
    );
}

#[test]
fn whole_rows_and_dropped_columns() {
    let scene = Scene::new(1);
    source(&scene, "gone int, n int, doc json OPTIONS (source 'value'), later text");
    scene.topic.send_lines(0, "{\"n\": 1, \"later\": \"x\", \"gone\": 2}\n");
    scene.db.sql(
        "ALTER FOREIGN TABLE source DROP COLUMN gone, DROP COLUMN later, ADD COLUMN later text",
    );
    let rows = "SELECT source, doc->>'gone', tableoid::regclass, later FROM source";
    assert_eq!(
        scene.db.sql(rows),
        "(1,\"{\"\"n\"\": 1, \"\"later\"\": \"\"x\"\", \"\"gone\"\": 2}\",x)|2|source|x"
    );
    assert_eq!(scene.db.sql("SELECT later, doc->>'gone' FROM source"), "x|2");
    assert_eq!(scene.db.sql("SELECT (s).n FROM (SELECT source AS s FROM source) AS q"), "1");
    scene.db.sql("CREATE TABLE copy AS SELECT * FROM source");
    assert_eq!(scene.db.sql("SELECT n, later FROM copy"), "1|x");
}

#[test]
fn an_unreachable_broker_is_named_with_a_hint() {
    let scene = Scene::new(1);
    lost(&scene);
    let start = Instant::now();
    let error = scene.db.error("SELECT * FROM lost");
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    for part in ["127.0.0.1:1", "Connection refused", "HINT:  Check that the brokers run"] {
        assert!(error.contains(part), "{error}");
    }
    let state = "DO $$ BEGIN PERFORM FROM lost; EXCEPTION WHEN connection_failure THEN
                 RAISE NOTICE 'as expected'; END $$";
    assert!(scene.db.notices(state).contains("as expected"));
}

#[test]
fn waiting_for_an_unreachable_broker_can_be_cancelled() {
    let scene = Scene::new(1);
    lost(&scene);
    let start = Instant::now();
    let error = scene.db.error("SET statement_timeout = '200 ms'; SELECT * FROM lost");
    assert!(error.contains("statement timeout"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    // So can a scan whose broker stops answering in the middle.
    source(&scene, ALL_COLUMNS);
    scene.topic.send_numbers(0..10);
    scene.broker.pause();
    let start = Instant::now();
    let error = scene.db.try_sql("SET statement_timeout = '200 ms'; SELECT * FROM source");
    scene.broker.resume();
    assert!(error.is_err_and(|e| e.contains("statement timeout")));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn a_topic_that_does_not_exist_is_named_with_a_hint() {
    let scene = Scene::new(1);
    source(&scene, ALL_COLUMNS);
    scene.db.sql("ALTER FOREIGN TABLE source OPTIONS (SET topic 'no-such-topic')");
    let start = Instant::now();
    let error = scene.db.error("SELECT * FROM source");
    assert!(error.contains("no-such-topic") && error.contains("HINT"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let state = "DO $$ BEGIN PERFORM FROM source; EXCEPTION WHEN undefined_object THEN
                 RAISE NOTICE 'as expected'; END $$";
    assert!(scene.db.notices(state).contains("as expected"));
}

#[test]
fn many_scans_in_a_session_leave_no_thread_no_file_and_no_memory_behind() {
    let scene = Scene::new(1);
    source(&scene, ALL_COLUMNS);
    scene.topic.send_numbers(0..2000);
    // How it ends: read to the end, by a limit, by an error in a row, by an ERROR of its own.
    let script = "
        CREATE FUNCTION scans(times int) RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
            FOR i IN 1..times LOOP
                PERFORM doc->>'n' FROM source;
                PERFORM doc FROM source LIMIT 1;
                BEGIN
                    PERFORM 1 / ((doc->>'n')::int - 1000) FROM source;
                EXCEPTION WHEN division_by_zero THEN NULL;
                END;
                BEGIN
                    PERFORM doc->>'n', key::int FROM source WHERE part = 99 OR pos / 0 = 1;
                EXCEPTION WHEN division_by_zero THEN NULL;
                END;
            END LOOP;
        END $$;
        CREATE FUNCTION used(OUT threads bigint, OUT files bigint, OUT context_bytes numeric) LANGUAGE sql AS $$
            SELECT (SELECT count(*) FROM pg_ls_dir('/proc/self/task')),
                   (SELECT count(*) FROM pg_ls_dir('/proc/self/fd')),
                   (SELECT sum(total_bytes) FROM pg_backend_memory_contexts)
        $$;
        SELECT scans(5);
        SELECT * FROM used() \\gset before_
        SELECT scans(50);
        SELECT threads <= :before_threads, files <= :before_files, context_bytes - :before_context_bytes < 1000000
        FROM used()";
    assert_eq!(scene.db.sql(script).trim(), "t|t|t");
}

#[test]
fn an_error_of_a_conversion_tells_the_message_and_the_column() {
    let scene = Scene::new(1);
    scene.server();
    scene.table("source", "doc json OPTIONS (source 'value'), n int", "format 'json'");
    scene.topic.send_lines(0, "{\"n\": 1}\n{\"n\": \"x\"}\n");
    for (query, column) in [
        ("SELECT n FROM source", "column \"n\""),
        ("SELECT doc, n FROM source WHERE doc->>'n' <> ''", "column \"n\""),
        ("SELECT (doc->>'n')::int FROM source WHERE doc IS NOT NULL", "column \"doc\"->>'n'"),
    ] {
        let error = scene.db.error(query);
        assert!(error.contains("invalid input syntax for type integer: \"x\""), "{error}");
        let topic = &scene.topic.name;
        let place = format!("Message at topic \"{topic}\", partition 0, offset 1, {column}.");
        assert!(error.contains(&place), "{error}");
    }
    // And nothing else does.
    let error = scene.db.error("SELECT count(*) FROM source; SELECT 1/0");
    assert!(!error.contains("Message at"), "{error}");
    // A message that does not parse is no column's fault.
    scene.topic.send_lines(0, "{\n");
    let error = scene.db.error("SELECT doc FROM source");
    assert!(error.contains("partition 0, offset 2."), "{error}");
}
