//! `gpss.load`, and jobs over one configuration after each other: whose job a load is, where it begins,
//! and what its result tells.

use gpss_testbed::{Scene, literal};

/// `gpss.load` over the scene's configuration; its rows.
fn load(scene: &Scene, arguments: &str) -> String {
    scene.db.sql(&load_statement(scene, arguments))
}

fn load_statement(scene: &Scene, arguments: &str) -> String {
    format!(
        "SELECT partition_id, begin_offset, end_offset, rows_loaded, rows_rejected
         FROM gpss.load({} {arguments}) ORDER BY 1",
        literal(&scene.config(25, 100))
    )
}

fn jobs(scene: &Scene) -> String {
    let jobs = "SELECT string_agg(name || ': ' || owner, ', ' ORDER BY id) FROM gpss.jobs";
    scene.db.sql(jobs).replace(&scene.topic.name, "T")
}

#[test]
fn a_load_by_another_role_is_a_job_of_its_own_and_leaves_the_first_ones_alone() {
    let scene = Scene::new(1);
    let alice = format!("alice_{}", scene.topic.name);
    scene.db.sql(&format!(
        "CREATE ROLE {alice} LOGIN; GRANT CREATE ON SCHEMA public TO {alice};
         GRANT INSERT ON numbers TO {alice}; GRANT USAGE ON FOREIGN DATA WRAPPER gpss TO {alice}"
    ));
    let as_alice = |statement: &str| scene.db.sql(&format!("SET ROLE {alice}; {statement}"));
    scene.topic.send_numbers(0..10);
    assert_eq!(as_alice(&load_statement(&scene, "")), "0|0|10|10|0");
    // A superuser is entitled to her job, and yet has one of its own, from the first message on.
    assert_eq!(load(&scene, ""), "0|0|10|10|0");
    scene.topic.send_numbers(10..15);
    assert_eq!(as_alice(&load_statement(&scene, "")), "0|10|15|5|0");
    assert_eq!(load(&scene, ""), "0|10|15|5|0");
    let expected = format!(
        "load T into public.numbers: {alice}, load T into public.numbers as postgres: postgres"
    );
    assert_eq!(jobs(&scene), expected.replace(&scene.topic.name, "T"));
    let objects = "SELECT count(*) FROM pg_foreign_server s JOIN pg_class c ON c.relname = srvname
                   AND c.relowner = srvowner WHERE srvname LIKE 'gpss_job_%'";
    assert_eq!(scene.db.number(objects), 2);
    // Not by the name either.
    let name = format!(", name => 'load {} into public.numbers'", scene.topic.name);
    let error = scene.db.error(&load_statement(&scene, &name));
    assert!(error.contains("belongs to another role") && error.contains("HINT"), "{error}");
    // Without the first role's job, the second one goes on under the name that it has.
    as_alice(&format!("SELECT gpss.remove_job('load {} into public.numbers')", scene.topic.name));
    assert_eq!(load(&scene, ""), "0|15|15|0|0");
    assert_eq!(jobs(&scene), "load T into public.numbers as postgres: postgres");
    as_alice(&load_statement(&scene, ""));
    scene.db.sql(&format!("DROP OWNED BY {alice}; DROP ROLE {alice}"));
}

#[test]
fn the_result_of_a_load_is_of_this_load_alone() {
    let scene = Scene::new(2);
    scene.topic.send_numbers(0..10);
    scene.topic.send_lines(1, "no number\n");
    assert_eq!(load(&scene, ", partitions => '0'"), "0|0|5|5|0");
    let told = scene.db.notices(&load_statement(&scene, ", partitions => '(1)'"));
    assert!(told.contains("5 rows loaded, 1 message rejected"), "{told}");
    assert_eq!(load(&scene, ", partitions => '1'"), "1|6|6|0|0");
    scene.topic.send_numbers(10..12);
    assert_eq!(load(&scene, ""), "0|5|6|1|0\n1|6|7|1|0");
    scene.expect_exactly(0..12);
    let error = scene.db.error(&load_statement(&scene, ", partitions => '1-0'"));
    assert!(error.contains("must be a list of partitions"), "{error}");
}

#[test]
fn loads_of_different_partitions_under_names_of_their_own_are_continued_as_one() {
    let scene = Scene::new(2);
    scene.topic.send_numbers(0..10);
    assert_eq!(load(&scene, ", name => 'even', partitions => '0'"), "0|0|5|5|0");
    let first = load_statement(&scene, ", name => 'odd', partitions => '1'");
    let told = scene.db.notices(&first);
    assert!(!told.contains("continues"), "nobody was there before: {told}");
    scene.topic.send_numbers(10..12);
    let told = scene.db.notices(&load_statement(&scene, ""));
    let where_to =
        "continues where \"even\", \"odd\" stopped, at offset 5 of partition 0, 5 of partition 1";
    assert!(told.contains(where_to), "{told}");
    assert!(told.contains("2 rows loaded"), "{told}");
    scene.expect_exactly(0..12);
    // And these go on where that one was.
    assert_eq!(load(&scene, ", name => 'even', partitions => '0'"), "0|6|6|0|0");
    scene.expect_exactly(0..12);
    // A name stands for one topic and table.
    scene.db.sql("CREATE TABLE others (n int)");
    let other = first.replace("TABLE: numbers", "TABLE: others");
    let error = scene.db.error(&other);
    assert!(error.contains("job \"odd\" loads something else"), "{error}");
}

#[test]
fn a_load_begins_where_its_reset_says() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..10);
    let between = scene.db.sql("SELECT pg_sleep(0.05), clock_timestamp(), pg_sleep(0.05)");
    let between = between.trim_matches('|');
    scene.topic.send_numbers(10..14);
    load(&scene, "");
    let told = scene.db.notices(&load_statement(&scene, ""));
    assert!(
        told.contains("into public.numbers\" started, continues at offset 14 of partition 0"),
        "{told}"
    );
    let ms = scene
        .db
        .sql(&format!("SELECT (extract(epoch FROM timestamptz '{between}') * 1000)::bigint"));
    for (reset, begin) in [
        ("earliest".to_owned(), 0),
        ("latest".to_owned(), 14),
        ("{\"0\": 3}".to_owned(), 3),
        (ms, 10),
        (between.to_owned(), 10),
    ] {
        let told = load(&scene, &format!(", reset => '{reset}'"));
        assert_eq!(told, format!("0|{begin}|14|{}|0", 14 - begin), "{reset}");
    }
}

#[test]
fn a_job_says_which_other_job_it_continues_and_where() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..10);
    scene.submit(100);
    let start = |job: &str, arguments: &str| {
        let told = scene
            .db
            .notices(&format!("SELECT gpss.start_job('{job}', quit_at_eof => true {arguments})"));
        scene.db.sql(&format!("SELECT gpss.wait_job('{job}', '60 s')"));
        told
    };
    assert_eq!(start("numbers", ""), "");
    let config = literal(&scene.config(25, 100));
    scene.db.sql(&format!("SELECT gpss.submit_job('second', {config})"));
    // NULL of any type continues.
    let told = start("second", ", reset => NULL::timestamptz");
    let expected =
        "job \"second\" continues where \"numbers\" stopped, at offset 10 of partition 0";
    assert!(told.contains(expected), "{told}");
    assert!(told.contains("HINT") && told.contains("reset => 'earliest'"), "{told}");
    scene.expect_exactly(0..10);
    // The second time it is its own offset, and with a reset none of both.
    assert_eq!(start("second", ""), "");
    assert_eq!(start("second", ", reset => 'earliest'"), "");
    assert_eq!(scene.db.number("SELECT count(*) FROM numbers"), 20);
    let told = start("numbers", "");
    assert!(told.contains("\"numbers\" continues where \"second\" stopped"), "{told}");
}

#[test]
fn a_job_that_continues_no_other_of_the_same_topic_and_table_says_so() {
    let scene = Scene::new(1);
    scene.source_and_target("n int", "format 'json'");
    scene.topic.send_numbers(0..10);
    let submit = "SELECT gpss.submit_job('first', 'source'::regclass, 'target'::regclass)";
    let start = |job: &str, arguments: &str| {
        let start = format!("SELECT gpss.start_job('{job}', quit_at_eof => true {arguments})");
        let told = scene.db.notices(&start);
        scene.db.sql(&format!("SELECT gpss.wait_job('{job}', '60 s')"));
        told
    };
    scene.db.sql(submit);
    assert_eq!(start("first", ""), "");
    scene.db.sql(&submit.replace("first", "second"));
    let told = start("second", "");
    let expected = "job \"second\" begins with the oldest message, and not where \"first\" stopped, at \
                    offset 10 of partition 0";
    assert!(told.contains(expected), "{told}");
    let hint = told.split("reset => '").nth(1).and_then(|rest| rest.split('\'').next());
    assert_eq!(hint, Some("{\"0\":10}"), "{told}");
    // Later it is its own offset.
    assert_eq!(start("second", ""), "");
    scene
        .db
        .sql(&format!("SELECT gpss.remove_job('second'); {}", submit.replace("first", "second")));
    let told = start("second", ", reset => '{\"0\": 10}'");
    assert_eq!(told, "");
    scene.db.sql(&format!("SELECT gpss.remove_job('first'); {submit}"));
    assert!(start("first", "").contains("and not where \"second\" stopped"));

    // What the other one has rejected would stay out, and what has loaded nothing is none of this.
    scene.db.sql(
        "CREATE TABLE sevens (n int CHECK (n <> 7)); CREATE TABLE nulls (n int CHECK (n IS NULL))",
    );
    for (table, good) in [("sevens", "10 of partition 0"), ("nulls", "")] {
        let of = |job: &str| {
            submit.replace("'first'", &format!("'{job} {table}'")).replace("target", table)
        };
        scene.db.sql(&of("first").replace("::regclass)", "::regclass, error_limit => '100%')"));
        start(&format!("first {table}"), "");
        scene.db.sql(&of("second"));
        let told = start(&format!("second {table}"), "");
        if good.is_empty() {
            assert_eq!(told, "");
        } else {
            assert!(
                told.contains("1 message of them, which \"first sevens\" has rejected"),
                "{told}"
            );
        }
    }

    // A configuration's job that continues one of its own name, which has been removed.
    scene.submit(100);
    scene.load_to_the_end();
    scene.db.sql("SELECT gpss.remove_job('numbers')");
    scene.submit(100);
    let told = start("numbers", "");
    assert!(told.contains("continues where the removed job of its name stopped, at"), "{told}");
}

#[test]
fn a_load_tells_of_messages_that_earlier_loads_have_rejected() {
    let scene = Scene::new(1);
    scene.topic.send_lines(0, "{\"m\": 1}\n{\"m\": 2}\n");
    let wrong = scene.config(25, 100).replace("(jdata->>'n')::int", "(jdata->>'m')::int / 0");
    let load = |config: &str| format!("SELECT gpss.load({})", literal(config));
    // Without anything committed nothing is said of that.
    let error = scene.db.error(&load(&wrong.replace("      ERROR_LIMIT: 25\n", "")));
    assert!(error.contains("all 2 messages that the job has read were rejected"), "{error}");
    assert!(error.contains("call gpss.load again"), "{error}");
    assert!(!error.contains("Batches that were committed"), "{error}");

    let wrong = wrong.replace("ERROR_LIMIT: 25", "ERROR_LIMIT: 100%");
    let told = scene.db.notices(&load(&wrong));
    assert!(told.contains("2 messages were rejected and not loaded"), "{told}");
    assert!(!told.contains("earlier"), "{told}");
    let right = wrong.replace(" / 0", "");
    let told = scene.db.notices(&load(&right));
    assert!(
        told.contains("NOTICE:  2 messages were rejected earlier and not loaded yet"),
        "{told}"
    );
    let retry = told.split("HINT:").nth(1).unwrap_or_default();
    assert!(retry.contains("gpss.retry_errors('load "), "{told}");
    scene.db.sql("SELECT gpss.retry_errors(name) FROM gpss.jobs");
    assert!(!scene.db.notices(&load(&right)).contains("earlier"));

    // When something was committed before the end, it is said.
    scene.topic.send_lines(0, "{\"m\": 3}\n{\"m\": 4}\nno JSON\n");
    let strict = right.replace("100%", "1").replace("MAX_ROW: 100", "MAX_ROW: 2");
    let error = scene.db.error(&load(&strict));
    assert!(error.contains("DETAIL:  Batches that were committed before stay"), "{error}");
}

#[test]
fn a_reset_by_partition_names_partitions_that_there_are() {
    let scene = Scene::new(3);
    scene.submit(100);
    let start = "SELECT gpss.start_job('numbers', reset => '{\"1\": 0, \"9\": 5}')";
    let error = scene.db.error(&format!("\\set VERBOSITY verbose\n{start}"));
    assert!(error.contains("22023: topic") && error.contains("has no partition 9"), "{error}");
    assert!(error.contains("there are 0 to 2."), "{error}");
    assert_eq!(scene.status(), "JOB_SUBMITTED");
    let error = scene.db.error(&load_statement(&scene, ", reset => '{\"9\": 5}'"));
    assert!(error.contains("has no partition 9"), "{error}");
    scene.db.sql("SELECT gpss.start_job('numbers', reset => '{\"1\": 0}')");
    scene.stop();
}

#[test]
fn a_dry_run_that_finds_no_message_says_where_and_begins_where_it_is_told() {
    let scene = Scene::new(1);
    scene.submit(100);
    let dryrun = |arguments: &str| {
        format!("SELECT \"offset\" FROM gpss.dryrun('numbers' {arguments}) WHERE row IS NOT NULL")
    };
    let told = scene.db.notices(&dryrun(""));
    assert!(
        told.contains("NOTICE:  there was no message to try")
            && told.contains("The topic has none"),
        "{told}"
    );
    scene.topic.send_numbers(0..10);
    scene.load_to_the_end();
    let told = scene.db.notices(&dryrun(""));
    assert!(told.contains("no message to try from offset 10 of partition 0 on"), "{told}");
    assert!(told.contains("Pass reset => 'earliest'"), "{told}");
    assert_eq!(scene.db.notices(&dryrun(", 0")), "");
    assert_eq!(scene.db.sql(&dryrun(", 2, reset => 'earliest'")), "0\n1");
    assert_eq!(scene.db.sql(&dryrun(", reset => '{\"0\": 8}'")), "8\n9");
    for (reset, wanted) in [
        ("latest", "gpss.dryrun cannot begin at"),
        ("2026-01-01 00:00+00", "gpss.dryrun cannot begin at"),
        ("{\"3\": 8}", "has no partition 3"),
        ("{\"0\": 80}", "offset 80 of partition 0 of topic"),
    ] {
        let error = scene.db.error(&dryrun(&format!(", reset => '{reset}'")));
        assert!(error.contains(wanted), "{error}");
    }
    scene.topic.send_numbers(10..13);
    // A load of the configuration would go on where the job stands.
    let text = literal(&scene.config(25, 100));
    assert_eq!(scene.db.sql(&dryrun("").replace("'numbers'", &text)), "10\n11\n12");
    let filtered = literal(
        &scene
            .config(25, 100)
            .replace("   OUTPUT:", "      FILTER: (jdata->>'n')::int < 0\n   OUTPUT:"),
    );
    let told = scene.db.notices(&dryrun("").replace("'numbers'", &filtered));
    assert!(told.contains("NOTICE:  the filter drops all 3 messages that were read"), "{told}");
}

#[test]
fn a_check_has_one_list_of_components_for_jobs_and_configurations() {
    let scene = Scene::new(1);
    scene.submit(100);
    let components =
        |of: &str| scene.db.sql(&format!("SELECT component FROM gpss.check({of}) ORDER BY 1"));
    let config = literal(&scene.config(25, 100));
    let common = ["brokers", "mapping and privileges", "partitions", "target", "topic"];
    let with = |own: &str| {
        let mut names: Vec<&str> = common.into_iter().chain([own]).collect();
        names.sort_unstable();
        names.join("\n")
    };
    assert_eq!(components("'numbers'"), with("source"));
    assert_eq!(components(&config), with("configuration"));
    scene.db.sql("ALTER TABLE numbers RENAME TO others");
    let failed = |of: &str| {
        scene.db.sql(&format!("SELECT component FROM gpss.check({of}) WHERE status = 'failed'"))
    };
    assert_eq!(failed("'numbers'"), "target");
    assert_eq!(failed(&config), "target");
}
