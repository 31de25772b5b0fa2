//! Queries over a foreign table beside the same queries over an ordinary table of the same rows: every
//! shape of join has to give the same.

use gpss_testbed::{Producer, Record, Scene, eventually, literal, value};

/// Makes the schemas `kafka` and `plain`, each with the tables `f` (JSON as a whole, and metadata), `m`
/// (members of the documents) and `everything` (of which `f`'s first partition is one, besides one of its
/// own); and `public.t` and `public.compare`.
fn twins(scene: &Scene) {
    let long = "9".repeat(30);
    let documents = [
        (0, r#"{"n": 0, "s": "a", "o": {"k": 3}}"#.to_owned()),
        (0, r#"{"n": 1, "s": "b", "o": {"k": "x"}}"#.to_owned()),
        (0, r#"{"n": 2, "s": null, "o": null}"#.to_owned()),
        (0, r#"{"n": 3, "s": "b", "l": [1, 2]}"#.to_owned()),
        (1, r#"{"n": 1, "s": "a", "o": {"k": 2}}"#.to_owned()),
        (1, format!(r#"{{"n": 5, "s": "{long}"}}"#)),
        (1, "{}".to_owned()),
    ];
    Producer::new(&scene.topic).send(documents.iter().enumerate().map(|(at, (partition, doc))| {
        Record {
            partition: *partition,
            key: (at != 2).then_some(doc.as_bytes().get(1..6).unwrap_or(b"none")),
            timestamp: Some(1_700_000_000_000 + at as i64 * 1000),
            ..value(doc.as_bytes())
        }
    }));
    scene.server();
    scene.db.sql("CREATE SCHEMA kafka; CREATE SCHEMA plain");
    let places = "part int OPTIONS (source 'partition'), off bigint OPTIONS (source 'offset')";
    scene.table(
        "kafka.f",
        &format!(
            "gone int, {places}, at timestamptz OPTIONS (source 'timestamp'),
             key text OPTIONS (source 'key'), doc json OPTIONS (source 'value')"
        ),
        "format 'json'",
    );
    let rows_of_nothing = "format 'json', fill_missing_fields 'true'";
    scene.table("kafka.m", &format!("n int, s text, o json, {places}"), rows_of_nothing);
    scene.table(
        "kafka.piece",
        &format!("doc json OPTIONS (source 'value'), {places}"),
        "format 'json', partitions '0'",
    );
    let everything = "(off bigint, part int, doc json) PARTITION BY LIST (part)";
    scene.db.sql(&format!(
        "ALTER FOREIGN TABLE kafka.f DROP COLUMN gone;
         CREATE TABLE plain.f AS TABLE kafka.f;
         CREATE TABLE plain.m AS TABLE kafka.m;
         CREATE TABLE plain.piece AS TABLE kafka.piece;
         CREATE TABLE kafka.everything {everything};
         CREATE TABLE plain.everything {everything};
         ALTER TABLE kafka.everything ATTACH PARTITION kafka.piece FOR VALUES IN (0);
         ALTER TABLE plain.everything ATTACH PARTITION plain.piece FOR VALUES IN (0);
         CREATE TABLE kafka.rest PARTITION OF kafka.everything DEFAULT;
         CREATE TABLE plain.rest PARTITION OF plain.everything DEFAULT;
         INSERT INTO kafka.everything SELECT off, part, doc FROM plain.f WHERE part = 1;
         INSERT INTO plain.everything SELECT off, part, doc FROM plain.f WHERE part = 1;
         CREATE TABLE t (x int, part int, off bigint, k text);
         {ROWS};
         {COMPARE}"
    ));
}

const ROWS: &str =
    "INSERT INTO t VALUES (0, 0, 2, 'a'), (1, 1, 1, 'b'), (3, 0, NULL, 'x'), (7, NULL, 9, NULL)";

/// Rows are compared as text, errors by their code; there is none but of data.
const COMPARE: &str = "
    CREATE FUNCTION rows_of(schema text, query text) RETURNS text[] LANGUAGE plpgsql AS $$
    DECLARE line record; found text[] = '{}';
    BEGIN
        PERFORM set_config('search_path', schema || ', public', true);
        FOR line IN EXECUTE query LOOP
            found = found || line::text;
        END LOOP;
        RETURN ARRAY(SELECT unnest(found) ORDER BY 1);
    EXCEPTION WHEN OTHERS THEN
        RETURN ARRAY['error ' || SQLSTATE, CASE WHEN SQLSTATE NOT LIKE '22%' THEN SQLERRM END];
    END $$;
    CREATE FUNCTION compare(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
    DECLARE kafka text[] = rows_of('kafka', query); plain text[] = rows_of('plain', query);
    BEGIN
        IF plain[1] ~ '^error (?!22)' OR kafka IS DISTINCT FROM plain THEN
            RETURN NEXT format(E'%s\n  gives  %s\n  not    %s', query, left(kafka::text, 400), left(plain::text, 400));
        END IF;
    END $$;";

/// Compares what the queries give, with these settings; what differs, in words.
fn differences(scene: &Scene, settings: &str, queries: &[String]) -> String {
    let calls = queries.iter().map(|query| format!("SELECT compare({});\n", literal(query)));
    scene.db.sql(&format!("{settings};\n{}", calls.collect::<String>()))
}

fn each(templates: &[&str], places: &[(&str, &[&str])]) -> Vec<String> {
    let mut queries: Vec<String> = templates.iter().map(|text| (*text).to_owned()).collect();
    for (place, texts) in places {
        queries = queries
            .iter()
            .flat_map(|query| match query.contains(place) {
                true => texts.iter().map(|text| query.replace(place, text)).collect(),
                false => vec![query.clone()],
            })
            .collect();
    }
    queries
}

const FROM_OUTER: &[&str] = &[
    "SELECT f.part, f.off, t.x AS tx FROM f",
    "SELECT f.part, f.off, t.x AS tx FROM f WHERE f.off = t.off",
    "SELECT f.part, f.off, t.x AS tx FROM f WHERE f.part = t.part AND f.off < t.off",
    "SELECT f.part, f.off, t.x + f.off AS tx FROM f WHERE f.off BETWEEN t.x AND t.off + 1",
    "SELECT f.part, f.off, t.k || (f.doc->>'s') AS tx FROM f WHERE f.doc->>'s' = t.k",
    "SELECT f.part, f.off, (f.doc->>'n')::int + t.x AS tx FROM f WHERE (f.doc->>'n')::int >= t.x",
    "SELECT f.part, f.off, coalesce(f.doc->'o'->>'k', t.k) AS tx FROM f WHERE f.doc->'o' IS NOT NULL",
    "SELECT max(f.part) AS part, count(*) AS off, t.x AS tx FROM f WHERE f.off < t.off",
    "SELECT f.part, max(f.off) AS off, t.x AS tx FROM f GROUP BY f.part HAVING max(f.off) > t.x",
    "SELECT f.part, f.off, t.x AS tx FROM f WHERE f.part = t.part ORDER BY f.off DESC LIMIT 2",
    "SELECT DISTINCT f.part, t.off, f.doc->>'s' AS tx FROM f WHERE f.off <= t.x",
    "SELECT f.part, f.off, v.y AS tx FROM f, (VALUES (t.x), (t.off::int)) AS v (y) WHERE v.y = f.off",
    "SELECT f.part, f.off, g AS tx FROM f, generate_series(f.off, t.x) AS g",
    "SELECT f.part, f.off, e.value || t.k AS tx FROM f, json_each_text(f.doc) AS e WHERE t.x > f.part",
    "SELECT f.part, f.off, t.x AS tx FROM f UNION ALL SELECT t.part, t.off, t.x",
    "SELECT f.part, f.off, row_number() OVER (ORDER BY f.part, f.off) + t.x AS tx FROM f",
    "SELECT a.part, b.off, t.x AS tx FROM f AS a JOIN f AS b ON a.off = b.off AND b.part = t.part",
    "SELECT a.part, b.off, t.x AS tx FROM f AS a LEFT JOIN f AS b ON a.off = b.off + t.x",
    "SELECT u.part, f.off, f.off + t.x AS tx FROM t AS u LEFT JOIN f ON f.off = u.off AND f.part = t.part",
    "SELECT f.part, f.off, i.y AS tx FROM f, LATERAL (SELECT f.off + t.x AS y FROM f AS g WHERE g.off = t.off) AS i",
    "SELECT m.part, m.off, m.n + t.x AS tx FROM m WHERE m.s = t.k OR m.n > t.x",
    "SELECT e.part, e.off, t.x AS tx FROM everything AS e WHERE e.part = t.part AND e.doc->>'s' = t.k",
    "SELECT e.part, e.off, t.x + (e.doc->>'n')::int AS tx FROM everything AS e",
];

#[test]
fn a_lateral_sub_select_sees_the_row_before_it() {
    let scene = Scene::new(2);
    twins(&scene);
    let joins = [
        "SELECT t.x, s.* FROM t LEFT JOIN LATERAL (SUBSELECT) AS s ON true",
        "SELECT s.tx, count(*), max(s.off) FROM t LEFT JOIN LATERAL (SUBSELECT) AS s ON s.part = t.part GROUP BY s.tx",
        "SELECT t, s, s.part IS NULL FROM t JOIN LATERAL (SUBSELECT) AS s ON s.off > t.x",
        "SELECT t.k, ARRAY(SELECT tx FROM (SUBSELECT) AS s ORDER BY s.part, s.off, s.tx) FROM t",
    ];
    let queries = each(&joins, &[("SUBSELECT", FROM_OUTER)]);
    assert_eq!(differences(&scene, "SET enable_material = on", &queries), "");
}

#[test]
fn all_joins_give_what_they_give_over_a_table() {
    let scene = Scene::new(2);
    twins(&scene);
    let joins = [
        "SELECT t.x, f.part, f.off, f.doc->>'s', (f.doc->>'n')::int FROM t JOIN f ON CONDITION",
        "SELECT t.x, f.off, t.k || (f.doc->>'s'), f.doc->'o' FROM f JOIN t ON CONDITION",
        "SELECT f.part, f.doc::text, t, f.key FROM f WHERE_JOIN",
    ];
    let conditions = ["f.off = t.x", "f.doc->>'s' = t.k", "f.off = t.off AND f.part = t.part"];
    let kinds = ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"];
    let mut queries = vec![];
    for (join, condition, kind) in joins.iter().flat_map(|join| {
        let all = conditions.iter().flat_map(|condition| kinds.map(|kind| (condition, kind)));
        all.map(move |(condition, kind)| (join, condition, kind))
    }) {
        let join = join.replace("WHERE_JOIN", "JOIN t ON CONDITION");
        queries.push(join.replace("CONDITION", condition).replace(" JOIN ", &format!(" {kind} ")));
    }
    let found_in = [
        "EXISTS (SELECT FROM f WHERE CONDITION)",
        "t.k IN (SELECT f.doc->>'s' FROM f WHERE f.off <= t.x)",
        "t.off IN (SELECT f.off FROM f)",
        "t.x = ANY (SELECT (f.doc->>'n')::int FROM f WHERE f.part = t.part)",
        "t.x >= ALL (SELECT f.off FROM f WHERE f.part = t.part)",
    ];
    for found_in in found_in {
        for condition in conditions {
            for not in ["", "NOT "] {
                let found_in = found_in.replace("CONDITION", condition);
                queries.push(format!("SELECT t FROM t WHERE {not}{found_in}"));
                queries.push(format!("SELECT t.x, {not}{found_in} FROM t"));
            }
        }
    }
    queries.extend(
        [
            // Correlated sub-selects in every clause.
            "SELECT t.x, (SELECT max(f.doc->>'s') FROM f WHERE f.part = t.part AND f.off <= t.off) FROM t",
            "SELECT f.off, (SELECT t.k FROM t WHERE t.x = f.off), (SELECT count(*) FROM f AS g WHERE g.off < f.off) FROM f",
            "SELECT f.off FROM f WHERE f.off > (SELECT min(g.off) FROM f AS g WHERE g.part = f.part AND g.doc->>'s' = f.doc->>'s')",
            "SELECT part, count(*) FROM f GROUP BY part HAVING count(*) > (SELECT count(*) FROM t WHERE t.part = f.part)",
            "SELECT t.x FROM t ORDER BY (SELECT count(*) FROM f WHERE f.off < t.x)",
            "SELECT CASE WHEN t.x > 0 THEN (SELECT f.doc->>'s' FROM f WHERE f.off = t.x AND f.part = 0) END FROM t",
            // Self-joins.
            "SELECT a.off, b.off, a.doc->>'s' FROM f AS a JOIN f AS b ON a.doc->>'s' = b.doc->>'s' AND a.part < b.part",
            "SELECT a.off, b.doc->>'n' FROM f AS a LEFT JOIN f AS b ON b.off = (a.doc->>'n')::int AND b.part = 1 AND a.part = 0",
            "SELECT a, b.off FROM f AS a FULL JOIN f AS b ON a.off = b.off AND a.part <> b.part",
            "SELECT a.off FROM f AS a LEFT JOIN f AS b USING (off) WHERE b.doc->>'s' IS NULL",
            "SELECT * FROM m NATURAL JOIN f",
            "SELECT * FROM m NATURAL FULL JOIN f WHERE coalesce(n, 0) < 3",
            // Sets, common table expressions, views in FROM.
            "SELECT off, doc->>'s' FROM f UNION SELECT x, k FROM t",
            "SELECT doc->>'s' FROM f INTERSECT SELECT k FROM t",
            "SELECT k FROM t EXCEPT ALL SELECT doc->>'s' FROM f WHERE off > 0",
            "SELECT u.s, t.x FROM t LEFT JOIN (SELECT doc->>'s' AS s, off FROM f UNION ALL SELECT s, off FROM m) AS u ON u.off = t.x",
            "SELECT u.n + 1 FROM (SELECT (doc->>'n')::int AS n FROM f UNION ALL SELECT x FROM t) AS u WHERE u.n > 0",
            "WITH c AS (SELECT doc->>'s' AS s, off FROM f) SELECT c.s, d.off, t.x FROM c JOIN c AS d USING (s) LEFT JOIN t ON t.x = d.off",
            "WITH c AS MATERIALIZED (SELECT * FROM f) SELECT c.doc->>'s', t.k FROM t LEFT JOIN c ON c.off = t.x",
            "WITH RECURSIVE r (off, path) AS (SELECT off, doc->>'s' FROM f WHERE part = 0 AND off = 0
                UNION ALL SELECT f.off, path || (f.doc->>'n') FROM r JOIN f ON f.off = r.off + 1 AND f.part = 0) SELECT * FROM r",
            "SELECT * FROM ROWS FROM (generate_series(0, 2), unnest(ARRAY(SELECT doc->>'s' FROM f ORDER BY part, off))) AS r (a, b)",
            "SELECT * FROM t, unnest(ARRAY(SELECT f.doc->>'s' FROM f WHERE f.off <= t.x ORDER BY f.off, f.part)) AS s",
            "SELECT * FROM f, json_to_record(f.doc) AS r (n int, s text) WHERE r.s = 'b'",
            "SELECT f.off, e.* FROM f LEFT JOIN LATERAL json_each_text(f.doc) AS e ON e.key = 's'",
            "SELECT s.a, s.b FROM (SELECT f.doc->>'s' AS a, t.k AS b, f.off FROM f LEFT JOIN t ON t.x = f.off OFFSET 0) AS s WHERE s.b IS NULL",
            // Outer joins over sub-selects whose values must become NULL.
            "SELECT t.x, s.one, s.s FROM t LEFT JOIN (SELECT 1 AS one, coalesce(doc->>'s', 'none') AS s, off FROM f) AS s ON s.off = t.x",
            "SELECT t.x, s.one FROM t LEFT JOIN (SELECT off, off IS NOT NULL AS one FROM f WHERE part = 0) AS s ON s.off = t.x AND t.k = 'b'",
            "SELECT t.x, s.n FROM t LEFT JOIN (SELECT (doc->>'n')::int + 1 AS n, off FROM f WHERE doc->>'s' IS NOT NULL) AS s ON s.n = t.x",
            "SELECT t.x, a.s, b.s FROM t LEFT JOIN (SELECT doc->>'s' AS s, off FROM f) AS a ON a.off = t.x
                LEFT JOIN (SELECT s, off, n FROM m) AS b ON b.off = a.off AND b.s = a.s",
            // Whole rows, row types, the table's own OID, aggregates over them.
            "SELECT f, t.x FROM f LEFT JOIN t ON t.x = f.off",
            "SELECT t.x, count(f), count(f.*), count(*) FROM t LEFT JOIN f ON f.off = t.x GROUP BY t.x",
            "SELECT (f).doc->>'s', f IS NULL, row_to_json(f)->>'off' FROM t LEFT JOIN f ON f.off = t.x",
            "SELECT f.tableoid::regclass::text = 'f', f.doc->>'s', t.x FROM t LEFT JOIN f ON f.off = t.x",
            "SELECT tableoid::regclass::text, doc->>'s' FROM everything",
            "SELECT array_agg(f.off ORDER BY f.doc->>'s', f.off) FILTER (WHERE f.part = 0) FROM f",
            "SELECT count(DISTINCT doc->>'s'), string_agg(doc->>'s', ',' ORDER BY part, off) FROM f",
            "SELECT part, off, lag(doc->>'s') OVER (PARTITION BY part ORDER BY off) FROM f",
            "SELECT part, doc->>'s', count(*) FROM f GROUP BY GROUPING SETS ((part), (doc->>'s'), ())",
            // Partitions that are foreign tables.
            "SELECT e.off, e.doc->>'s', t.k FROM everything AS e LEFT JOIN t ON t.x = e.off WHERE e.doc->>'n' <> '0'",
            "SELECT t.x, e.part, e.doc->>'s' FROM t LEFT JOIN everything AS e ON e.part = t.part AND e.off = t.off",
            "SELECT e, t FROM everything AS e JOIN t ON t.x = (e.doc->>'n')::int",
            "SELECT a.off, b.doc->>'s' FROM everything AS a JOIN everything AS b ON a.part = b.part AND a.off = b.off",
            "SELECT part, count(doc->>'s'), max((doc->>'n')::int) FROM everything GROUP BY part",
            // Locks.
            "SELECT t.x, f.doc->>'s' FROM t JOIN f ON f.off = t.x FOR UPDATE",
            "SELECT t.x, f.doc->>'s', f.off FROM t LEFT JOIN f ON f.off = t.x FOR UPDATE OF t",
            "SELECT t.x, s.* FROM t CROSS JOIN LATERAL (SELECT f.off + t.x, f.doc->>'s' FROM f WHERE f.part = t.part) AS s FOR SHARE OF t",
            // Times, arrays, errors.
            "SELECT t.x, f.off FROM t JOIN f ON f.at > '2023-11-14 22:13:20+00'::timestamptz + t.x * interval '1 second'",
            "SELECT t.x, f.off FROM t, LATERAL (SELECT * FROM f WHERE f.off = ANY (ARRAY[t.x, t.off]) AND f.part IN (0, t.part)) AS f",
            "SELECT (doc->'o'->>'k')::int FROM f",
            "SELECT t.x, (f.doc->'o'->>'k')::int FROM t LEFT JOIN f ON f.off = t.x AND f.part = 0",
            "SELECT t.x / f.off FROM t, f WHERE f.part = 0",
        ]
        .map(str::to_owned),
    );
    // Each with one of the ways to join, the kinds of join in turn with each of them.
    let ways = [
        "SET enable_material = on",
        "SET enable_hashjoin = off; SET enable_mergejoin = off",
        "SET enable_nestloop = off; SET enable_hashjoin = off; SET enable_partitionwise_join = on;
         SET enable_partitionwise_aggregate = on",
    ];
    for (number, settings) in ways.iter().enumerate() {
        let some: Vec<String> = queries.iter().skip(number).step_by(ways.len()).cloned().collect();
        assert_eq!(differences(&scene, settings, &some), "", "{settings}");
    }
}

#[test]
fn a_row_that_another_session_changes_meanwhile_is_joined_anew() {
    let scene = Scene::new(2);
    twins(&scene);
    let statements = [
        "UPDATE t SET k = concat(t.k, f.doc->>'s', f.off) FROM f WHERE f.off = t.x AND f.part = 0 RETURNING t.*",
        "SELECT t.x, s.* FROM t LEFT JOIN LATERAL (SELECT f.off, t.x + f.part AS tx, f.doc->>'s' FROM f WHERE f.off = t.off AND f.part = 0) AS s ON true
         ORDER BY t.k FOR UPDATE OF t",
        "SELECT t.x, f.off, f.doc->>'s', (SELECT count(*) FROM f AS g WHERE g.off < t.x) FROM t JOIN f ON f.doc->>'s' = t.k
         ORDER BY 1, 2, f.part FOR UPDATE OF t",
    ];
    for change in ["x = x + 1", "off = off - 1, k = k || 'b'"] {
        for statement in statements {
            let [kafka, plain] = ["kafka", "plain"].map(|schema| {
                std::thread::scope(|scope| {
                    let other = scope.spawn(|| {
                        scene.db.sql(&format!(
                            "BEGIN; UPDATE t SET {change} WHERE x < 3; SELECT pg_sleep(0.3); COMMIT"
                        ))
                    });
                    let asleep = "SELECT count(*) FROM pg_stat_activity
                         WHERE datname = current_database() AND wait_event = 'PgSleep'";
                    eventually("the change", 30, || scene.db.number(asleep) == 1);
                    let found = scene.db.sql(&format!(
                        "BEGIN; SET LOCAL search_path = {schema}, public; {statement}; COMMIT"
                    ));
                    other.join().expect("the change");
                    scene.db.sql(&format!("TRUNCATE t; {ROWS}"));
                    found
                })
            });
            assert_eq!(kafka, plain, "{change}: {statement}");
        }
    }
}
