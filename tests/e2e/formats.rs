//! Each format from bytes in Kafka to rows, by a query and by a job, for value and key.

use gpss_testbed::encode::{array, bytes, long};
use gpss_testbed::{Producer, Record, Scene, eventually, literal, value};

/// A query and a job both give these rows.
fn expect(scene: &Scene, list: &str, rows: &str) {
    assert_eq!(scene.db.sql(&format!("SELECT {list} FROM source")), rows, "query");
    scene.load_source();
    assert_eq!(scene.db.sql(&format!("SELECT {list} FROM target")), rows, "job");
}

/// The rejected messages of the job: offset, stage, SQLSTATE and message.
fn rejected(scene: &Scene) -> String {
    scene.db.sql("SELECT \"offset\", stage, sqlstate, message FROM gpss.errors ORDER BY \"offset\"")
}

fn both<'a>(key: &'a [u8], payload: &'a [u8]) -> Record<'a> {
    Record { key: Some(key), ..value(payload) }
}

#[test]
fn csv_in_key_and_value() {
    let scene = Scene::new(1);
    scene.source_and_target(
        "pos bigint OPTIONS (source 'offset'), a int, b text, c text,
         k1 text OPTIONS (source 'key_field'), k2 int OPTIONS (source 'key_field'),
         meta jsonb OPTIONS (source 'meta'), problem text OPTIONS (source 'error')",
        r"format 'csv', delimiter ';', quote '''', escape '\', null '\N', header 'true',
          force_not_null 'c', fill_missing_fields 'on', key_format 'csv', key_delimiter '/'",
    );
    Producer::new(&scene.topic).send([
        both(b"x/1", b"heading\n1;one;\\N\n2;'t;w\\'o\n';x\n"),
        both(b"x/1\ny/2", b"h\n3;three;x\n"),
        Record { key: Some(b"gone/4"), ..Record::default() },
        both(b"empty/5", b""),
        both(b"h/5", b"heading alone"),
        both(b"f/6", b"h\r\n6\r\n7;\r\n"),
        value(b"h\n8;'';x"),
        both(b"only", b"h\n9;nine;x"),
        both(b"a/10", b"h\n10;ten;x;more"),
        both(b"a/11", b"h\n11;'ele\n"),
        both(b"a/12", b"h\n12;x\n\n13;x\n"),
        both(b"a/13", b"h\n13;x;y\n\\.\nwhatever"),
        both(b"\"a\n/\"/14", b"h\n14;x;y\n"),
    ]);
    let rows = "0|1|one|\\N|x|1|0
0|2|t;w'o
|x|x|1|0
2||||gone|4|2
5|6|||f|6|5
5|7|||f|6|5
6|8||x|||6
11|13|x|y|a|13|11
12|14|x|y|a
/|14|12";
    // The empty field of row 7 is no NULL where the option `null` says something else.
    let list = "pos, a, b, c, k1, k2, meta->'offset'";
    let good = format!("SELECT {list} FROM source WHERE problem IS NULL");
    assert_eq!(scene.db.sql(&good), rows);
    let empty = "pos || ':' || a FROM source WHERE b = '' OR c = ''";
    assert_eq!(scene.db.sql(&format!("SELECT {empty}")), "5:7\n6:8");
    scene.load_source();
    assert_eq!(scene.db.sql(&format!("SELECT {list} FROM target")), rows);
    assert_eq!(
        rejected(&scene),
        "1|decode|22P02|in the message's key: line 2: more than one record
7|decode|22P02|in the message's key: missing data for column \"k2\"
8|decode|22P02|line 2: extra data after last expected column
9|decode|22P02|line 2: unterminated CSV quoted field
10|decode|22P02|line 3: missing data for column \"b\", found empty data line"
    );
    let problems = "SELECT pos, problem FROM source WHERE problem IS NOT NULL";
    let said = scene.db.sql("SELECT \"offset\", message FROM gpss.errors ORDER BY 1");
    assert_eq!(scene.db.sql(problems), said);
}

#[test]
fn no_row_of_a_message_with_a_bad_row_is_loaded() {
    let scene = Scene::new(1);
    scene.source_and_target(
        "a int, b varchar(3), pos bigint OPTIONS (source 'offset')",
        "format 'csv'",
    );
    Producer::new(&scene.topic).send([
        value(b"1,one\n2,two\n"),
        value(b"3,x\n4,four\n5,x\n"),
        value(b"6,x\nseven,x\n"),
        value(b"8,x\n9,\0\n"),
        value(b"10,x\n11,\xff\n"),
        value(b"12,x\n13\n"),
        value(b"99999999999,x\n"),
        value(b"14,x\n15,y\n16,z"),
    ]);
    scene.load_source();
    assert_eq!(
        scene.db.sql("SELECT string_agg(a || b || pos, ' ') FROM target"),
        "1one0 2two0 14x7 15y7 16z7"
    );
    assert_eq!(
        rejected(&scene),
        "1|map|22001|value too long for type character varying(3)
2|map|22P02|invalid input syntax for type integer: \"seven\"
3|decode|22P02|invalid byte sequence for encoding \"UTF8\": 0x00
4|decode|22P02|invalid byte sequence for encoding \"UTF8\": 0xff
5|decode|22P02|line 2: missing data for column \"b\"
6|map|22003|value \"99999999999\" is out of range for type integer"
    );
    assert_eq!(scene.db.sql("SELECT sum(messages), sum(rejected) FROM gpss.batches"), "8|6");
    // The scan tells which message it is.
    let error = scene.db.error("SELECT pos FROM source");
    assert!(error.contains("offset 3"), "{error}");
}

#[test]
fn text_in_key_and_value() {
    let scene = Scene::new(1);
    scene.source_and_target(
        "a int, b text, k text OPTIONS (source 'key_field'), pos bigint OPTIONS (source 'offset')",
        "format 'text', key_format 'text', key_delimiter '|', key_null 'none'",
    );
    Producer::new(&scene.topic).send([
        both(b"k\\|1", b"1\tx\\ty\\\\\n2\t\\N\n3\t\\\\N"),
        both(b"none", b"4\t\\x41\\102\\\nc\n5\tx\n\\.\nrest"),
        both(b"a|b", b"6\tx"),
        both(b"\\xff", b"7\tx"),
        both(b"", b"8\tx"),
        both(b"z", b"9\tx\\.\n"),
        both(b"z", b"10\tx\r\n11\ty\n"),
    ]);
    scene.load_source();
    assert_eq!(
        scene.db.sql("SELECT a, coalesce(b, 'NULL'), k, pos FROM target"),
        "1|x\ty\\|k|1|0\n2|NULL|k|1|0\n3|\\N|k|1|0\n4|AB\nc||1\n5|x||1\n8|x||4\n9|x|z|5"
    );
    assert_eq!(
        scene.db.sql("SELECT \"offset\", stage FROM gpss.errors ORDER BY 1"),
        "2|decode\n3|decode\n6|decode"
    );
    let query = "SELECT a, coalesce(b, 'NULL'), k, pos FROM source WHERE pos IN (0, 1, 4, 5)";
    let loaded = "SELECT a, coalesce(b, 'NULL'), k, pos FROM target";
    assert_eq!(scene.db.sql(query), scene.db.sql(loaded));
}

#[test]
fn delimited_in_key_and_value() {
    let scene = Scene::new(1);
    scene.source_and_target(
        "a int, b text, k1 int OPTIONS (source 'key_field'), k2 text OPTIONS (source 'key_field'),
         problem text OPTIONS (source 'error')",
        r"format 'delimited', delimiter '~^', eol_prefix ';', quote '''', escape '\', null 'nil',
          key_format 'delimited', key_delimiter E'\x01\x02'",
    );
    Producer::new(&scene.topic).send([
        both(b"1\x01\x02k\x01", b"1~^'x~^;\n\\'y';\n2~^nil;\n3~^'nil';\n4~^it's\n"),
        both(b"1\x01\x02k\x01\x02", b"5~^x"),
        both(b"2\x01\x02", b"6~^x;y\\;z;\n7~^;\n"),
        both(b"3\x01\x02k", b"8~^'x' ;\n"),
        both(b"4\x01\x02k", b"9~^'x"),
    ]);
    scene.load_source();
    assert_eq!(
        scene.db.sql("SELECT a, coalesce(b, 'NULL'), k1, coalesce(k2, 'NULL') FROM target"),
        "1|x~^;\n'y|1|k\u{1}
2|NULL|1|k\u{1}
3|nil|1|k\u{1}
4|it's\n|1|k\u{1}
6|x;y;z|2|NULL
7||2|NULL"
    );
    assert_eq!(
        rejected(&scene),
        "1|decode|22P02|in the message's key: extra data after last expected column
3|decode|22P02|unexpected data after the closing quote of a field
4|decode|22P02|unterminated quoted field"
    );
    let query = "SELECT * FROM source WHERE problem IS NULL EXCEPT ALL SELECT * FROM target";
    assert_eq!(scene.db.sql(query), "");
}

#[test]
fn jsonl_in_key_and_value() {
    let scene = Scene::new(1);
    scene.source_and_target("n int, whole jsonb OPTIONS (source 'value'), k text OPTIONS (source 'key_field', field 'K'),
         key json OPTIONS (source 'key'), raw bytea OPTIONS (source 'value'),
         pos bigint OPTIONS (source 'offset'), problem text OPTIONS (source 'error')",
        "format 'jsonl', key_format 'jsonl', key_newline ';'",
    );
    Producer::new(&scene.topic).send([
        both(b"{\"K\": \"x;y\"}", b"{\"n\": 1}"),
        both(b"{\"K\": \"z\"};\n", b"{\"n\": 2}\r\n\n  \n{\"n\": 3, \"m\": \"\\u00e4\"}\n"),
        both(b"{};{}", b"{\"n\": 4}"),
        both(b"{}", b""),
        both(b"{}", b"{\"n\": 5}\n{\"n\": 6\n{\"n\": 7}"),
        Record { key: Some(b"{\"K\": 8}"), ..Record::default() },
        value(b"{\"n\": 9} {\"n\": 10}"),
        value(b"11\n[12]\nnull"),
    ]);
    let list = "pos, n, whole, k, key";
    let rows = "1|2|{\"n\": 2}|z|{\"K\": \"z\"}
1|3|{\"m\": \"ä\", \"n\": 3}|z|{\"K\": \"z\"}
5|||8|{\"K\": 8}
7||11||
7||[12]||
7||null||";
    scene.load_source();
    assert_eq!(scene.db.sql(&format!("SELECT {list} FROM target")), rows);
    let query = format!("SELECT {list} FROM source WHERE problem IS NULL");
    assert_eq!(scene.db.sql(&query), rows);
    assert_eq!(
        scene.db.sql("SELECT \"offset\", stage FROM gpss.errors ORDER BY 1"),
        "0|decode\n2|decode\n4|decode\n6|decode"
    );
    // The bytes are those of the message, on each of its rows.
    assert_eq!(
        scene.db.sql("SELECT count(*), count(DISTINCT raw) FROM source WHERE pos = 1"),
        "2|1"
    );
}

#[test]
fn an_array_in_jsonl_gives_a_row_for_each_element() {
    let scene = Scene::new(1);
    scene.source_and_target(
        "n int, tags text[], k text OPTIONS (source 'key_field', field 'K'),
         pos bigint OPTIONS (source 'offset')",
        "format 'jsonl', key_format 'jsonl'",
    );
    let key = b"{\"K\": \"y\"}";
    Producer::new(&scene.topic).send([
        both(
            b"[{\"K\": \"x\"}]",
            b"[{\"n\": 1, \"tags\": [\"],[\", \"b\"]}, {\"n\": 2}]\n{\"n\": 3}\n",
        ),
        both(key, b"[]"),
        both(key, b"{\"n\": 4}\n[{\"n\": 5}, 6]"),
        both(key, b"[{\"n\": 7}, {\"n\": \"x\"}]"),
        both(b"[{}, {}]", b"[{\"n\": 8}]"),
        both(key, b"[{\"n\": 9}"),
    ]);
    scene.load_source();
    assert_eq!(
        scene.db.sql("SELECT pos, n, tags, k FROM target ORDER BY n"),
        "0|1|{\"],[\",b}|x\n0|2||x\n0|3||x"
    );
    let errors =
        r#"SELECT "offset", stage, split_part(message, ', wanted', 1) FROM gpss.errors ORDER BY 1"#;
    let said = scene.db.sql(errors);
    let expected = [
        "2|decode|document 2: element 2: a JSON number has no fields",
        "3|map|invalid input syntax for type integer: \"x\"",
        "4|decode|in the message's key: element 2: more than one record",
        "5|decode|invalid input syntax for type json",
    ];
    for (line, expected) in said.lines().zip(expected) {
        assert!(line.starts_with(expected), "{said}");
    }
    assert_eq!(said.lines().count(), expected.len());
    // What takes the whole document takes an array as it is.
    let whole = "doc json OPTIONS (source 'value'), error text OPTIONS (source 'error')";
    scene.table("whole", whole, "format 'jsonl'");
    let kinds = "SELECT count(*) FROM whole WHERE json_typeof(doc) = 'array'";
    assert_eq!(scene.db.sql(kinds), "5");
}

#[test]
fn binary_in_key_and_value() {
    let scene = Scene::new(1);
    scene.source_and_target(
        "payload bytea, k bytea OPTIONS (source 'key_field'), pos bigint OPTIONS (source 'offset')",
        "format 'binary', key_format 'binary'",
    );
    Producer::new(&scene.topic).send([
        both(b"\x00\xff", b"\x00\x01\xff"),
        both(b"", b""),
        value(b"x"),
        Record { key: Some(b"k"), ..Record::default() },
    ]);
    expect(
        &scene,
        "pos, coalesce(payload::text, 'NULL'), coalesce(k::text, 'NULL')",
        "0|\\x0001ff|\\x00ff\n1|\\x|\\x\n2|\\x78|NULL\n3|NULL|\\x6b",
    );
}

#[test]
fn json_in_another_encoding() {
    let scene = Scene::new(1);
    scene.source_and_target(
        "n int, s text, raw bytea OPTIONS (source 'value'), k text OPTIONS (source 'key_field'),
         pos bigint OPTIONS (source 'offset'), problem text OPTIONS (source 'error')",
        "encoding 'latin-1', key_format 'json', key_encoding 'KOI8R'",
    );
    Producer::new(&scene.topic).send([
        both(b"{\"k\": \"\xc4\"}", b"{\"n\": 1, \"s\": \"\xe4\xf6\\u00fc\"}"),
        both(b"{\"k\": 2}", b"{\"n\": 2, \"s\": \xe4}"),
        both(b"{}", b""),
        Record { key: Some(b"{\"k\": 3}"), ..Record::default() },
    ]);
    scene.load_source();
    let list = "n, s, raw, k, pos";
    let rows = "1|äöü|\\x7b226e223a20312c202273223a2022e4f65c7530306663227d|д|0\n||||3";
    let rows = rows.replace("||||3", "|||3|3");
    assert_eq!(scene.db.sql(&format!("SELECT {list} FROM target")), rows);
    assert_eq!(scene.db.sql(&format!("SELECT {list} FROM source WHERE problem IS NULL")), rows);
    // What is kept is what was sent.
    assert_eq!(
        scene.db.sql("SELECT \"offset\", stage, payload FROM gpss.errors ORDER BY 1"),
        "1|decode|\\x7b226e223a20322c202273223a20e47d\n2|decode|\\x"
    );
}

#[test]
fn formats_in_a_database_of_another_encoding() {
    let scene = Scene::new(1);
    let db = scene.cluster.database_in("LATIN1");
    db.sql(&format!(
        "CREATE SERVER kafka FOREIGN DATA WRAPPER gpss OPTIONS (brokers '{}');
         CREATE FOREIGN TABLE source (n int, s text, pos bigint OPTIONS (source 'offset'))
             SERVER kafka OPTIONS (topic '{}', format 'csv');
         CREATE TABLE target (LIKE source)",
        scene.broker.address, scene.topic.name
    ));
    Producer::new(&scene.topic).send([value("1,ä\n".as_bytes()), value("2,д\n".as_bytes())]);
    assert_eq!(
        db.sql("SELECT n, s, length(s), octet_length(s) FROM source WHERE pos = 0"),
        "1|ä|1|1"
    );
    let error = db.error("SELECT s FROM source");
    assert!(error.contains("has no equivalent in encoding \"LATIN1\""), "{error}");
    db.sql(
        "SELECT gpss.submit_job('load', 'source'::regclass, 'target'::regclass);
         SELECT gpss.start_job('load', quit_at_eof => true); SELECT gpss.wait_job('load', '60 s')",
    );
    assert_eq!(db.sql("SELECT n, s, octet_length(s) FROM target"), "1|ä|1");
    assert_eq!(db.sql("SELECT \"offset\", sqlstate FROM gpss.errors"), "1|22P05");
}

/// One sensor and reading for each two bytes, as in the documentation.
const READINGS: &str = "
    CREATE FUNCTION readings(payload bytea, params jsonb) RETURNS TABLE (sensor int, reading numeric)
    LANGUAGE sql AS $$
        SELECT get_byte(payload, 2 * i), get_byte(payload, 2 * i + 1) * (params->>'scale')::numeric
        FROM generate_series(0, length(payload) / 2 - 1) AS i
    $$";

#[test]
fn a_function_makes_the_rows_of_a_message() {
    let scene = Scene::new(1);
    scene.db.sql(READINGS);
    scene.source_and_target(
        "r numeric OPTIONS (field 'reading'), sensor int, pos bigint OPTIONS (source 'offset'),
         key text OPTIONS (source 'key')",
        "format 'custom', formatter 'readings', params '{\"scale\": 0.5}'",
    );
    Producer::new(&scene.topic).send([
        both(b"a", &[1, 10, 2, 20]),
        value(&[]),
        Record { key: Some(b"gone"), ..Record::default() },
        value(&[3, 30]),
    ]);
    expect(&scene, "sensor, r, pos, key", "1|5.0|0|a\n2|10.0|0|a\n||2|gone\n3|15.0|3|");
    assert_eq!(scene.db.sql("SELECT count(*) FROM source"), "4");
    assert_eq!(scene.db.sql("SELECT pos FROM source WHERE sensor > 2"), "3");
    assert_eq!(scene.db.sql("SELECT count(*) FROM source a JOIN source b USING (sensor)"), "3");
    assert_eq!(scene.db.sql("SELECT sensor FROM source LIMIT 1"), "1");
}

#[test]
fn a_function_may_return_records_single_values_or_a_row_type() {
    let scene = Scene::new(1);
    scene.db.sql(
        "CREATE FUNCTION records(p bytea, o json) RETURNS SETOF record LANGUAGE plpgsql AS $$
         BEGIN
             RETURN QUERY SELECT length(p), o->>'x';
             RETURN QUERY SELECT -1, convert_from(p, 'UTF8');
         END $$;
         CREATE FUNCTION one(p bytea, o text) RETURNS text LANGUAGE sql AS $$ SELECT upper(convert_from(p, 'UTF8')) || o $$;
         CREATE FUNCTION words(p bytea, o jsonb) RETURNS SETOF text LANGUAGE sql
             AS $$ SELECT regexp_split_to_table(convert_from(p, 'UTF8'), ' ') $$;
         CREATE TYPE pair AS (\"A b\" int, c text[]);
         CREATE FUNCTION pairs(p bytea, o jsonb) RETURNS pair LANGUAGE sql AS $$ SELECT length(p), ARRAY[convert_from(p, 'UTF8')] $$;
         CREATE FUNCTION single(p bytea, o jsonb) RETURNS TABLE (w text) LANGUAGE sql AS $$ SELECT convert_from(p, 'UTF8') $$;
         CREATE FUNCTION outs(p bytea, o jsonb, OUT w text, OUT n int) LANGUAGE sql AS $$ SELECT convert_from(p, 'UTF8'), 7 $$;
         CREATE SCHEMA \"Odd. name\";
         CREATE FUNCTION \"Odd. name\".\"F\"(p bytea, o jsonb) RETURNS text LANGUAGE sql AS $$ SELECT o::text $$",
    );
    scene.source_and_target(
        "n int, t text",
        "format 'custom', formatter 'records', params '{\"x\": \"it''s\"}'",
    );
    scene.topic.send_lines(0, "ab c\n");
    expect(&scene, "n, t", "4|it's\n-1|ab c");
    let table = |name: &str, columns: &str, options: &str| {
        scene.db.sql(&format!(
            "CREATE FOREIGN TABLE {name} ({columns}) SERVER kafka
             OPTIONS (topic '{}', format 'custom', {options})",
            scene.topic.name
        ));
        scene.db.sql(&format!("SELECT * FROM {name}"))
    };
    assert_eq!(table("v1", "anything text", "formatter 'one'"), "AB C{}");
    assert_eq!(table("v2", "w text", "formatter 'public.words'"), "ab\nc");
    assert_eq!(table("v3", "c text[], \"A b\" int", "formatter 'pairs'"), "{\"ab c\"}|4");
    assert_eq!(table("v4", "w text", "formatter 'single'"), "ab c");
    assert_eq!(table("v5", "n smallint, w varchar(9)", "formatter 'outs'"), "7|ab c");
    assert_eq!(
        table("v6", "v text", "formatter '\"Odd. name\".\"F\"', params '{\"\\\\\": \"$1\"}'"),
        "{\"\\\\\": \"$1\"}"
    );
    // A function of ours does as well.
    let options = r#"formatter 'gpss.gpfmt_gpss', params '{"format": "csv", "delimiter": " "}'"#;
    assert_eq!(table("v7", "n text, m text", options), "ab|c");
}

#[test]
fn a_function_for_the_key() {
    let scene = Scene::new(1);
    scene.db.sql(
        "CREATE FUNCTION split(p bytea, o jsonb) RETURNS TABLE (a text, b text) LANGUAGE sql AS $$
             SELECT split_part(l, '-', 1), split_part(l, '-', 2) FROM regexp_split_to_table(convert_from(p, 'UTF8'), ';') AS l
             WHERE l <> '' $$",
    );
    scene.source_and_target(
        "a text OPTIONS (source 'key_field'), b text OPTIONS (source 'key_field'), n int, m int,
         pos bigint OPTIONS (source 'offset')",
        "format 'csv', key_format 'custom', key_formatter 'split'",
    );
    Producer::new(&scene.topic).send([
        both(b"x-y", b"1,2\n3,4\n"),
        both(b"x-y;z-z", b"5,6\n"),
        value(b"7,8\n"),
        both(b"\xff", b"9,10\n"),
        Record { key: Some(b"t-u"), ..Record::default() },
    ]);
    scene.load_source();
    assert_eq!(
        scene.db.sql("SELECT a, b, n, m, pos FROM target"),
        "x|y|1|2|0\nx|y|3|4|0\n||7|8|2\nt|u|||4"
    );
    let errors = scene.db.sql("SELECT \"offset\", stage, sqlstate FROM gpss.errors ORDER BY 1");
    assert_eq!(errors, "1|map|22P02\n3|map|22021");
}

#[test]
fn an_error_in_a_function_rejects_its_message() {
    let scene = Scene::new(1);
    scene.db.sql(
        "CREATE FUNCTION fussy(p bytea, o jsonb) RETURNS TABLE (n int, s text) LANGUAGE plpgsql AS $$
         BEGIN
             n := 0; s := 'first'; RETURN NEXT;
             IF p = 'raise' THEN RAISE EXCEPTION 'not this one'; END IF;
             n := convert_from(p, 'UTF8')::int; s := 'last'; RETURN NEXT;
         END $$",
    );
    scene.source_and_target("n int, s text", "format 'custom', formatter 'fussy'");
    scene.topic.send_lines(0, "1\nraise\n2\nx\n3\n");
    scene.load_source();
    assert_eq!(scene.db.sql("SELECT string_agg(n::text, ',') FROM target"), "0,1,0,2,0,3");
    assert_eq!(
        rejected(&scene),
        "1|map|P0001|not this one\n3|map|22P02|invalid input syntax for type integer: \"x\""
    );
    let error = scene.db.error("SELECT * FROM source");
    assert!(error.contains("not this one"), "{error}");

    // A function that is gone is nobody's message.
    scene.topic.send_lines(0, "5\n");
    scene.db.sql("DROP FUNCTION fussy; SELECT gpss.start_job('load', quit_at_eof => true)");
    scene.db.try_sql("SELECT gpss.wait_job('load', '30 s')").ok();
    let status = scene
        .db
        .sql("SELECT status, errmsg LIKE '%fussy(bytea, jsonb) does not exist%' FROM gpss.jobs");
    assert_eq!(status, "JOB_ERROR|t");
    assert_eq!(scene.db.sql("SELECT next_offset FROM gpss.progress"), "5");
    let error = scene.db.error("SELECT * FROM source");
    assert!(error.contains("function fussy(bytea, jsonb) does not exist"), "{error}");
}

#[test]
fn an_error_of_the_users_own_code_rejects_its_message() {
    let scene = Scene::new(1);
    scene.db.sql(
        "CREATE FUNCTION fussy(p bytea, o jsonb) RETURNS text LANGUAGE plpgsql AS $$
         BEGIN
             IF p = 'bad' THEN RAISE EXCEPTION 'not this' USING ERRCODE = 'G0001', DETAIL = 'because'; END IF;
             RETURN p;
         END $$",
    );
    scene.source_and_target("s text", "format 'custom', formatter 'fussy'");
    scene.topic.send_lines(0, "a\nbad\nb\n");
    scene.load_source();
    assert_eq!(scene.db.sql("SELECT count(*) FROM target"), "2");
    assert_eq!(rejected(&scene), "1|map|P0001|not this");
}

#[test]
fn a_types_error_of_the_users_own_code_rejects_its_message() {
    let scene = Scene::new(1);
    scene.db.sql(
        "CREATE FUNCTION fits(t text) RETURNS boolean LANGUAGE plpgsql AS $$
         BEGIN
             IF t = 'bad' THEN RAISE EXCEPTION 'not this' USING ERRCODE = 'G0001'; END IF;
             RETURN true;
         END $$;
         CREATE DOMAIN fitting AS text CHECK (fits(VALUE))",
    );
    scene.source_and_target("s fitting", "format 'csv'");
    scene.topic.send_lines(0, "a\nbad\nb\n");
    scene.load_source();
    assert_eq!(scene.db.sql("SELECT count(*) FROM target"), "2");
    assert_eq!(rejected(&scene), "1|map|P0001|not this");
}

#[test]
fn a_function_runs_as_the_owner_of_the_table() {
    let scene = Scene::new(1);
    let role = |name: &str| format!("{name}_{}", scene.db.name);
    let (owner, reader) = (role("owner"), role("reader"));
    scene.db.sql(&format!(
        "CREATE ROLE {owner}; CREATE ROLE {reader};
         CREATE SCHEMA hidden AUTHORIZATION {owner};
         CREATE SERVER kafka FOREIGN DATA WRAPPER gpss OPTIONS (brokers '{brokers}');
         GRANT USAGE ON FOREIGN SERVER kafka TO {owner};
         GRANT CREATE ON SCHEMA public TO {owner};
         SET ROLE {owner};
         CREATE TABLE hidden.names AS SELECT 1 AS id, 'one' AS name;
         CREATE FUNCTION hidden.look(p bytea, o jsonb) RETURNS TABLE (name text, who text) LANGUAGE sql AS $$
             SELECT n.name, current_user FROM hidden.names n WHERE id = convert_from(p, 'UTF8')::int $$;
         REVOKE EXECUTE ON FUNCTION hidden.look FROM PUBLIC;
         CREATE FUNCTION public.spill(p bytea, o jsonb) RETURNS TABLE (name text, who text) LANGUAGE plpgsql AS $$
             BEGIN SET ROLE NONE; RETURN QUERY SELECT 'x', current_user::text; END $$;
         CREATE FOREIGN TABLE source (name text, who text) SERVER kafka
             OPTIONS (topic '{topic}', format 'custom', formatter 'hidden.look');
         CREATE FOREIGN TABLE sly (name text, who text) SERVER kafka
             OPTIONS (topic '{topic}', format 'custom', formatter 'public.spill');
         GRANT SELECT ON source, sly TO {reader}",
        brokers = scene.broker.address,
        topic = scene.topic.name,
    ));
    scene.topic.send_lines(0, "1\n2\n");
    let as_reader = |sql: &str| scene.db.try_sql(&format!("SET ROLE {reader}; {sql}"));
    let rows = as_reader("SELECT name, who = current_user, who FROM source");
    // A superuser's query does not lend the function his rights either.
    let all = scene.db.sql("SELECT name, who FROM source");
    let sly = scene.db.try_sql("SELECT * FROM sly");
    scene.db.sql(&format!(
        "DROP FOREIGN TABLE source, sly; DROP SCHEMA hidden CASCADE; DROP OWNED BY {owner}, {reader};
         DROP ROLE {owner}, {reader}"
    ));
    assert_eq!(all, format!("one|{owner}"));
    let sly = sly.expect_err("an error");
    assert!(sly.contains("cannot set parameter \"role\""), "{sly}");
    assert_eq!(rows, Ok(format!("one|f|{owner}")));
}

#[test]
fn a_reader_cannot_have_code_of_his_own_run_as_the_owner() {
    let scene = Scene::new(1);
    let role = |name: &str| format!("{name}_{}", scene.db.name);
    let (owner, reader) = (role("owner"), role("reader"));
    scene.db.sql(&format!(
        "CREATE ROLE {owner}; CREATE ROLE {reader};
         CREATE SERVER kafka FOREIGN DATA WRAPPER gpss OPTIONS (brokers '{brokers}');
         GRANT USAGE ON FOREIGN SERVER kafka TO {owner};
         GRANT CREATE ON SCHEMA public TO {owner};
         CREATE SCHEMA evil AUTHORIZATION {reader};
         SET ROLE {reader};
         CREATE FUNCTION evil.fetch(p bytea, o jsonb) RETURNS TABLE (who text) LANGUAGE sql
             AS $$ SELECT 'evil as ' || current_user $$;
         CREATE FUNCTION evil.upper(t text) RETURNS text LANGUAGE sql
             AS $$ SELECT 'evil as ' || current_user $$;
         GRANT USAGE ON SCHEMA evil TO {owner};
         SET ROLE {owner};
         CREATE FUNCTION public.fetch(p bytea, o jsonb) RETURNS TABLE (who text) LANGUAGE sql
             AS $$ SELECT upper('good') $$;
         CREATE FOREIGN TABLE unqualified (who text) SERVER kafka
             OPTIONS (topic '{topic}', format 'custom', formatter 'fetch');
         CREATE FOREIGN TABLE qualified (who text) SERVER kafka
             OPTIONS (topic '{topic}', format 'custom', formatter 'public.fetch');
         GRANT SELECT ON qualified, unqualified TO {reader}",
        brokers = scene.broker.address,
        topic = scene.topic.name,
    ));
    scene.topic.send_lines(0, "1\n");
    let read = |table: &str| {
        let path = "SET search_path = evil, pg_catalog, public";
        scene.db.try_sql(&format!("SET ROLE {reader}; {path}; SELECT who FROM public.{table}"))
    };
    let (unqualified, qualified) = (read("unqualified"), read("qualified"));
    scene.db.sql(&format!("DROP OWNED BY {owner}, {reader}; DROP ROLE {owner}, {reader}"));
    for outcome in [unqualified, qualified] {
        let text = outcome.unwrap_or_else(|error| error);
        assert!(!text.contains(&format!("evil as {owner}")), "{text}");
    }
}

#[test]
fn a_function_with_namesakes_of_other_arguments() {
    let scene = Scene::new(1);
    for argument in ["text", "json", "jsonb"] {
        scene.db.sql(&format!(
            "CREATE FUNCTION many(p bytea, o {argument}) RETURNS text LANGUAGE sql AS $$ SELECT '{argument}' $$"
        ));
    }
    scene.source_and_target("s text", "format 'custom', formatter 'many'");
    scene.topic.send_lines(0, "1\n");
    assert_eq!(scene.db.sql("SELECT * FROM source"), "jsonb");
}

#[test]
fn many_rows_of_a_message_through_cursor_join_and_job() {
    let scene = Scene::new(1);
    scene.source_and_target(
        "n int, m int, k int OPTIONS (source 'key_field'), pos bigint OPTIONS (source 'offset')",
        "format 'csv', key_format 'csv'",
    );
    let payload: String = (0..50_000).map(|n| format!("{n},{}\n", n % 10)).collect();
    Producer::new(&scene.topic).send([both(b"1", payload.as_bytes()), both(b"2", b"7,7\n")]);
    let sums = "count(*), count(DISTINCT (k, n)), sum(n::bigint)";
    let all = "50001|50001|1249975007";
    assert_eq!(scene.db.sql(&format!("SELECT {sums} FROM source")), all);
    let cursor = "BEGIN; DECLARE c CURSOR FOR SELECT n, k FROM source; MOVE 49999 IN c;
                  FETCH 3 FROM c; COMMIT";
    assert_eq!(scene.db.sql(cursor), "49999|1\n7|2");
    let join = "SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_material = off;
        SELECT count(*) FROM (VALUES (0), (1)) AS v (pos) LEFT JOIN source s ON s.pos = v.pos";
    assert_eq!(scene.db.number(join), 50_001);
    scene.db.sql(
        "SELECT gpss.submit_job('load', 'source'::regclass, 'target'::regclass, max_row => 1)",
    );
    scene.run("load");
    assert_eq!(scene.db.sql(&format!("SELECT {sums} FROM target")), all);
    let batches = "SELECT count(*), sum(messages), sum(inserted) FROM gpss.batches";
    assert_eq!(scene.db.sql(batches), "2|2|50001");
}

#[test]
fn a_dry_run_of_every_kind_of_format() {
    let scene = Scene::new(1);
    scene.db.sql(READINGS);
    Producer::new(&scene.topic).send([value(b"1,2\n3,4"), value(b"x\n"), value(b"5,6\n\n")]);
    scene.source_and_target("n int, m int", "format 'csv'");
    scene.db.sql("SELECT gpss.submit_job('load', 'source'::regclass, 'target'::regclass)");
    let rows = "SELECT \"offset\", \"row\", error FROM gpss.dryrun('load') WHERE statement IS NULL";
    assert_eq!(
        scene.db.sql(rows),
        "0|{\"m\": 2, \"n\": 1}|\n0|{\"m\": 4, \"n\": 3}|\n1||missing data for column \"m\"\n2||line 2: missing data for column \"m\""
    );
    scene.db.sql(
        "DROP FOREIGN TABLE source CASCADE; DROP TABLE target; SELECT gpss.remove_job('load'); DROP SERVER kafka",
    );
    scene.source_and_target(
        "sensor int, reading numeric, pos int OPTIONS (source 'offset')",
        "format 'custom', formatter 'readings', params '{\"scale\": 1}'",
    );
    scene.db.sql("SELECT gpss.submit_job('load', 'source'::regclass, 'target'::regclass)");
    assert_eq!(
        scene.db.sql(&format!("{rows} AND \"offset\" = 1")),
        "1|{\"pos\": 1, \"sensor\": 120, \"reading\": 10}|"
    );
}

/// Types of every kind, and a table of them.
const TYPES: &str = "
    CREATE EXTENSION hstore; CREATE EXTENSION citext;
    CREATE TYPE colour AS ENUM ('red', 'it''s blue');
    CREATE TYPE point3 AS (x int, y numeric, note text);
    CREATE DOMAIN positive AS int CHECK (VALUE > 0);
    CREATE DOMAIN code AS text NOT NULL CHECK (VALUE ~ '^[A-Z]+$');
    CREATE DOMAIN ints AS int[] CHECK (array_length(VALUE, 1) < 4)";

const COLUMNS: &str =
    "id int, ints int[], grid int[][], texts text[], points point3[], point point3,
    small positive, colour colour, during int4range, amount numeric(10,2), raw bytea,
    at timestamptz, uid uuid, ip inet, h hstore, name citext, short varchar(3), list ints,
    boxes box[], docs jsonb[], span interval, bits bit(3), pos bigint OPTIONS (source 'offset')";

const GOOD: &str = r#"1|{1,NULL,-3}|{{1,2},{3,4}}|{"a,b","NULL",NULL,"say \"hi\" \\",""}|{"(1,2.5,\"a b\")",NULL}|(1,2.5,"it's ""x""")|5|it's blue|[1,10)|12.35|\x00ff|2024-02-29 12:00:00.123456+00|6f1c2a30-0000-4000-8000-000000000001|10.0.0.0/8|"a"=>"1", "b"=>NULL|NaMe|äöü|{1,2}|{(2,2),(1,1);(1,1),(0,0)}|{"{\"a\": 1}",NULL}|1 mon 2 days 00:00:03.5|101|0"#;

/// The row's columns in the order of `GOOD`.
const LIST: &str = "id, ints, grid, texts, points, point, small, colour, during, amount, raw,
    at AT TIME ZONE 'UTC' || '+00', uid, ip, h, name, short, list, boxes, docs, span, bits, pos";

fn types(scene: &Scene, options: &str) {
    scene.db.sql(TYPES);
    scene.source_and_target(COLUMNS, options);
}

/// The errors that the messages from 1 on have in common.
const BAD: &str =
    "1|write|23514|value for domain positive violates check constraint \"positive_check\"
2|map|22001|value too long for type character varying(3)
3|map|22P02|invalid input value for enum colour: \"green\"
4|map|22000|range lower bound must be less than or equal to range upper bound
5|map|22003|numeric field overflow
6|map|22008|date/time field value out of range: \"2023-02-29\"
7|write|23514|value for domain ints violates check constraint \"ints_check\"
8|map|22P02|malformed record literal: \"1,2\"";

#[test]
fn any_type_in_csv() {
    let scene = Scene::new(1);
    types(&scene, "format 'csv', fill_missing_fields 'true'");
    let good = r#"1,"{1,NULL,-3}","{{1,2},{3,4}}","{""a,b"",""NULL"",NULL,""say \""hi\"" \\"",""""}","{""(1,2.5,\""a b\"")"",NULL}","(1,2.5,""it's """"x"""""")",5,it's blue,"[1,9]",12.345,\x00ff,2024-02-29 13:00:00.123456+01,6F1C2A30000040008000000000000001,10/8,"a=>1, b=>NULL",NaMe,äöü,"{1,2}","{(2,2),(1,1);(1,1),(0,0)}","{""{\""a\"": 1}"",NULL}",1 mon 2 days 3.5 s,101"#;
    let bad = |at: usize, text: &str| {
        let mut fields = vec![""; 22];
        fields[0] = "1";
        fields[at] = text;
        fields.join(",")
    };
    let messages = [
        good.to_owned(),
        bad(6, "0"),
        bad(16, "long"),
        bad(7, "green"),
        bad(8, "\"[2,1]\""),
        bad(9, "123456789.00"),
        bad(11, "2023-02-29"),
        bad(17, "\"{1,2,3,4}\""),
        bad(5, "\"1,2\""),
        "9".to_owned(),
    ];
    Producer::new(&scene.topic).send(messages.iter().map(|text| value(text.as_bytes())));
    assert_eq!(scene.db.sql(&format!("SELECT {LIST} FROM source WHERE pos = 0")), GOOD);
    scene.load_source();
    let nulls = "9||||||||||||||||||||||9";
    assert_eq!(scene.db.sql(&format!("SELECT {LIST} FROM target")), format!("{GOOD}\n{nulls}"));
    assert_eq!(rejected(&scene), BAD);
}

const GOOD_JSON: &str = r#"{"id": 1, "ints": [1, null, -3], "grid": [[1, 2], [3, 4]], "texts": ["a,b", "NULL", null, "say \"hi\" \\", ""],
    "points": ["(1,2.5,\"a b\")", null], "point": "(1,2.5,\"it's \"\"x\"\"\")", "small": 5, "colour": "it's blue", "during": "[1,9]",
    "amount": 12.345, "raw": "\\x00ff", "at": "2024-02-29T12:00:00.123456Z", "uid": "6f1c2a30-0000-4000-8000-000000000001",
    "ip": "10/8", "h": "a=>1, b=>NULL", "name": "NaMe", "short": "\u00e4öü", "list": [1, 2], "boxes": ["(2,2),(1,1)", "(1,1),(0,0)"],
    "docs": [{"a": 1}, null], "span": "P1M2DT3.5S", "bits": "101"}"#;

fn json_types(scene: &Scene) {
    types(scene, "format 'json'");
    let messages = [
        GOOD_JSON,
        r#"{"small": 0}"#,
        r#"{"short": "long"}"#,
        r#"{"colour": "green"}"#,
        r#"{"during": "[2,1]"}"#,
        r#"{"amount": 123456789.00}"#,
        r#"{"at": "2023-02-29"}"#,
        r#"{"list": "{1,2,3,4}"}"#,
        r#"{"point": "1,2"}"#,
        r#"{"id": 9}"#,
    ];
    Producer::new(&scene.topic).send(messages.iter().map(|text| value(text.as_bytes())));
}

/// The list without some of its names.
fn without(list: &str, names: &[&str]) -> String {
    let kept = |name: &&str| !names.contains(&name.trim());
    list.split(',').filter(kept).collect::<Vec<_>>().join(",")
}

#[test]
fn any_type_in_json() {
    let scene = Scene::new(1);
    json_types(&scene);
    let list = without(LIST, &["list", "boxes"]);
    let good = GOOD.replace("|{1,2}|{(2,2),(1,1);(1,1),(0,0)}", "");
    assert_eq!(scene.db.sql(&format!("SELECT {list} FROM source WHERE pos = 0")), good);
    let columns = without(&LIST.replace(" AT TIME ZONE 'UTC' || '+00'", ""), &["list", "boxes"]);
    let mapping: Vec<String> =
        columns.split(',').map(|name| format!("\"{0}\": \"{0}\"", name.trim())).collect();
    scene.db.sql(&format!(
        "SELECT gpss.submit_job('load', 'source', 'target', mapping => {})",
        literal(&format!("{{{}}}", mapping.join(",")))
    ));
    scene.run("load");
    let nulls = "9||||||||||||||||||||9";
    let rows = scene.db.sql(&format!("SELECT {list} FROM target WHERE pos IN (0, 9)"));
    assert_eq!(rows, format!("{good}\n{nulls}"));
    let bad: Vec<&str> = BAD.lines().filter(|line| !line.starts_with('7')).collect();
    assert_eq!(rejected(&scene), bad.join("\n"));
}

#[test]
fn a_domain_over_an_array_in_json() {
    let scene = Scene::new(1);
    json_types(&scene);
    assert_eq!(scene.db.sql("SELECT list FROM source WHERE pos = 0"), "{1,2}");
}

/// The one type whose arrays have another separator than a comma.
#[test]
fn any_type_in_avro() {
    let scene = Scene::new(1);
    let schema = r#"{"type": "record", "name": "R", "fields": [
        {"name": "id", "type": "int"},
        {"name": "ints", "type": {"type": "array", "items": ["null", "long"]}},
        {"name": "points", "type": {"type": "array", "items": "string"}},
        {"name": "small", "type": ["null", "int"]},
        {"name": "colour", "type": {"type": "enum", "name": "E", "symbols": ["red", "green"]}},
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 3}},
        {"name": "raw", "type": "bytes"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "uid", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "h", "type": {"type": "map", "values": "string"}},
        {"name": "short", "type": "string"}]}"#;
    scene.db.sql(TYPES);
    scene.source_and_target(
        "id int, ints int[], points point3[], small positive, colour colour, amount numeric(10,2),
         raw bytea, at timestamptz, uid uuid, h jsonb, short varchar(3), gone text,
         pos bigint OPTIONS (source 'offset')",
        &format!("format 'avro', schema {}", literal(schema)),
    );
    let message = |small: i64, colour: i64, raw: &[u8], short: &str| {
        [
            long(7),
            array(&[[long(1), long(1 << 30)].concat(), long(0)]),
            array(&[bytes(b"(1,2,x)")]),
            [long(1), long(small)].concat(),
            long(colour),
            bytes(&[0x00, 0xbc, 0x61, 0x4e]),
            bytes(raw),
            long(1_709_208_000_123_456),
            bytes(b"6f1c2a30-0000-4000-8000-000000000001"),
            [long(1), bytes(b"k"), bytes(b"v"), vec![0]].concat(),
            bytes(short.as_bytes()),
        ]
        .concat()
    };
    let good = message(1, 0, b"\xff\x41", "abc");
    let cut = &good[..good.len() - 1];
    let more = [&good[..], b"x"].concat();
    Producer::new(&scene.topic).send([
        value(&good),
        value(&message(-1, 0, b"", "abc")),
        value(&message(1, 1, b"", "abc")),
        value(&message(1, 0, b"", "abcd")),
        value(cut),
        value(&more),
        value(b""),
        Record::default(),
        value(&message(1, 0, b"", "x")),
    ]);
    scene.load_source();
    let list = "id, ints, points, small, colour, amount, raw, at AT TIME ZONE 'UTC', uid, h, short, gone, pos";
    let row = "7|{1073741824,NULL}|{\"(1,2,x)\"}|1|red|12345.68|\\xff41|2024-02-29 12:00:00.123456|6f1c2a30-0000-4000-8000-000000000001|{\"k\": \"v\"}|abc||0";
    let last = row.replace("ff41", "").replace("abc||0", "x||8");
    assert_eq!(
        scene.db.sql(&format!("SELECT {list} FROM target")),
        format!("{row}\n||||||||||||7\n{last}")
    );
    assert_eq!(scene.db.sql(&format!("SELECT {list} FROM source WHERE pos = 0")), row);
    assert_eq!(
        scene.db.sql("SELECT \"offset\", stage, sqlstate FROM gpss.errors ORDER BY 1"),
        "1|write|23514\n2|map|22P02\n3|map|22001\n4|decode|22P02\n5|decode|22P02\n6|decode|22P02"
    );
}

#[test]
fn explain_shows_the_decoded_fields() {
    let scene = Scene::new(1);
    scene.source_and_target(
        "a int, b text, c int, k int OPTIONS (source 'key_field')",
        "format 'csv', key_format 'json'",
    );
    let plan = scene.db.sql("EXPLAIN VERBOSE SELECT b, k FROM source WHERE c > 1");
    for line in [
        "Kafka Format: csv",
        "Decoded Fields: b, c::integer",
        "Decoded Key Fields: (->>'k')::integer",
    ] {
        assert!(plan.contains(line), "{line}\n{plan}");
    }
    assert!(!plan.contains("a::integer"), "{plan}");
    let plan = scene.db.sql("EXPLAIN VERBOSE SELECT count(*) FROM source");
    assert!(!plan.contains("Decoded"), "{plan}");
}

#[test]
fn a_row_that_a_condition_excludes_is_not_converted() {
    let scene = Scene::new(1);
    scene.source_and_target(
        "a int, b date, note text, short varchar(2), pos bigint OPTIONS (source 'offset')",
        "format 'csv'",
    );
    Producer::new(&scene.topic).send([
        value(b"1,2024-01-01,good,ab\nx,2024-01-02,bad number,ab\n3,soon,bad date,ab\n"),
        value(b"4,2024-01-04,good,ab\n5,2024-01-05,long,abc\n"),
    ]);
    let good = "SELECT a, b, short FROM source WHERE note = 'good'";
    let rows = "1|2024-01-01|ab\n4|2024-01-04|ab";
    assert_eq!(scene.db.sql(good), rows);
    assert_eq!(scene.db.sql(&format!("SELECT * FROM ({good} OFFSET 0) AS s WHERE a > 0")), rows);
    // What nothing reads is not converted.
    assert_eq!(scene.db.sql("SELECT count(*), max(note) FROM source"), "5|long");
    assert_eq!(scene.db.sql("SELECT a FROM source WHERE note LIKE 'bad d%'"), "3");
    let error = scene.db.error("SELECT a FROM source");
    assert!(error.contains("invalid input syntax for type integer: \"x\""), "{error}");
    // The filter of a job does the same.
    scene.db.sql("SELECT gpss.submit_job('load', 'source', 'target', filter => 'note = ''good''')");
    scene.run("load");
    assert_eq!(scene.db.sql("SELECT a, b, short FROM target"), rows);
    assert_eq!(rejected(&scene), "");
}

#[test]
fn a_table_that_is_altered_under_a_running_job_loses_and_repeats_nothing() {
    let scene = Scene::new(1);
    scene.source_and_target("n int, m int", "format 'csv', fill_missing_fields 'true'");
    scene.db.sql(
        "SELECT gpss.submit_job('load', 'source', 'target', minimal_interval => 50,
             mapping => '{\"n\": \"n\", \"m\": \"m\"}');
         SELECT gpss.start_job('load')",
    );
    let send = |from: u32| {
        let lines: String = (from..from + 100).map(|n| format!("{n},{n},x\n")).collect();
        let lines = if from < 100 { lines.replace(",x", "") } else { lines };
        scene.topic.send_lines(0, &lines);
    };
    let rows = |count: i64| {
        eventually("rows", 60, || scene.db.number("SELECT count(*) FROM target") >= count);
        assert_eq!(
            scene.db.sql("SELECT count(*), count(DISTINCT n), count(m) FROM target"),
            format!("{count}|{count}|{count}")
        );
    };
    send(0);
    rows(100);
    scene.db.sql("ALTER FOREIGN TABLE source ADD COLUMN later text");
    send(100);
    rows(200);
    // The fields move to other columns.
    scene.db.sql(
        "ALTER FOREIGN TABLE source OPTIONS (ADD delimiter ';', SET fill_missing_fields 'false')",
    );
    let lines: String = (200..300).map(|n| format!("{n};{n};x\n")).collect();
    scene.topic.send_lines(0, &lines);
    rows(300);
    scene.db.sql("ALTER FOREIGN TABLE source DROP COLUMN later");
    let lines: String = (300..400).map(|n| format!("{n};{n}\n")).collect();
    scene.topic.send_lines(0, &lines);
    rows(400);
    // Another format with columns of the same names.
    scene.db.sql("ALTER FOREIGN TABLE source OPTIONS (SET format 'json', DROP delimiter, DROP fill_missing_fields)");
    let lines: String = (400..500).map(|n| format!("{{\"n\": {n}, \"m\": {n}}}\n")).collect();
    scene.topic.send_lines(0, &lines);
    rows(500);
    assert_eq!(rejected(&scene), "");
    assert_eq!(scene.db.sql("SELECT status FROM gpss.jobs"), "JOB_RUNNING");
}

#[test]
fn a_formatter_leaves_the_session_of_another_reader_as_it_was() {
    let scene = Scene::new(1);
    let owner = format!("owner_{}", scene.db.name);
    scene.db.sql(&format!(
        "CREATE ROLE {owner};
         CREATE SERVER kafka FOREIGN DATA WRAPPER gpss OPTIONS (brokers '{brokers}');
         GRANT USAGE ON FOREIGN SERVER kafka TO {owner};
         GRANT CREATE ON SCHEMA public TO {owner};
         SET ROLE {owner};
         CREATE FUNCTION public.sets(p bytea, o jsonb) RETURNS text LANGUAGE sql
             AS $$ SELECT pg_catalog.set_config('search_path', 'evil', false) $$;
         CREATE FOREIGN TABLE source (t text) SERVER kafka
             OPTIONS (topic '{topic}', format 'custom', formatter 'sets')",
        brokers = scene.broker.address,
        topic = scene.topic.name,
    ));
    scene.topic.send_lines(0, "1\n");
    let path = scene.db.sql("SELECT count(t) FROM source; SHOW search_path");
    scene.db.sql(&format!("DROP OWNED BY {owner}; DROP ROLE {owner}"));
    assert_eq!(path, "1\n\"$user\", public");
}

#[test]
fn messages_that_grow_do_not_pile_up() {
    let scene = Scene::new(1);
    scene.source_and_target("line text, part int OPTIONS (source 'partition')", "format 'csv'");
    // A short line of CSV becomes a row of far more bytes than it has itself.
    let message = "x\n".repeat(100_000);
    for _ in 0..60 {
        scene.topic.send_bytes(0, message.as_bytes());
    }
    let peak = "SELECT count(*) FROM source WHERE line = 'x';
        SELECT substring(pg_read_file('/proc/self/status'), 'VmHWM:\\s+(\\d+)')::int / 1024";
    let answer = scene.db.sql(peak);
    let (count, mib) = answer.split_once('\n').expect("two lines");
    assert_eq!(count, "6000000");
    assert!(mib.parse::<u32>().expect("a number") < 400, "{mib} MiB");
}

#[test]
fn a_configuration_of_each_format() {
    let scene = Scene::new(1);
    scene.db.sql(READINGS);
    let run = |name: &str, key: &str, content: &str, columns: &str, mapping: &str| {
        scene.db.sql(&format!("CREATE TABLE {name} ({columns}, o int)"));
        let config = format!(
            r#"
DATABASE: d
USER: u
VERSION: 2
KAFKA:
  INPUT:
    SOURCE: {{BROKERS: "{}", TOPIC: {}}}
    {key}
    VALUE: {{{content}}}
    META: {{COLUMNS: [{{NAME: meta, TYPE: json}}], FORMAT: json}}
  OUTPUT:
    TABLE: {name}
    MAPPING: {{{mapping}, o: "(meta->>'offset')::int"}}
"#,
            scene.broker.address, scene.topic.name
        );
        scene.db.sql(&format!(
            "SELECT gpss.submit_job({0}, {1}); SELECT gpss.start_job({0}, quit_at_eof => true);
             SELECT gpss.wait_job({0}, '60 s')",
            literal(name),
            literal(&config)
        ));
        let status = format!("SELECT status FROM gpss.jobs WHERE name = '{name}'");
        assert_eq!(scene.db.sql(&status), "JOB_SUCCESS", "{name}");
        scene.db.sql(&format!("SELECT * FROM {name} ORDER BY o"))
    };
    Producer::new(&scene.topic).send([
        both(b"{\"k\": 1}", b"1\t2"),
        Record { key: Some(b"{\"k\": 2}"), ..Record::default() },
    ]);
    let key = "KEY: {COLUMNS: [{NAME: k, TYPE: int}, {NAME: j, TYPE: text}], FORMAT: json}";
    assert_eq!(
        run(
            "t1",
            key,
            "COLUMNS: [{NAME: __IGNORED__, TYPE: int}, {NAME: b, TYPE: int}], FORMAT: text",
            "k int, b int",
            "k: k, b: b"
        ),
        "1|2|0\n2||1"
    );
    assert_eq!(
        run("t2", "", "COLUMNS: [{NAME: p, TYPE: bytea}], FORMAT: binary", "p bytea", "p: p"),
        "\\x310932|0\n|1"
    );
    assert_eq!(
        run(
            "t3",
            "",
            "COLUMNS: [{NAME: sensor, TYPE: int}, {NAME: reading, TYPE: numeric}], FORMAT: custom,
             CUSTOM_OPTION: {NAME: readings, PARAMSTR: \"scale=2\"}",
            "s int, r numeric",
            "s: sensor, r: reading"
        ),
        "49|18|0\n||1"
    );
    assert_eq!(
        run(
            "t4",
            "KEY: {COLUMNS: [{NAME: k, TYPE: jsonb}], FORMAT: jsonl}",
            "COLUMNS: [{NAME: v, TYPE: text}], FORMAT: csv, CSV_OPTION: {DELIMITER: \"|\", NULL_STRING: \"x\"}",
            "k int, v text",
            "k: \"(k->>'k')::int\", v: v"
        ),
        "1|1\t2|0\n2||1"
    );
}
