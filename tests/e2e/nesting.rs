//! Code of the user's that runs while a batch is loaded or a topic is read: functions, triggers, rules and
//! domains, and what they see.

use gpss_testbed::{Scene, eventually};

#[test]
fn a_function_of_a_mapping_may_look_at_its_own_source() {
    let scene = Scene::new(1);
    scene.server();
    scene.table("source", "n text, pos bigint OPTIONS (source 'offset')", "format 'json'");
    let lines: String = (0..10).map(|n| format!("{{\"n\": \"{n}\"}}\n")).collect();
    scene.topic.send_lines(0, &lines.replace("\"7\"", "\"seven\""));
    scene.db.sql(
        "CREATE TABLE target (n int, looked int, seen int);
         CREATE TABLE other (n text);
         CREATE TABLE log (pos bigint, messages int);
         SELECT gpss.submit_job('other', 'source'::regclass, 'other'::regclass);
         CREATE FUNCTION look(n text) RETURNS int LANGUAGE plpgsql AS $$
         BEGIN
             RETURN (SELECT count(*) FROM gpss.dryrun('other', 3) WHERE row IS NOT NULL)
                 + (SELECT count(*) FROM gpss.check('other') WHERE status = 'ok') * 100;
         END $$;
         CREATE FUNCTION messages() RETURNS bigint LANGUAGE sql VOLATILE BEGIN ATOMIC
             SELECT count(*) FROM source;
         END;
         CREATE FUNCTION messages_in_text(text) RETURNS bigint LANGUAGE plpgsql STABLE AS
             $$ BEGIN RETURN (SELECT max(pos) FROM source WHERE source.n <> $1); END $$;
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             INSERT INTO log SELECT max(pos), count(*) FROM source WHERE pos <= new.n;
             RETURN new;
         END $$;
         CREATE TRIGGER note BEFORE INSERT ON target FOR EACH ROW EXECUTE FUNCTION note();
         -- Three batches, of which the second one has a message that is rejected.
         SELECT gpss.submit_job('load', 'source'::regclass, 'target'::regclass, max_row => 4,
             error_limit => '100', mapping =>
             '{\"n\": \"n::int\", \"looked\": \"look(n)\", \"seen\": \"messages() + messages_in_text(n)\"}')",
    );
    scene.run("load");
    // Each message once, whatever the functions have read, and they have read the topic.
    let checks = scene.db.number("SELECT count(*) FROM gpss.check('other') WHERE status = 'ok'");
    assert!(checks >= 4, "{checks}");
    assert_eq!(
        scene.db.sql("SELECT n, looked, seen FROM target ORDER BY n"),
        [0, 1, 2, 3, 4, 5, 6, 8, 9]
            .map(|n| format!("{n}|{}|{}", checks * 100 + 3, 10 + if n == 9 { 8 } else { 9 }))
            .join("\n")
    );
    assert_eq!(
        scene.db.sql("SELECT DISTINCT pos, messages FROM log ORDER BY pos"),
        [0, 1, 2, 3, 4, 5, 6, 8, 9].map(|n| format!("{n}|{}", n + 1)).join("\n")
    );
    assert_eq!(scene.db.sql("SELECT \"offset\", stage, column_name FROM gpss.errors"), "7|map|n");
    assert_eq!(scene.db.sql("SELECT next_offset FROM gpss.progress WHERE job = 'load'"), "10");
}

#[test]
fn a_statement_that_does_not_read_its_batch_may_not_write() {
    let scene = Scene::new(1);
    scene.source_and_target("n int", "format 'json'");
    scene.topic.send_lines(0, "{\"n\": 1}\n{\"n\": 2}\n");
    scene.db.sql(
        "SELECT gpss.submit_job('load', 'source'::regclass, 'target'::regclass);
         SELECT gpss.start_job('load')",
    );
    let rows = || scene.db.number("SELECT count(*) FROM target");
    eventually("two rows", 60, || rows() == 2);
    // What has taken the foreign table's name has rows for each batch.
    scene.db.sql(
        "CREATE TABLE numbers_of_all (n int); INSERT INTO numbers_of_all VALUES (5), (6), (7);
         BEGIN; ALTER FOREIGN TABLE source RENAME TO former;
         CREATE VIEW source AS TABLE numbers_of_all; COMMIT",
    );
    scene.topic.send_lines(0, "{\"n\": 3}\n");
    let status = || scene.db.sql("SELECT status FROM gpss.jobs");
    eventually("an error", 60, || status() == "JOB_ERROR");
    let reason = scene.db.sql("SELECT errmsg FROM gpss.jobs");
    assert!(
        reason.contains(
            "the statement into \"public\".\"target\" has written 3 rows without reading the batch"
        ),
        "{reason}"
    );
    assert_eq!(scene.db.sql("SELECT n FROM target ORDER BY n"), "1\n2");
    scene.db.sql("DROP VIEW source; ALTER FOREIGN TABLE former RENAME TO source");
    scene.run("load");
    assert_eq!(scene.db.sql("SELECT n FROM target ORDER BY n"), "1\n2\n3");
    // A rule that writes a row of its own for each message does read the batch.
    scene.db.sql(
        "CREATE RULE own AS ON INSERT TO target DO INSTEAD INSERT INTO numbers_of_all VALUES (8)",
    );
    scene.topic.send_lines(0, "{\"n\": 4}\n{\"n\": 5}\n");
    scene.run("load");
    assert_eq!(scene.db.number("SELECT count(*) FROM numbers_of_all WHERE n = 8"), 2);
    // A filter that lets nothing pass reads nothing, and writes nothing.
    scene.db.sql(
        "DROP RULE own ON target; SELECT gpss.remove_job('load');
         SELECT gpss.submit_job('none', 'source'::regclass, 'target'::regclass, filter => 'false')",
    );
    scene.run("none");
    assert_eq!(scene.db.sql("SELECT n FROM target ORDER BY n"), "1\n2\n3");
}

#[test]
fn a_domain_of_a_foreign_table_is_checked_as_its_owner() {
    let scene = Scene::new(1);
    scene.server();
    let (owner, reader) = (format!("{}_owner", scene.db.name), format!("{}_reader", scene.db.name));
    scene.topic.send_lines(0, "{\"n\": 1, \"pair\": \"(2,x)\", \"list\": [3], \"plain\": 4}\n");
    scene.db.sql(&format!(
        "CREATE ROLE {owner}; CREATE ROLE {reader} LOGIN;
         GRANT USAGE ON FOREIGN SERVER kafka TO {owner}, {reader};
         CREATE SCHEMA theirs AUTHORIZATION {owner}; CREATE SCHEMA mine AUTHORIZATION {reader};
         SET ROLE {owner}; SET search_path = theirs;
         CREATE FUNCTION helper() RETURNS text LANGUAGE sql AS 'SELECT current_user::text';
         CREATE FUNCTION told(v int) RETURNS bool LANGUAGE plpgsql AS $$
         BEGIN
             RAISE NOTICE '% as %', v, helper();
             BEGIN
                 CREATE TEMP TABLE trap ();
                 RAISE NOTICE 'not restricted';
             EXCEPTION WHEN insufficient_privilege THEN NULL;
             END;
             RETURN v <> 13;
         END $$;
         CREATE DOMAIN number AS int CHECK (told(VALUE));
         CREATE TYPE pair AS (n number, s text);
         CREATE FOREIGN TABLE seen (n number, pair pair, list number[], plain int,
             doc json OPTIONS (source 'value')) SERVER public_kafka OPTIONS (topic '{topic}', format 'json');
         GRANT USAGE ON SCHEMA theirs TO PUBLIC; GRANT SELECT ON seen TO PUBLIC;
         SET ROLE {reader}; SET search_path = mine;
         CREATE FUNCTION helper() RETURNS text LANGUAGE sql AS $$ SELECT 'mine as ' || current_user $$",
        topic = scene.topic.name,
    ).replace("public_kafka", "kafka"));
    let as_owner = [1, 2, 3].map(|n| format!("{n} as {owner}"));
    for role in [&reader, &"postgres".to_owned()] {
        let told = scene.db.notices(&format!(
            "SET ROLE {role}; SET search_path = mine, theirs; SELECT n, pair, list, plain FROM theirs.seen"
        ));
        for line in &as_owner {
            assert!(told.contains(line.as_str()), "{role}: {told}");
        }
        assert!(!told.contains("not restricted") && !told.contains("mine"), "{role}: {told}");
    }
    // The settings of the session are as they were, also after a failure.
    scene.topic.send_lines(0, "{\"n\": 13}\n");
    let script = format!(
        "SET ROLE {reader}; SET search_path = mine, pg_catalog;
         DO $$ BEGIN PERFORM n FROM theirs.seen; EXCEPTION WHEN check_violation THEN NULL; END $$;
         SELECT current_user, current_setting('search_path'), helper()"
    );
    assert_eq!(scene.db.sql(&script), format!("{reader}|mine, pg_catalog|mine as {reader}"));
    // Its owner reads it as himself, with his own search path; a plain column runs nothing.
    let told = scene.db.notices(&format!(
        "SET ROLE {owner}; SET search_path = theirs; SELECT pair FROM seen LIMIT 1"
    ));
    assert!(told.contains(&as_owner[1]), "{told}");
    let told =
        scene.db.notices("SET search_path = theirs; SELECT plain, doc->>'n' FROM theirs.seen");
    assert_eq!(told, "");
    scene.db.sql(&format!("DROP OWNED BY {owner}, {reader}; DROP ROLE {owner}, {reader}"));
}
