//! Statement triggers fire for the statements that load messages, and for no others.

use gpss_testbed::Scene;

/// Notes how many rows each statement has inserted into `numbers`.
const AUDIT: &str = "CREATE TABLE audit (number_of_rows bigint);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO audit SELECT count(*) FROM new_rows; RETURN NULL; END $$;
    CREATE TRIGGER note AFTER INSERT ON numbers REFERENCING NEW TABLE AS new_rows
        FOR EACH STATEMENT EXECUTE FUNCTION note()";

fn scene() -> Scene {
    let scene = Scene::new(1);
    scene.db.sql(AUDIT);
    scene
}

/// Statements that have inserted nothing, and all rows that statements have inserted.
fn noted(scene: &Scene) -> String {
    scene
        .db
        .sql("SELECT count(*) FILTER (WHERE number_of_rows = 0), sum(number_of_rows) FROM audit")
}

#[test]
fn a_batch_with_bad_messages_fires_no_statement_trigger_for_an_empty_statement() {
    let scene = scene();
    scene.topic.send_numbers(0..100);
    // Refused by the mapping; then, the rest of the batch does not parse.
    scene.topic.send_lines(0, "{\"n\": \"x\"}\nno JSON\nno JSON either\n");
    scene.submit(200);
    scene.load_to_the_end();
    scene.expect_exactly(0..100);
    assert_eq!(scene.db.number("SELECT count(*) FROM gpss.errors"), 3);
    assert_eq!(noted(&scene), "0|100");

    // Of which none parses.
    scene.topic.send_lines(0, "no JSON\nno JSON either\n");
    scene.load_to_the_end();
    assert_eq!(scene.db.number("SELECT count(*) FROM gpss.errors"), 5);
    assert_eq!(noted(&scene), "0|100");

    // Again: none of them can be loaded.
    scene.db.sql("SELECT gpss.retry_errors('numbers')");
    assert_eq!(noted(&scene), "0|100");
}

#[test]
fn a_filter_that_drops_what_is_between_bad_messages_fires_no_statement_trigger() {
    let scene = scene();
    scene.server();
    scene.table("source", "doc json", "format 'json'");
    scene.db.sql(
        "SELECT gpss.submit_job('numbers', 'source'::regclass, 'numbers'::regclass,
             mapping => '{\"n\": \"(doc->>''n'')::int\"}', filter => 'doc->>''n'' <> ''5''')",
    );
    let dropped = "{\"n\": 5}\n".repeat(50);
    scene.topic.send_lines(0, &format!("{{\"n\": \"x\"}}\n{dropped}").repeat(3));
    scene.topic.send_numbers(0..5);
    scene.run("numbers");
    scene.expect_exactly(0..5);
    assert_eq!(scene.db.number("SELECT count(*) FROM gpss.errors"), 3);
    assert_eq!(noted(&scene), "0|5");
}

#[test]
fn what_a_trigger_has_moved_elsewhere_stays_although_the_statement_inserts_nothing() {
    let scene = Scene::new(1);
    scene.db.sql(
        "CREATE TABLE elsewhere (n int);
         CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN INSERT INTO elsewhere VALUES (new.n); RETURN NULL; END $$;
         CREATE TRIGGER move BEFORE INSERT ON numbers FOR EACH ROW EXECUTE FUNCTION move()",
    );
    scene.topic.send_lines(0, "{\"n\": \"x\"}");
    scene.topic.send_numbers(0..10);
    scene.submit(100);
    scene.load_to_the_end();
    assert_eq!(scene.db.sql("SELECT count(*), count(DISTINCT n) FROM elsewhere"), "10|10");
}
