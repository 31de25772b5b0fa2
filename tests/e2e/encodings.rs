//! The extension in databases of each encoding.

use gpss_testbed::{Scene, literal};

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

#[test]
fn names_and_texts_go_in_and_out_in_the_databases_encoding() {
    let scene = Scene::new(1);
    for (encoding, word) in [("LATIN1", "größe"), ("EUC_JP", "価格")] {
        let db = scene.cluster.database_in(encoding);
        let topic = scene.broker.topic(1);
        topic.send_lines(0, &format!("{{\"{word}\": \"{word}\"}}"));
        db.sql(&format!(
            "CREATE SCHEMA \"{word}\"; CREATE TABLE \"{word}\".\"{word}\" (\"{word}\" text)"
        ));
        let config = scene
            .config_for(&db, 25, 100)
            .replace(&scene.topic.name, &topic.name)
            .replace("TABLE: numbers", &format!("SCHEMA: {word}\n      TABLE: {word}"))
            .replace("NAME: n", &format!("NAME: {word}"))
            .replace("(jdata->>'n')::int", &format!("jdata->>'{word}'"));
        let config = literal(&config);
        let rows = db.sql(&format!(
            "SELECT row->>'{word}' FROM gpss.dryrun({config}) WHERE row IS NOT NULL"
        ));
        assert_eq!(rows, word);
        let converted = db.sql(&format!("SELECT gpss.convert({config})"));
        assert!(converted.contains(word), "{converted}");
        db.sql(&format!("SET search_path = \"{word}\", public; SELECT gpss.load({config})"));
        db.sql(&format!("SELECT gpss.submit_job('{word}', {config})"));
        db.sql(&format!(
            "SELECT gpss.start_job('{word}', quit_at_eof => true, reset => 'earliest');
             SELECT gpss.wait_job('{word}', '60 s')"
        ));
        let loaded = format!("SELECT string_agg(\"{word}\", ' ') FROM \"{word}\".\"{word}\"");
        assert_eq!(db.sql(&loaded), format!("{word} {word}"), "{encoding}");
        let checked =
            format!("SELECT detail FROM gpss.check('{word}') WHERE detail LIKE '%{word}%'");
        assert!(db.sql(&checked).contains("can be planned"), "{encoding}");
        // Read in a session, by operators that the scan takes over.
        let source =
            db.sql(&format!("SELECT spec->'source'->>'name' FROM gpss.job WHERE name = '{word}'"));
        let read =
            format!("SELECT jdata->>'{word}', jdata#>>'{{{word}}}' FROM \"{word}\".\"{source}\"");
        assert_eq!(db.sql(&read), format!("{word}|{word}"), "{encoding}");
        db.sql(&format!("SELECT gpss.remove_job('{word}')"));
    }
    // What is no text is refused, and not taken for another one.
    let db = scene.cluster.database_in("SQL_ASCII");
    let error = db.error("SET client_encoding = 'SQL_ASCII'; SELECT gpss.stop_job(E'\\xff')");
    assert!(error.contains("invalid byte sequence for encoding \"UTF8\": 0xff"), "{error}");
}
