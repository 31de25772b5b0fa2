//! Code of the user's that runs while a batch is loaded or a topic is read: functions, triggers and rules,
//! and what they see.

use super::support::{Scene, eventually};

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
