//! The extension in databases of each encoding.

use super::support::Scene;

#[test]
fn the_extension_is_created_in_each_encoding_that_a_database_may_have() {
    let scene = Scene::new(1);
    // pg_wchar.h: up to PG_ENCODING_BE_LAST; those behind it are for clients only.
    let encodings = scene.db.sql("SELECT pg_encoding_to_char(n) FROM generate_series(0, 34) AS n");
    assert!(encodings.contains("EUC_JIS_2004") && encodings.ends_with("KOI8U"), "{encodings}");
    for encoding in encodings.lines() {
        let database = scene.cluster.empty_database_in(encoding);
        let created = database.try_sql("CREATE EXTENSION gpss; SELECT count(*) FROM gpss.jobs");
        assert_eq!(created, Ok("0".to_owned()), "{encoding}");
    }
}
