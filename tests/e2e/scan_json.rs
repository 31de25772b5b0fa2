//! What a SELECT on a topic makes of JSON: the decoder's fields against PostgreSQL's own operators.

use gpss_testbed::{Producer, Scene, root, value};
use serde_json::Value;

fn source(scene: &Scene, columns: &str) {
    scene.db.sql(&format!(
        "CREATE SERVER kafka FOREIGN DATA WRAPPER gpss OPTIONS (brokers '{brokers}');
         CREATE FOREIGN TABLE source ({columns}) SERVER kafka OPTIONS (topic '{topic}')",
        brokers = scene.broker.address,
        topic = scene.topic.name,
    ));
}

/// As `source`, but a document without any of the columns' members is a row.
fn tolerant_source(scene: &Scene, columns: &str) {
    source(scene, columns);
    scene.db.sql("ALTER FOREIGN TABLE source OPTIONS (ADD fill_missing_fields 'true')");
}

#[test]
fn members_become_columns_of_every_scalar_type() {
    let scene = Scene::new(1);
    tolerant_source(
        &scene,
        "i2 smallint, i4 int, i8 bigint, f4 real, f8 double precision, num numeric(20,4), yes bool, t text,
         v varchar(20), d date, ts timestamp, tstz timestamptz, iv interval, u uuid, ip inet, raw bytea, c char(3)",
    );
    scene.topic.send_lines(
        0,
        r#"{"i2": -32768, "i4": 2147483647, "i8": 9223372036854775807, "f4": 1.5, "f8": 1e300, "num": 123456789012.34567, "yes": true, "t": "text", "v": "varchar", "d": "2024-02-29", "ts": "2024-02-29 12:00:00", "tstz": "2024-02-29T12:00:00+02:00", "iv": "1 day", "u": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "ip": "10.0.0.1/8", "raw": "\\x00ff", "c": "a"}
{"i2": "12", "i4": "12", "num": "1e3", "yes": "f", "t": 5, "v": {"a": 1}, "f8": "NaN", "c": 123}
{}
{"i2": null, "i4": null, "i8": null, "f4": null, "f8": null, "num": null, "yes": null, "t": null, "v": null, "d": null, "ts": null, "tstz": null, "iv": null, "u": null, "ip": null, "raw": null, "c": null}
"#,
    );
    assert_eq!(
        scene.db.sql("SELECT * FROM source"),
        "-32768|2147483647|9223372036854775807|1.5|1e+300|123456789012.3457|t|text|varchar|2024-02-29|\
         2024-02-29 12:00:00|2024-02-29 10:00:00+00|1 day|a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11|10.0.0.1/8|\\x00ff|a  \n\
         12|12|||NaN|1000.0000|f|5|{\"a\": 1}||||||||123\n\
         ||||||||||||||||\n\
         ||||||||||||||||"
    );
}

#[test]
fn a_member_of_the_wrong_type_is_postgresqls_own_error() {
    let scene = Scene::new(1);
    source(&scene, "n int, d date, v varchar(2), yes bool, pos bigint OPTIONS (source 'offset')");
    scene.topic.send_lines(
        0,
        "{\"n\": 1.5}\n{\"n\": 2147483648}\n{\"d\": \"2023-02-29\"}\n{\"v\": \"abc\"}\n{\"yes\": 2}\n{\"n\": {}}\n",
    );
    for (pos, column, message) in [
        (0, "n", "invalid input syntax for type integer: \"1.5\""),
        (1, "n", "value \"2147483648\" is out of range for type integer"),
        (2, "d", "date/time field value out of range: \"2023-02-29\""),
        (3, "v", "value too long for type character varying(2)"),
        (4, "yes", "invalid input syntax for type boolean: \"2\""),
        (5, "n", "invalid input syntax for type integer: \"{}\""),
    ] {
        let error = scene.db.error(&format!("SELECT {column} FROM source WHERE pos = {pos}"));
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn arrays_and_nested_values() {
    let scene = Scene::new(1);
    tolerant_source(
        &scene,
        "ints int[], texts text[], grid int[], j json, jb jsonb, deep text OPTIONS (field 'a.b'), pos bigint OPTIONS (source 'offset')",
    );
    scene.topic.send_lines(
        0,
        r#"{"ints": [1, null, 3], "texts": ["a,b", "c\"d", "null", null, "", "é\\"], "grid": [[1, 2], [3, 4]], "j": { "b" :1,  "a": [ ] }, "jb": { "b" :1,  "a": [ ] }, "a.b": "dotted", "a": {"b": "nested"}}
{"ints": [], "texts": [], "grid": [], "j": null, "jb": null, "a.b": null}
{"ints": null, "j": "text", "jb": "text"}
{"ints": "{4,5}"}
{}
"#,
    );
    assert_eq!(
        scene.db.sql("SELECT ints, texts, grid, j, jb, deep FROM source WHERE pos < 3"),
        "{1,NULL,3}|{\"a,b\",\"c\\\"d\",\"null\",NULL,\"\",\"é\\\\\"}|{{1,2},{3,4}}|{ \"b\" :1,  \"a\": [ ] }|{\"a\": [], \"b\": 1}|dotted\n\
         {}|{}|{}|||\n\
         |||\"text\"|\"text\"|"
    );
    assert_eq!(
        scene.db.sql(
            "SELECT ints IS NULL, j IS NULL, jb IS NULL, deep IS NULL FROM source WHERE pos = 4"
        ),
        "t|t|t|t"
    );
    let ragged = r#"{"grid": [[1], [2, 3]]}"#;
    scene.topic.send_lines(0, &format!("{ragged}\n"));
    assert!(
        scene.db.error("SELECT grid FROM source WHERE pos = 5").contains("malformed array literal")
    );
}

#[test]
fn text_beyond_ascii_and_escapes_arrive_as_postgresql_reads_them() {
    let scene = Scene::new(1);
    source(&scene, "doc json OPTIONS (source 'value'), \"名\" text, esc text, emoji varchar(1)");
    scene.topic.send_lines(
        0,
        "{\"名\": \"张三\", \"esc\": \"a\\tb\\\"\\\\\\/\\u4e2d\\n\", \"emoji\": \"\\ud83d\\ude00\", \"\\u540d2\": \"escaped key\"}\n",
    );
    let same =
        "SELECT \"名\", doc->>'名', esc = E'a\\tb\"\\\\/中\\n', emoji, doc->>'名2' FROM source";
    assert_eq!(scene.db.sql(same), "张三|张三|t|😀|escaped key");
}

/// The operators of `[["->", "a"], ["#>>", ["b"]]]` over an expression.
fn applied(operand: &str, operators: &Value) -> String {
    let quoted = |text: &Value| format!("'{}'", text.as_str().expect("a text").replace('\'', "''"));
    let operators = operators.as_array().expect("a chain");
    let expression = operators.iter().fold(operand.to_string(), |inner, operator| {
        let argument = match &operator[1] {
            Value::Array(path) => {
                let items: Vec<String> = path.iter().map(quoted).collect();
                format!("ARRAY[{}]::text[]", items.join(", "))
            }
            key => quoted(key),
        };
        format!("({inner} {} {argument})", operator[0].as_str().expect("an operator"))
    });
    format!("{expression}::text")
}

/// The corpus with PostgreSQL's results: the fields asked for, and the documents.
fn corpus() -> (Vec<Value>, Vec<Value>) {
    let path = root().join("tests/corpus/json/expected.jsonl");
    let text = std::fs::read_to_string(path).expect("the corpus");
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let head = lines.next().expect("a first line");
    let fields = head["fields"].as_array().expect("fields").clone();
    (fields, lines.collect())
}

fn accepted(document: &Value) -> bool {
    document["accepted"].as_bool().expect("a boolean")
}

/// Indexes of the fields that PostgreSQL refuses with an error.
fn refused(document: &Value) -> Vec<usize> {
    let results = document["results"].as_array().into_iter().flatten();
    results.enumerate().filter(|(_, r)| r.is_object()).map(|(i, _)| i).collect()
}

fn send(scene: &Scene, documents: &[Value]) {
    let texts = documents.iter().map(|d| d["document"].as_str().expect("a text"));
    Producer::new(&scene.topic).send(texts.map(|text| value(text.as_bytes())));
}

const RAW: &str = "doc json OPTIONS (source 'value'), raw bytea OPTIONS (source 'value'),
    pos bigint OPTIONS (source 'offset'), problem text OPTIONS (source 'error')";
const CAST: &str = "convert_from(raw, 'UTF8')::json";

#[test]
fn decoded_fields_are_what_the_operators_return() {
    let scene = Scene::new(1);
    source(&scene, RAW);
    let (fields, documents) = corpus();
    let documents: Vec<Value> =
        documents.into_iter().filter(|d| accepted(d) && refused(d).is_empty()).collect();
    assert!(documents.len() > 400);
    send(&scene, &documents);
    let list = |operand| fields.iter().map(|f| applied(operand, f)).collect::<Vec<_>>().join(", ");
    let rows = format!("SELECT pos, ARRAY[{}] AS decoded, raw FROM source OFFSET 0", list("doc"));
    assert!(scene.db.sql(&format!("EXPLAIN VERBOSE {rows}")).contains("Decoded Fields"));
    let different = format!(
        "SELECT pos, decoded, ARRAY[{}] FROM ({rows}) AS s WHERE decoded IS DISTINCT FROM ARRAY[{}]",
        list(CAST),
        list(CAST)
    );
    assert_eq!(scene.db.sql(&different), "");
    let count = format!("SELECT count(*) FROM ({rows}) AS s");
    assert_eq!(scene.db.number(&count), i64::try_from(documents.len()).expect("small"));
}

#[test]
fn a_field_that_postgresql_refuses_is_refused_with_its_words() {
    let scene = Scene::new(1);
    source(&scene, RAW);
    let (fields, documents) = corpus();
    let documents: Vec<Value> = documents.into_iter().filter(|d| !refused(d).is_empty()).collect();
    send(&scene, &documents);
    // One of each kind of operator chain for every document; error_of as PostgreSQL's clients see it.
    let mut script = String::from(
        "CREATE FUNCTION error_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
         DECLARE message text; detail text; hint text;
         BEGIN
             EXECUTE statement;
             RETURN 'none';
         EXCEPTION WHEN OTHERS THEN
             GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
             -- The scan says which message it is, too.
             RETURN regexp_replace(concat_ws(' / ', SQLSTATE, message, detail, hint),
                 '( /)? Message at topic \"[^\"]*\", partition [0-9]+, offset [0-9]+(, column .*)?[.]', '');
         END $$;
         CREATE TABLE local AS SELECT pos, raw FROM source;\n",
    );
    for (pos, document) in documents.iter().enumerate().step_by(4) {
        for (nth, field) in refused(document).into_iter().take(2).enumerate() {
            let pushed =
                format!("SELECT {} FROM source WHERE pos = {pos}", applied("doc", &fields[field]));
            let own =
                format!("SELECT {} FROM local WHERE pos = {pos}", applied(CAST, &fields[field]));
            script += &format!(
                "SELECT {pos}, {nth}, got, want FROM error_of($q${pushed}$q$) AS got, error_of($q${own}$q$) AS want
                 WHERE got <> want OR want = 'none';\n"
            );
        }
    }
    assert_eq!(scene.db.sql(&script), "");
}

#[test]
fn json_that_postgresql_does_not_accept_does_not_parse_here() {
    let scene = Scene::new(1);
    source(&scene, RAW);
    let (_, documents) = corpus();
    send(&scene, &documents);
    let bad: Vec<String> = documents
        .iter()
        .enumerate()
        .filter(|(_, d)| !accepted(d))
        .map(|(pos, _)| pos.to_string())
        .collect();
    assert_eq!(
        scene.db.sql("SELECT pos FROM source WHERE problem IS NOT NULL AND doc IS NULL"),
        bad.join("\n")
    );
}
