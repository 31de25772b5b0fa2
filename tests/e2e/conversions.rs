//! What a job makes of JSON values, converted by the decoder or not, against PostgreSQL's own
//! conversions: values by their text and binary form, errors by code and message.

use gpss_testbed::twins::{Twin, differences, source};
use gpss_testbed::{Producer, Scene, root, value};

/// A file of the corpus: JSON values that somebody could send for a number, a date and so on; or whole
/// documents, with repeated and missing keys, escapes, and of other kinds than objects.
fn corpus(file: &str) -> Vec<String> {
    let path = root().join("tests/corpus/conversions").join(file);
    let text = std::fs::read_to_string(path).expect("the corpus");
    text.split_terminator('\n').map(str::to_string).collect()
}

/// The values as `k` of a document, numbers as texts too, and the documents.
fn messages() -> Vec<String> {
    let values = corpus("values.jsonl");
    let numbers = values.iter().take_while(|value| !value.starts_with('"'));
    let quoted: Vec<String> = numbers.map(|number| format!("\"{number}\"")).collect();
    let mut messages: Vec<String> =
        values.iter().chain(&quoted).map(|value| format!(r#"{{"k": {value}}}"#)).collect();
    messages.extend(corpus("documents.jsonl"));
    messages.extend([
        "  {  \"k\"\t:\r\n 7 \n } ".to_string(),
        format!(r#"{{"k": {}1{}}}"#, "[".repeat(1000), "]".repeat(1000)),
        format!(r#"{{"k": "{}"}}"#, "1".repeat(140_000)),
    ]);
    messages
}

/// Those that the decoder converts first.
const TYPES: &[&str] = &[
    "bool",
    "int2",
    "int4",
    "int8",
    "float4",
    "float8",
    "numeric",
    "date",
    "timestamp",
    "timestamptz",
    "uuid",
    "varchar(5)",
    "char(5)",
    "bit(3)",
    "numeric(10,2)",
    "numeric(3,-2)",
    "timestamp(3)",
    "timestamptz(0)",
    "time",
    "time(2)",
    "timetz",
    "interval",
    "interval(2)",
    "interval day to minute",
    "money",
    "oid",
    "xid8",
    "pg_lsn",
    "text",
    "varchar",
    "\"char\"",
    "name",
    "bytea",
    "bit varying(4)",
    "json",
    "jsonb",
    "jsonpath",
    "xml",
    "inet",
    "cidr",
    "macaddr",
    "macaddr8",
    "tsvector",
    "tsquery",
    "point",
    "box",
    "circle",
    "path",
    "int4[]",
    "text[]",
    "int4range",
    "numrange",
    "daterange",
    "tstzrange",
    "int4multirange",
    "mood",
    "positive",
    "few",
    "pair",
    "tid",
];

/// Values with one character more, less or changed; the same in every run.
fn mutated(count: usize) -> Vec<String> {
    let characters: Vec<char> = "00112233445566778899-+.:eEtTZ _xXafF{}NI,/".chars().collect();
    let text = |value: &String| serde_json::from_str(value).unwrap_or(value.clone());
    let seeds: Vec<String> =
        corpus("values.jsonl").iter().map(text).filter(|t| t.len() > 1).collect();
    let mut state = 20_240_229_u64;
    let mut below = |bound: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    let mut mutated = || {
        let mut text: Vec<char> = seeds[below(seeds.len())].chars().collect();
        let place = below(text.len());
        match below(3) {
            0 => text.insert(place, characters[below(characters.len())]),
            1 => text[place] = characters[below(characters.len())],
            _ => drop(text.remove(place)),
        }
        serde_json::json!({ "k": text.iter().collect::<String>() }).to_string()
    };
    (0..count).map(|_| mutated()).collect()
}

fn scene() -> Scene {
    scene_of(&messages())
}

fn scene_of(messages: &[String]) -> Scene {
    let scene = Scene::new(1);
    fill(&scene, messages);
    scene
}

fn fill(scene: &Scene, messages: &[String]) {
    Producer::new(&scene.topic).send(messages.iter().map(|text| value(text.as_bytes())));
    scene.db.sql(
        "CREATE TYPE mood AS ENUM ('sad', 'ok', '1'); CREATE DOMAIN positive AS int CHECK (VALUE > 0);
         CREATE DOMAIN few AS numeric(4,1) NOT NULL DEFAULT 3; CREATE TYPE pair AS (a int, b text)",
    );
    let named =
        TYPES.iter().enumerate().map(|(i, name)| format!(", k{i} {name} OPTIONS (field 'k')"));
    source(scene, &named.collect::<String>());
}

/// A table of the offsets and of what the expression makes of `k`.
fn converted(name: String, type_name: &str, expression: String) -> Twin {
    Twin {
        ddl: format!("CREATE TABLE {name} (v {type_name}, pos bigint)"),
        name,
        mapping: vec![("v".into(), expression), ("pos".into(), "pos".into())],
        ..Twin::default()
    }
}

fn cast(name: String, type_name: &str) -> Twin {
    converted(name, type_name, format!("(doc->>'k')::{type_name}"))
}

#[track_caller]
fn are_twins(scene: &Scene, twins: &[Twin]) {
    let found = differences(scene, twins);
    assert!(found.is_empty(), "{found}");
}

#[test]
fn a_cast_of_any_type_gives_postgresqls_values_and_errors() {
    let twins = TYPES.iter().enumerate().map(|(i, name)| cast(format!("cast_{i}"), name));
    are_twins(&scene(), &twins.collect::<Vec<_>>());
}

#[test]
fn a_cast_of_almost_a_value_gives_postgresqls_values_and_errors() {
    let twins = TYPES.iter().take(11).enumerate().map(|(i, name)| cast(format!("cast_{i}"), name));
    are_twins(&scene_of(&mutated(1000)), &twins.collect::<Vec<_>>());
}

#[test]
fn a_cast_inside_an_expression_gives_postgresqls_values_and_errors() {
    let expressions = [
        ("numeric", "(doc->>'k')::int * 1.5"),
        ("text", "(doc->>'k')::float8::text || coalesce((doc->>'k')::text, '')"),
        ("int8", "abs((doc #>> '{k}')::int8)"),
        ("int4", "CASE WHEN doc->>'k' ~ '^[0-9]{1,5}$' THEN (doc->>'k')::int ELSE -1 END"),
        ("int4", "coalesce((doc->>'x')::int, (doc->>'k')::int, 7)"),
        ("int4", "(doc->'a'->>'k')::int"),
        ("int4", "1000 / (doc->>'k')::int"),
        ("text", "concat((doc->>'k')::date, '/', (doc->>'k')::date - 1)"),
        ("bool", "(doc->>'k')::bool AND (doc->>'z') IS NULL"),
        ("bool", "doc->>'k' ~ '^[0-9]+$' AND (doc->>'k')::numeric > 5"),
        ("int4[]", "ARRAY[(doc->>'k')::int, 2]"),
        ("text", "to_char((doc->>'k')::timestamptz, 'YYYY-MM-DD HH24:MI:SS.US TZ')"),
    ];
    let twins = expressions.iter().enumerate().map(|(i, (name, expression))| {
        converted(format!("expression_{i}"), name, (*expression).into())
    });
    let guarded =
        Twin { filter: Some("doc->>'k' ~ '^[0-9]{1,9}$'"), ..cast("guarded".into(), "int4") };
    are_twins(&scene(), &twins.chain([guarded]).collect::<Vec<_>>());
}

/// Its values go through the type's input function, as json_populate_record's do.
#[test]
fn a_column_by_name_gives_what_the_input_function_makes() {
    let twins = TYPES.iter().enumerate().take(18).map(|(i, name)| Twin {
        own: Some(vec![
            format!("(json_populate_record(NULL::input_{i}, json_build_object('v', doc->'k'))).v"),
            "pos".into(),
        ]),
        ..converted(format!("input_{i}"), name, format!("k{i}"))
    });
    are_twins(&scene(), &twins.collect::<Vec<_>>());
}

#[test]
fn the_settings_of_the_jobs_owner_count() {
    let scene = scene();
    let settings = [
        [
            ("TimeZone", "America/New_York"),
            ("DateStyle", "SQL, DMY"),
            ("timezone_abbreviations", "Australia"),
            ("extra_float_digits", "0"),
        ],
        [
            ("TimeZone", "<Z>+3"),
            ("DateStyle", "German"),
            ("IntervalStyle", "iso_8601"),
            ("extra_float_digits", "-5"),
        ],
        [
            ("TimeZone", "Z3"),
            ("DateStyle", "Postgres, MDY"),
            ("timezone_abbreviations", "India"),
            ("bytea_output", "escape"),
        ],
    ];
    let mut twins = vec![];
    for (i, settings) in settings.into_iter().enumerate() {
        let role = format!("owner_{i}_{}", scene.topic.name);
        scene.db.sql(&format!("CREATE ROLE {role} LOGIN"));
        for name in ["date", "timestamp", "timestamptz", "timetz", "float8", "float4", "tstzrange"]
        {
            let table = format!("{name}_{i}");
            let mut twin = converted(table.clone(), "text", format!("(doc->>'k')::{name}::text"));
            twin.ddl += &format!("; GRANT ALL ON {table} TO {role}");
            twin.role = Some((role.clone(), settings.to_vec()));
            twins.push(twin);
        }
    }
    are_twins(&scene, &twins);
}

/// A query of the topic and of the table, which is read as the topic is: all rows, or the error.
const OUTCOME: &str = "
    CREATE FUNCTION outcome(query text) RETURNS text LANGUAGE plpgsql
        SET enable_indexscan = off SET enable_bitmapscan = off AS $$
    DECLARE row record; answer text := ''; message text;
    BEGIN
        FOR row IN EXECUTE query LOOP
            answer := concat(answer, row::text, encode(record_send(row), 'hex'), e'\\n');
        END LOOP;
        RETURN answer;
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS message = MESSAGE_TEXT;
        RETURN SQLSTATE || ' ' || message;
    END $$;
    CREATE FUNCTION unlike(query text) RETURNS SETOF text LANGUAGE sql AS $$
        SELECT format(e'%s\\n   of the topic: %s\\n   of the table: %s', query, left(ours, 500), left(theirs, 500))
        FROM outcome(replace(query, '{}', 'source')) AS ours, outcome(replace(query, '{}', 'messages')) AS theirs
        WHERE ours IS DISTINCT FROM theirs
    $$;";

#[test]
fn a_query_gives_the_same_of_the_topic_and_of_a_table() {
    let scene = scene();
    let twice =
        messages().iter().position(|text| text.starts_with("{\"a\"")).expect("a repeated key");
    let digits = "doc->>'k' ~ '^[0-9]{1,9}$'";
    let mut queries: Vec<String> = [
        "SELECT (doc->>'k')::int FROM {}",
        "SELECT (doc->>'k')::int FROM {} WHERE pos = 10",
        &format!("SELECT (doc->>'k')::int FROM {{}} WHERE pos < 800 AND {digits}"),
        &format!("SELECT (doc->>'k')::int AS k FROM {{}} WHERE pos < 300 AND {digits} ORDER BY k, pos"),
        "SELECT CASE WHEN doc->>'k' ~ '^[0-9]{1,9}$' THEN (doc->>'k')::int END FROM {} WHERE pos < 300",
        "SELECT (doc->>'k')::int FROM {} WHERE pos < 300 AND CASE WHEN doc->>'k' ~ '^[0-9]{1,9}$' THEN (doc->>'k')::int > 5 END",
        "SELECT (doc->>'k')::int FROM {} WHERE pos < 300 AND doc->>'k' ~ '^[0-9]{1,9}$' AND length(doc->>'k') > 1",
        "SELECT sum((doc->>'k')::int) FROM {} WHERE pos < 300 AND doc->>'k' ~ '^[0-9]{1,9}$'",
        "SELECT (doc->>'k')::int, count(*) FROM {} WHERE pos < 300 AND doc->>'k' ~ '^[0-9]{1,9}$' GROUP BY 1 ORDER BY 1",
        "SELECT (doc->>'k')::bool FROM {} WHERE pos < 300 AND doc->>'k' ~ '^[0-9]{1,9}$'",
        "SELECT (doc->>'k')::date FROM {} WHERE pos < 300 AND doc->>'k' ~ '^ *[0-9]{4}-[01][0-9]-1[0-9] *$'",
        "SELECT (doc->>'k')::int FROM {} LIMIT 3",
        "SELECT (doc->>'k')::int FROM {} ORDER BY pos LIMIT 3",
        "SELECT k FROM (SELECT pos, (doc->>'k')::int AS k FROM {} WHERE pos < 300 AND doc->>'k' ~ '^ *[0-9]{1,9} *$') AS s WHERE pos % 2 = 0",
        "SELECT pos FROM (SELECT pos, (doc->>'k')::int AS k FROM {} OFFSET 0) AS s WHERE pos < 20",
        "SELECT m.pos, (m.doc->>'k')::int FROM {} AS m JOIN generate_series(0, 8, 2) AS g ON g = m.pos",
        "SELECT (SELECT (doc->>'k')::int FROM {} WHERE pos = g) FROM generate_series(0, 8) AS g",
        "SELECT g FROM generate_series(0, 8) AS g WHERE EXISTS (SELECT (doc->>'k')::int FROM {} WHERE pos > g)",
        "SELECT g FROM generate_series(0, 8) AS g WHERE g IN (SELECT (doc->>'k')::int FROM {} WHERE pos < 8)",
        "SELECT (doc->>'k')::int FROM {} WHERE pos < 8 UNION ALL SELECT (doc->>'k')::int8 FROM {} WHERE pos < 20 AND pos <> 18",
        "SELECT (doc->>'k')::int FROM {} WHERE false",
        "SELECT (doc->>'k')::int FROM {} WHERE pos < (SELECT 8)",
        "SELECT (doc->>'k')::int FROM {} WHERE (SELECT count(*) > 5 FROM generate_series(0, 8)) AND pos < 8",
        "SELECT DISTINCT (doc->>'k')::int FROM {} WHERE pos < 8 ORDER BY 1",
        "SELECT lag((doc->>'k')::int) OVER (ORDER BY pos) FROM {} WHERE pos < 8",
        "SELECT generate_series(1, (doc->>'k')::int) FROM {} WHERE pos < 5",
        "SELECT nullif((doc->>'k')::int, 1), (doc->>'k')::int + 1, doc->>'k' FROM {} WHERE pos < 8",
        "SELECT greatest((doc->>'k')::int, 5) FROM {} WHERE pos < 8",
        "WITH s AS MATERIALIZED (SELECT pos, (doc->>'k')::int AS k FROM {} WHERE pos < 18) SELECT * FROM s WHERE k > 3",
        // Several conversions of a row, of which more than one fails.
        "SELECT (doc->>'k')::uuid, (doc->>'k')::date FROM {} WHERE pos = 0",
        // Of documents that only PostgreSQL's own operators can judge.
        "SELECT pos, doc->>'k' FROM {} WHERE pos % 2 = 3",
        "SELECT pos, (doc->>'k')::int FROM {} WHERE pos % 2 = 3",
        "SELECT (doc->'a'->>'k')::date FROM {} WHERE doc->>'k' = '1' AND pos < 300",
        "SELECT (doc->'a'->>'k')::date FROM {} WHERE pos >= 0 AND pos % 1000 = 999",
        &format!("SELECT (doc->'a'->>'k')::date FROM {{}} WHERE pos = {twice} AND doc->>'k' = '9'"),
    ]
    .map(str::to_string)
    .into();
    for name in &TYPES[..11] {
        queries.push(format!("SELECT pos, (doc->>'k')::{name} AS v FROM {{}} WHERE pos < 4"));
    }
    let script = queries.iter().map(|query| format!("SELECT * FROM unlike($q${query}$q$);\n"));
    scene.db.sql(OUTCOME);
    let found = scene.db.sql(&script.collect::<String>());
    assert!(found.is_empty(), "{found}");
}

/// Unusual forms are converted after the conditions, which must not be asked twice for that.
#[test]
fn a_volatile_condition_does_not_make_a_value_null() {
    let scene = scene();
    scene.db.sql("CREATE SEQUENCE asked");
    let spaced = "pos < 300 AND doc->>'k' ~ '^\\s*[0-9]\\s*$'";
    let nulls =
        format!("SELECT (doc->>'k')::int FROM source WHERE {spaced} AND nextval('asked') % 2 = 0");
    let expected = nulls.replace("source", "messages");
    let got = scene.db.sql(&format!("{nulls}; SELECT last_value FROM asked"));
    scene.db.sql("ALTER SEQUENCE asked RESTART");
    assert_eq!(got, scene.db.sql(&format!("{expected}; SELECT last_value FROM asked")));
}

#[test]
fn a_generic_plan_converts_the_same_ten_times() {
    let scene = scene();
    let of = |table: &str| {
        let runs = (0..10).map(|n| format!("EXECUTE read ({}, '^ *[0-9]{{1,4}} *$');\n", n * 40));
        format!(
            "SET plan_cache_mode = force_generic_plan;
             PREPARE read (int, text) AS SELECT pos, (doc->>'k')::int, (doc->>'k')::numeric, (doc->>'k')::float8
                 FROM {table} WHERE pos >= $1 AND pos < 400 AND doc->>'k' ~ $2;
             {}",
            runs.collect::<String>()
        )
    };
    assert_eq!(scene.db.sql(&of("source")), scene.db.sql(&of("messages")));
}

#[test]
fn a_cast_in_latin1_gives_postgresqls_values_and_errors() {
    let mut scene = Scene::new(1);
    scene.db = scene.cluster.database_in("LATIN1");
    // Of other characters, texts of errors keep only a question mark (README, Limits).
    fill(&scene, &messages().into_iter().filter(|text| text.is_ascii()).collect::<Vec<_>>());
    let names = ["text", "varchar(5)", "name", "int4", "numeric", "timestamptz", "uuid"];
    let twins = names.iter().enumerate().map(|(i, name)| cast(format!("latin1_{i}"), name));
    are_twins(&scene, &twins.collect::<Vec<_>>());
}
