//! Loading in bulk, as COPY does, gives what one INSERT for each message gives: for every kind of
//! target the same rows, the same rejected messages and the same side effects.

use gpss_testbed::twins::{Twin, differences, source};
use gpss_testbed::{Producer, Scene, eventually, value};

/// A batch; more than COPY collects before it writes (1000 rows, 64 kB).
const BATCH: u32 = 1100;

/// Three batches of `{"n": …, "s": …}`. The first one has messages that no target takes, and others
/// that break a rule: it is loaded in the careful way. The second is loaded in bulk. The third breaks rules
/// only, so that where there are none it is loaded in bulk.
fn messages() -> Vec<String> {
    let big = "big ".repeat(260_000);
    (0..3 * BATCH)
        .map(|n| match n {
            400 | 2400 => r#"{"n": 37, "s": "again"}"#.into(),
            500 | 2600 => r#"{"n": -7, "s": "negative"}"#.into(),
            600 | 2700 => format!(r#"{{"n": {n}}}"#),
            700 | 2800 => r#"{"n": null, "s": "nothing"}"#.into(),
            800 => r#"{"n": "x", "s": "no number"}"#.into(),
            900 => r#"{"n": 99999999999, "s": "too big"}"#.into(),
            1000 | 1700 => format!(r#"{{"n": {n}, "s": "{big}", "good": 1}}"#),
            1701 => r#"{"n": " 1701 ", "s": "blanks", "good": 1}"#.into(),
            n if n + 1 == BATCH => r#"{"n": 0, "s": "text 0"}"#.into(),
            n => format!(r#"{{"n": {n}, "s": "text {n}", "good": 1}}"#),
        })
        .collect()
}

fn scene() -> Scene {
    let scene = Scene::new(1);
    let messages = messages();
    Producer::new(&scene.topic).send(messages.iter().map(|text| value(text.as_bytes())));
    source(&scene, "");
    scene
}

const GOOD: Option<&str> = Some("doc->>'good' = '1'");

/// A target with the columns `n` and `s`, where `t` in the definition stands for its name.
fn twin(name: &str, ddl: &str) -> Twin {
    let mapping = [("n", "(doc->>'n')::int"), ("s", "doc->>'s'")];
    Twin {
        name: name.into(),
        ddl: ddl.replace("{t}", name),
        mapping: mapping.map(|(column, value)| (column.into(), value.into())).into(),
        max_row: Some(BATCH),
        ..Twin::default()
    }
}

fn mapped(name: &str, ddl: &str, n: &str) -> Twin {
    let mut twin = twin(name, ddl);
    twin.mapping[0].1 = n.into();
    twin
}

#[track_caller]
fn are_twins(scene: &Scene, twins: &[Twin]) {
    let found = differences(scene, twins);
    assert!(found.is_empty(), "{found}");
}

const TABLE: &str = "CREATE TABLE {t} (n int, s text);";

fn on_table(name: &str, ddl: &str) -> Twin {
    twin(name, &format!("{TABLE} {ddl}"))
}

#[test]
fn indexes_and_constraints_reject_the_same_messages() {
    let tables = [
        ("plain", ""),
        ("narrow", "ALTER TABLE {t} ALTER s SET STORAGE EXTERNAL"),
        ("with_key", "ALTER TABLE {t} ADD PRIMARY KEY (n); CREATE INDEX ON {t} (n DESC, left(s, 9))"),
        ("too_long_for_index", "CREATE INDEX ON {t} (s)"),
        ("uniquely", "ALTER TABLE {t} ADD UNIQUE (n); CREATE UNIQUE INDEX ON {t} (md5(s)) WHERE n > 1000"),
        ("nulls_equal", "ALTER TABLE {t} ADD UNIQUE NULLS NOT DISTINCT (n, s)"),
        ("divided", "CREATE INDEX ON {t} ((n / ((n - 123) * (n - 2500))))"),
        ("words", "CREATE INDEX ON {t} USING gin (to_tsvector('simple', left(s, 99)))"),
        ("many_kinds", "CREATE INDEX ON {t} USING hash (s); CREATE INDEX ON {t} USING brin (n);
                        CREATE INDEX ON {t} USING spgist (left(s, 99))"),
        ("apart", "ALTER TABLE {t} ADD EXCLUDE USING gist (int8range(n, n + 1::bigint) WITH &&)"),
        ("later_apart", "ALTER TABLE {t} ADD EXCLUDE USING gist (int8range(n, n + 1::bigint) WITH &&) DEFERRABLE INITIALLY DEFERRED"),
        ("later_unique", "ALTER TABLE {t} ADD UNIQUE (n) DEFERRABLE INITIALLY DEFERRED"),
        ("may_be_deferred", "ALTER TABLE {t} ADD UNIQUE (n) DEFERRABLE INITIALLY IMMEDIATE"),
        ("checked", "ALTER TABLE {t} ADD CHECK (n >= 0), ADD CHECK (s <> 'again') NOT VALID, ALTER n SET NOT NULL"),
        ("where_it_lies", "ALTER TABLE {t} ADD CHECK (tableoid = '{t}'::regclass AND n NOT IN (5, 2500))"),
        ("not_null", "ALTER TABLE {t} ALTER s SET NOT NULL"),
        ("roomy", "ALTER TABLE {t} SET (fillfactor = 10)"),
        ("dropped", "ALTER TABLE {t} ADD gone int DEFAULT 1, ADD extra int DEFAULT 7, ADD also text CHECK (also IS NULL);
                     ALTER TABLE {t} DROP gone, DROP also"),
        ("child", "CREATE TABLE parent_of_{t} (n int, s text); ALTER TABLE {t} INHERIT parent_of_{t}"),
    ];
    let mut twins: Vec<Twin> = tables.iter().map(|(name, ddl)| on_table(name, ddl)).collect();
    twins.extend([
        twin("unlogged", "CREATE UNLOGGED TABLE {t} (n int UNIQUE, s text)"),
        twin("typed", "CREATE TABLE {t} (n smallint, s varchar(10))"),
        twin("domains", "CREATE TABLE {t} (n public.positive, s public.short)"),
        twin("generated", "CREATE TABLE {t} (n int, s text, twice int GENERATED ALWAYS AS (n * 2) STORED CHECK (twice NOT IN (24, 5000)))"),
    ]);
    let scene = scene();
    scene.db.sql(
        "CREATE DOMAIN positive AS int CHECK (VALUE > 0) NOT NULL;
         CREATE DOMAIN short AS text CHECK (length(VALUE) < 100)",
    );
    are_twins(&scene, &twins);
}

#[test]
fn defaults_and_references_are_the_same() {
    let refers = |deferrable: &str| {
        format!(
            "CREATE TABLE parent_of_{{t}} AS SELECT n FROM generate_series(0, 5000) AS n WHERE n NOT IN (123, 2500);
             ALTER TABLE parent_of_{{t}} ADD PRIMARY KEY (n);
             ALTER TABLE {{t}} ADD FOREIGN KEY (n) REFERENCES parent_of_{{t}} {deferrable}"
        )
    };
    let good = |twin: Twin| Twin { filter: GOOD, ..twin };
    let scene = scene();
    are_twins(
        &scene,
        &[
            good(twin(
                "numbered",
                "CREATE TABLE {t} (id serial, n int, s text, at date DEFAULT current_date)",
            )),
            good(twin(
                "identified",
                "CREATE TABLE {t} (n int, s text, id int GENERATED ALWAYS AS IDENTITY)",
            )),
            good(twin(
                "one_after_the_other",
                "CREATE TABLE {t} (id serial, n int, s text, again bigint DEFAULT lastval())",
            )),
            Twin {
                compared: Some("SELECT n, s, id BETWEEN 0 AND 1 AS id FROM guessed"),
                ..twin(
                    "guessed",
                    "CREATE TABLE {t} (n int UNIQUE, s text, id float8 DEFAULT random())",
                )
            },
            with(
                "up",
                "int REFERENCES {t} CHECK (up <> 4)",
                "(doc->>'n')::int / 2",
                good(on_table("of_itself", "ALTER TABLE {t} ADD PRIMARY KEY (n);")),
            ),
            on_table("refers", &refers("")),
            on_table("refers_later", &refers("DEFERRABLE INITIALLY DEFERRED")),
            Twin {
                mapping: vec![("s".into(), "doc->>'s'".into())],
                ..on_table(
                    "half",
                    "ALTER TABLE {t} ALTER n SET DEFAULT 5, ADD CHECK (s NOT IN ('text 8', 'text 2500'))",
                )
            },
        ],
    );
}

/// The target with one more column.
fn with(column: &str, definition: &str, value: &str, mut twin: Twin) -> Twin {
    let definition = definition.replace("{t}", &twin.name);
    twin.ddl += &format!("; ALTER TABLE {} ADD {column} {definition}", twin.name);
    twin.mapping.push((column.into(), value.into()));
    twin
}

#[test]
fn values_of_every_shape_are_the_same() {
    let scene = scene();
    scene.db.sql(
        "CREATE TYPE pair AS (a int, b text);
         CREATE FUNCTION longer(int[], text) RETURNS int[] LANGUAGE plpgsql IMMUTABLE AS
             $$ BEGIN $1 = $1 || length($2); RETURN $1; END $$",
    );
    let good = |name: &str| Twin { filter: GOOD, ..on_table(name, "") };
    are_twins(
        &scene,
        &[
            with("whole", "json", "doc", good("documents")),
            with("whole", "jsonb", "doc", on_table("in_binary_form", "")),
            with(
                "list",
                "int[] CHECK (list || 5 <> '{5}' AND list <> '{1,6,9}')",
                "longer(array_append(ARRAY[1], length(doc->>'s')), doc->>'s')",
                on_table("expanded", ""),
            ),
            with("pair", "pair", "ROW(length(doc->>'n'), doc->>'s')::pair", good("pairs")),
            with("more", "text", "unnest(ARRAY['a', doc->>'s', NULL])", good("several")),
            with("place", "bigint", "pos", good("places")),
            with(
                "up_to",
                "int",
                "(SELECT max(n) + (doc->>'n')::int FROM generate_series(1, 3) n)",
                good("subqueries"),
            ),
            on_table("too_wide", "ALTER TABLE {t} ALTER s SET STORAGE PLAIN"),
            on_table(
                "compressed",
                "ALTER TABLE {t} ALTER s SET COMPRESSION pglz, ALTER s SET STORAGE EXTENDED",
            ),
            Twin { filter: Some("doc->>'s' IS NULL"), ..on_table("nulls", "") },
        ],
    );
}

/// A trigger of the target, with this body.
fn trigger(name: &str, event: &str, body: &str) -> Twin {
    on_table(
        name,
        &format!(
            "CREATE TABLE seen_by_{{t}} (n bigint, s text);
             CREATE FUNCTION act_on_{{t}}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$;
             CREATE {event} EXECUTE FUNCTION act_on_{{t}}()"
        ),
    )
}

#[test]
fn triggers_do_the_same() {
    let audit =
        "INSERT INTO seen_by_{t} SELECT NEW.n, (SELECT count(*) FROM {t}) > 0; RETURN NULL;";
    let both = |name: &'static str, query: &'static str, twin: Twin| {
        assert_eq!(twin.name, name);
        Twin { compared: Some(query), ..twin }
    };
    let scene = scene();
    let twins = [
        trigger(
            "changes",
            "TRIGGER a BEFORE INSERT ON {t} FOR EACH ROW",
            "IF NEW.n % 3 = 0 THEN RETURN NULL; END IF; NEW.s = NEW.s || '!'; RETURN NEW;",
        ),
        trigger(
            "refuses",
            "TRIGGER a BEFORE INSERT ON {t} FOR EACH ROW WHEN (NEW.n IN (3, 456, 2500))",
            "RAISE 'not %', NEW.n USING ERRCODE = 'check_violation'; RETURN NEW;",
        ),
        both("audits", "TABLE seen_by_audits", trigger("audits", "TRIGGER a AFTER INSERT ON {t} FOR EACH ROW", audit)),
        trigger(
            "refuses_after",
            "TRIGGER a AFTER INSERT ON {t} FOR EACH ROW WHEN (NEW.n IN (3, 456, 2500))",
            "RAISE 'not %', NEW.n; RETURN NEW;",
        ),
        trigger(
            "refuses_at_the_end",
            "CONSTRAINT TRIGGER a AFTER INSERT ON {t} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.n IN (3, 2500))",
            "RAISE 'not %', NEW.n USING ERRCODE = 'P0009'; RETURN NEW;",
        ),
        both(
            "in_all",
            "SELECT sum(n), max(s) FROM seen_by_in_all",
            trigger(
                "in_all",
                "TRIGGER a AFTER INSERT ON {t} REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT",
                "INSERT INTO seen_by_{t} SELECT count(*), max(s) FROM new_rows; RETURN NULL;",
            ),
        ),
        both(
            "row_and_all",
            "SELECT n FROM seen_by_row_and_all",
            trigger(
                "row_and_all",
                "TRIGGER a AFTER INSERT ON {t} REFERENCING NEW TABLE AS new_rows FOR EACH ROW WHEN (NEW.n = 5)",
                "INSERT INTO seen_by_{t} SELECT n FROM new_rows WHERE n = 5; RETURN NULL;",
            ),
        ),
        trigger(
            "adds_before",
            "TRIGGER a BEFORE INSERT ON {t} FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0)",
            "INSERT INTO {t} SELECT 3, 'before' WHERE NOT EXISTS (SELECT FROM {t}); RETURN NULL;",
        ),
        trigger(
            "mends_after",
            "TRIGGER a AFTER INSERT ON {t} FOR EACH ROW WHEN (pg_trigger_depth() = 0)",
            "UPDATE {t} SET s = 'after' WHERE n = NEW.n AND n IN (7, 2000); RETURN NULL;",
        ),
        both(
            "sees_all",
            "SELECT max(n) FROM seen_by_sees_all",
            trigger(
                "sees_all",
                "TRIGGER a AFTER INSERT ON {t} FOR EACH STATEMENT",
                "INSERT INTO seen_by_{t} SELECT count(*) FROM {t}; RETURN NULL;",
            ),
        ),
        on_table("disabled", "CREATE FUNCTION act_on_{t}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
             CREATE TRIGGER a BEFORE INSERT ON {t} FOR EACH ROW EXECUTE FUNCTION act_on_{t}(); ALTER TABLE {t} DISABLE TRIGGER a"),
    ]
    .map(|twin| Twin { ddl: twin.ddl.replace("{t}", &twin.name), ..twin });
    are_twins(&scene, &twins);
}

#[test]
fn a_statement_trigger_fires_once_for_each_batch() {
    let scene = scene();
    let mut twin = trigger(
        "counted",
        "TRIGGER a BEFORE INSERT ON {t}",
        "INSERT INTO seen_by_{t} VALUES (1, TG_WHEN); RETURN NULL;",
    );
    twin.ddl += "; CREATE TRIGGER b AFTER INSERT ON {t} EXECUTE FUNCTION act_on_{t}()";
    twin = Twin { ddl: twin.ddl.replace("{t}", "counted"), filter: GOOD, ..twin };
    are_twins(&scene, &[twin]);
    let fired = "SELECT s, count(*) = (SELECT count(*) FROM gpss.batches WHERE messages > 0)
                 FROM job.seen_by_counted GROUP BY s ORDER BY s";
    assert_eq!(scene.db.sql(fired), "AFTER|t\nBEFORE|t");
    let counted = "SELECT n_tup_ins FROM pg_stat_user_tables WHERE schemaname = 'job' AND relname = 'counted'";
    let rows = scene.db.number("SELECT count(*) FROM job.counted");
    eventually("the statistics", 20, || scene.db.number(counted) == rows);
    assert_eq!(scene.db.number("SELECT rows_loaded FROM gpss.jobs"), rows);
}

#[test]
fn what_is_no_ordinary_table_takes_the_same_rows() {
    let scene = scene();
    let directory = scene.db.sql("SHOW unix_socket_directories");
    scene.db.sql(&format!(
        "CREATE EXTENSION postgres_fdw;
         CREATE SERVER itself FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '{directory}', dbname '{}');
         CREATE USER MAPPING FOR postgres SERVER itself OPTIONS (user 'postgres')",
        scene.db.name
    ));
    let behind = |name: &str, ddl: &str| {
        let base = "CREATE TABLE base_of_{t} (n int CHECK (n NOT IN (5, 2500)), s text DEFAULT 'no text', extra int DEFAULT 3);";
        twin(name, &format!("{base} {ddl}"))
    };
    let both = |query: &'static str, twin: Twin| Twin { compared: Some(query), ..twin };
    are_twins(
        &scene,
        &[
            twin(
                "divided",
                "CREATE TABLE {t} (n int, s text, PRIMARY KEY (n)) PARTITION BY RANGE (n);
                 CREATE TABLE low_{t} PARTITION OF {t} FOR VALUES FROM (0) TO (900);
                 CREATE TABLE high_{t} (s text, gone int, n int NOT NULL); ALTER TABLE high_{t} DROP gone;
                 ALTER TABLE {t} ATTACH PARTITION high_{t} FOR VALUES FROM (1000) TO (2500)",
            ),
            twin(
                "leaf",
                "CREATE TABLE whole_{t} (n int, s text) PARTITION BY RANGE (n);
                 CREATE TABLE {t} PARTITION OF whole_{t} FOR VALUES FROM (1) TO (9999)",
            ),
            twin(
                "rest",
                "CREATE TABLE whole_{t} (n int, s text) PARTITION BY LIST (n);
                 CREATE TABLE {t} PARTITION OF whole_{t} DEFAULT;
                 CREATE TABLE other_{t} PARTITION OF whole_{t} FOR VALUES IN (3, 37, 456, 2500)",
            ),
            behind("view", "CREATE VIEW {t} AS SELECT n, s FROM base_of_{t} WHERE n < 2000"),
            both("TABLE base_of_guarded", behind(
                "guarded",
                "CREATE VIEW {t} AS SELECT n, s FROM base_of_{t} WHERE n NOT IN (456, 2500) WITH CHECK OPTION",
            )),
            both("TABLE base_of_instead", behind(
                "instead",
                "CREATE VIEW {t} AS SELECT n, s FROM base_of_{t};
                 CREATE FUNCTION act_on_{t}() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN INSERT INTO base_of_{t} VALUES (NEW.n, NEW.s, 8); RETURN NEW; END $$;
                 CREATE TRIGGER a INSTEAD OF INSERT ON {t} FOR EACH ROW EXECUTE FUNCTION act_on_{t}()",
            )),
            both("SELECT * FROM foreign_one ORDER BY 1", behind(
                "foreign_one",
                "SELECT set_config('test.schema', current_schema, false);
                 DO $$ BEGIN EXECUTE format('CREATE FOREIGN TABLE {t} (n int, s text) SERVER itself
                     OPTIONS (schema_name %L, table_name ''base_of_{t}'')', current_schema); END $$",
            )),
            both("TABLE base_of_also", behind(
                "also",
                "CREATE TABLE {t} (n int, s text);
                 CREATE RULE r AS ON INSERT TO {t} DO ALSO INSERT INTO base_of_{t} VALUES (NEW.n, NEW.s)",
            )),
            both("TABLE base_of_rather", behind(
                "rather",
                "CREATE TABLE {t} (n int, s text);
                 CREATE RULE r AS ON INSERT TO {t} DO INSTEAD INSERT INTO base_of_{t} VALUES (NEW.n, NEW.s)",
            )),
            both("SELECT * FROM base_of_partly UNION ALL SELECT *, 0 FROM partly", behind(
                "partly",
                "CREATE TABLE {t} (n int, s text);
                 CREATE RULE r AS ON INSERT TO {t} WHERE NEW.n % 2 = 0 DO INSTEAD INSERT INTO base_of_{t} VALUES (NEW.n)",
            )),
            twin("nothing", "CREATE TABLE {t} (n int, s text); CREATE RULE r AS ON INSERT TO {t} DO INSTEAD NOTHING"),
        ],
    );
}

#[test]
fn rights_are_the_same() {
    let scene = scene();
    let role = format!("loader_{}", scene.topic.name);
    scene.db.sql(&format!("CREATE ROLE {role} LOGIN"));
    let by_role = |twin: Twin| {
        let serializable = vec![("default_transaction_isolation", "serializable")];
        Twin {
            ddl: twin.ddl.replace("{role}", &role),
            role: Some((role.clone(), serializable)),
            ..twin
        }
    };
    are_twins(
        &scene,
        &[
            by_role(on_table(
                "policed",
                "ALTER TABLE {t} ENABLE ROW LEVEL SECURITY; GRANT INSERT ON {t} TO {role};
                 CREATE POLICY p ON {t} FOR INSERT WITH CHECK (n NOT IN (3, 456, 2500))",
            )),
            by_role(on_table(
                "some_columns",
                "ALTER TABLE {t} ADD extra int DEFAULT 3, ADD UNIQUE (n); GRANT INSERT (n, s) ON {t} TO {role}",
            )),
            by_role(twin(
                "through_a_view",
                "CREATE TABLE base_of_{t} (n int CHECK (n NOT IN (5, 2500)), s text);
                 CREATE VIEW {t} AS SELECT * FROM base_of_{t}; GRANT INSERT ON {t} TO {role}",
            )),
        ],
    );
}

#[test]
fn a_function_that_looks_into_the_target_sees_the_rows_before() {
    let scene = scene();
    let seen = |language: &str, body: &str| {
        format!(
            "{TABLE} CREATE FUNCTION seen_{{t}}() RETURNS bigint LANGUAGE {language} AS $$ {body} $$;"
        )
    };
    let sql = seen("sql", "SELECT count(*) FROM {t}");
    let plpgsql = seen("plpgsql", "BEGIN RETURN (SELECT count(*) FROM {t}); END");
    are_twins(
        &scene,
        &[
            Twin { filter: GOOD, ..mapped("mapped", &sql, "seen_mapped()") },
            Twin { filter: GOOD, ..twin("by_default", &format!("{sql} ALTER TABLE {{t}} ADD before int DEFAULT seen_{{t}}()")) },
            Twin { filter: Some("seen_filtered() < 1234"), ..twin("filtered", &plpgsql) },
            Twin { filter: GOOD, ..twin("limited", &format!("{plpgsql} ALTER TABLE {{t}} ADD CHECK (seen_{{t}}() < 3250)")) },
            Twin { filter: GOOD, ..twin("limited_domain", &format!(
                "{plpgsql} CREATE FUNCTION room_{{t}}(int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN seen_{{t}}() < 3250; END $$;
                 CREATE DOMAIN room AS int CHECK (room_{{t}}(VALUE)); ALTER TABLE {{t}} ALTER n TYPE room")) },
            Twin { filter: GOOD, compared: Some("SELECT n::int, s FROM wide_domain"), ..twin("wide_domain", &format!(
                "{plpgsql} CREATE FUNCTION room_{{t}}(int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN seen_{{t}}() < 3250; END $$;
                 CREATE DOMAIN wide_room AS int CHECK (room_{{t}}(VALUE)); CREATE DOMAIN wider AS wide_room; ALTER TABLE {{t}} ALTER n TYPE wider")) },
        ]
        .map(|twin| Twin {
            compared: twin.compared.or((twin.name == "limited_domain").then_some("SELECT n::int, s FROM limited_domain")),
            ..twin
        }),
    );
}

#[test]
fn a_condition_is_asked_once_for_each_message() {
    let scene = scene();
    // Only the message with blanks is converted late, and so is the only one to show it.
    are_twins(
        &scene,
        &[Twin {
            filter: Some("nextval('asked') % 2 = 0 AND doc->>'n' LIKE ' %'"),
            compared: Some("SELECT n, s, nextval('asked') FROM every_other"),
            ..on_table("every_other", "CREATE SEQUENCE asked")
        }],
    );
}

#[test]
fn a_rule_that_only_notifies_takes_nothing_and_breaks_nothing() {
    let scene = scene();
    are_twins(
        &scene,
        &[on_table("told", "CREATE RULE r AS ON INSERT TO {t} DO INSTEAD NOTIFY told")],
    );
}

#[test]
fn a_temporary_table_is_no_target() {
    let scene = scene();
    let error = scene.db.error(
        "CREATE TEMP TABLE fleeting (n int);
         SELECT gpss.submit_job('fleeting', 'source', 'fleeting', mapping => '{\"n\": \"1\"}')",
    );
    assert!(error.contains("temporary"), "{error}");
}

/// A job on `numbers` runs, and its target changes between batches.
#[test]
fn a_target_may_change_while_its_job_runs() {
    let scene = Scene::new(1);
    scene.submit(1000);
    scene.start();
    let mut from = 0;
    for change in [
        "ALTER TABLE numbers ADD extra int DEFAULT 7",
        "CREATE UNIQUE INDEX CONCURRENTLY ON numbers (n)",
        "ALTER TABLE numbers ADD id bigserial",
        "ALTER TABLE numbers DROP extra",
        "ALTER TABLE numbers ALTER n TYPE bigint",
        "CREATE INDEX ON numbers (id) WHERE n % 2 = 0",
        "VACUUM FULL numbers",
        "ALTER TABLE numbers SET UNLOGGED",
        "ALTER TABLE numbers ADD twice bigint GENERATED ALWAYS AS (n * 2) STORED",
        "ALTER TABLE numbers DROP twice",
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.n := NEW.n; RETURN NEW; END';
         CREATE TRIGGER note BEFORE INSERT ON numbers FOR EACH ROW EXECUTE FUNCTION note()",
        "ALTER TABLE numbers DISABLE TRIGGER note",
        "BEGIN; CREATE TABLE copy AS SELECT n FROM numbers; TRUNCATE numbers; INSERT INTO numbers (n) TABLE copy; COMMIT",
        "BEGIN; DROP TABLE copy; CREATE TABLE copy AS SELECT n FROM numbers; DROP TABLE numbers; CREATE TABLE numbers (pad text, n int PRIMARY KEY, time timestamptz DEFAULT clock_timestamp());
         INSERT INTO numbers (n) TABLE copy; COMMIT",
        "ALTER TABLE numbers DROP pad, ADD note text DEFAULT 'x' NOT NULL CHECK (note = 'x')",
        "BEGIN; ALTER TABLE numbers RENAME TO whole;
         CREATE TABLE numbers (n int) PARTITION BY HASH (n);
         CREATE TABLE part PARTITION OF numbers FOR VALUES WITH (MODULUS 1, REMAINDER 0);
         INSERT INTO numbers SELECT n FROM whole; COMMIT",
        "BEGIN; ALTER TABLE numbers DETACH PARTITION part; DROP TABLE numbers; ALTER TABLE part RENAME TO numbers; COMMIT",
    ] {
        scene.topic.send_numbers(from..from + 50);
        from += 50;
        scene.expect_exactly(0..from);
        scene.db.sql(change);
    }
    scene.topic.send_numbers(from..from + 50);
    scene.expect_exactly(0..from + 50);
    assert_eq!(scene.db.number("SELECT count(*) FROM gpss.errors"), 0);
    assert_eq!(scene.status(), "JOB_RUNNING");
}

#[test]
fn the_indexes_of_a_target_are_whole_after_the_server_was_killed() {
    let scene = Scene::new(1);
    scene.db.sql(
        "CREATE EXTENSION amcheck;
         ALTER TABLE numbers ADD s text DEFAULT repeat('x', 100), ADD PRIMARY KEY (n);
         CREATE INDEX ON numbers (s, n); CREATE UNIQUE INDEX ON numbers ((n * 2)) WHERE n > 5",
    );
    scene.slow_down(30);
    scene.topic.send_numbers(0..20_000);
    scene.submit(1000);
    scene.start();
    for _ in 0..2 {
        let before = scene.rows();
        eventually("the job goes on", 60, || scene.rows() > before);
        scene.cluster.kill();
        scene.cluster.start();
        assert!(scene.rows() < 20_000, "the load ended before the last blow");
    }
    scene.expect_exactly(0..20_000);
    scene.db.sql(
        "SELECT bt_index_check(indexrelid, true), bt_index_parent_check(indexrelid, true)
         FROM pg_index WHERE indrelid = 'numbers'::regclass",
    );
    assert_eq!(scene.db.sql("SELECT * FROM verify_heapam('numbers')"), "");
}
