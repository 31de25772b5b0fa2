//! What PostgreSQL's statistics tell of a loader's work, in time for autovacuum.

use gpss_testbed::{Scene, eventually};

#[test]
fn statistics_of_a_loader_that_waits_are_there_for_autovacuum() {
    let scene = Scene::new(1);
    scene.db.sql("ALTER TABLE numbers SET (autovacuum_enabled = off)");
    scene.submit(100);
    scene.start();
    scene.topic.send_numbers(0..3000);
    scene.expect_exactly(0..3000);
    let numbers = "SELECT n_tup_ins, n_mod_since_analyze FROM pg_stat_user_tables
                   WHERE relname = 'numbers'";
    eventually("the rows", 5, || scene.db.sql(numbers) == "3000|3000");
    let offsets = "SELECT n_tup_upd >= 30 FROM pg_stat_user_tables
                   WHERE relid = 'gpss.offsets'::regclass";
    assert_eq!(scene.db.sql(offsets), "t");
    scene.stop();
}
