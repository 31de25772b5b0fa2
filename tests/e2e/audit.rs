//! What extensions that watch statements see of a batch.

use gpss_testbed::Scene;

#[test]
fn pgaudit_notes_a_batch_that_is_written_in_bulk_as_an_insert() {
    let scene = Scene::audited(1);
    scene.db.sql(&format!("ALTER DATABASE {} SET pgaudit.log = 'write'", scene.db.name));
    scene.db.sql(&format!("ALTER DATABASE {} SET pgaudit.log_rows = on", scene.db.name));
    scene.submit(100);
    let how = "SELECT detail FROM gpss.check('numbers') WHERE component LIKE 'mapping%'";
    assert!(scene.db.sql(how).contains("rows are written in bulk"));
    scene.topic.send_numbers(0..300);
    scene.load_to_the_end();
    scene.expect_exactly(0..300);
    let log = scene.cluster.log();
    // With the number of rows at the end of the statement's text.
    let batches = log.split("AUDIT: SESSION,").filter(|event| {
        event.contains(r#",WRITE,INSERT,,,"INSERT INTO ""public"".""numbers"""#)
            && event.contains("<not logged>,100\n")
    });
    assert_eq!(batches.count(), 3, "{log}");
}
