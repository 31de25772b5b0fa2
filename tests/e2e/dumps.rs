//! Dumps: who may take one, and whose the jobs are where it is restored.

use gpss_testbed::{Cluster, Scene};

/// Makes a role that may log in, and a job of it over the scene's topic and table.
fn job_of_a_role(scene: &Scene, prefix: &str) -> String {
    let role = format!("{prefix}_{}", scene.topic.name);
    scene.server();
    scene.table("source", "n int", "format 'json'");
    scene.db.sql(&format!(
        "CREATE ROLE {role} LOGIN; GRANT SELECT ON source TO {role};
         GRANT INSERT ON numbers TO {role};
         SET ROLE {role}; SELECT gpss.submit_job('numbers', source => 'source', target => 'numbers')"
    ));
    role
}

const JOB: &str = "SELECT owner, status, errmsg FROM gpss.jobs WHERE name = 'numbers'";

#[test]
fn a_job_whose_owner_does_not_exist_where_it_is_restored_says_so_and_waits_for_the_role() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..10);
    let old_name = job_of_a_role(&scene, "old");
    scene.load_to_the_end();
    scene.db.sql("SELECT gpss.submit_job('other', source => 'source', target => 'numbers')");
    // The owner is the role and not its name.
    let role = format!("new_{}", scene.topic.name);
    scene.db.sql(&format!("ALTER ROLE {old_name} RENAME TO {role}; CREATE ROLE {old_name}"));
    assert_eq!(scene.db.sql(JOB), format!("{role}|JOB_SUCCESS|"));

    let elsewhere = Cluster::up("e2e-plain", &["--no-preload"]);
    let options = ["--no-owner", "--no-acl"];
    let copy = scene.db.dump_and_restore_in(&elsewhere, "postgres", &options);
    let missing = format!("role \"{role}\", the owner of the job, does not exist");
    let job = copy.sql(JOB);
    assert!(job.starts_with(&format!("-|JOB_STOPPED|{missing}")), "{job}");
    let other = "SELECT owner, status, errmsg FROM gpss.jobs WHERE name = 'other'";
    assert_eq!(copy.sql(other), "postgres|JOB_SUBMITTED|");
    for call in ["start_job('numbers')", "retry_errors('numbers')", "dryrun('numbers')"] {
        let error = copy.error(&format!("SELECT * FROM gpss.{call}"));
        assert!(error.contains("the owner of job \"numbers\" does not exist"), "{error}");
        assert!(error.contains(&format!("there is no role \"{role}\"")), "{error}");
        assert!(error.contains("HINT:  Create the role"), "{error}");
    }
    // A dump of the copy still knows the name.
    let again = copy.dump_and_restore();
    assert!(again.sql(JOB).contains(&missing));

    copy.sql(&format!(
        "CREATE ROLE {role} LOGIN; GRANT SELECT ON source TO {role}; GRANT INSERT ON numbers TO {role}"
    ));
    assert_eq!(copy.sql(JOB), format!("{role}|JOB_STOPPED|"));
    scene.topic.send_numbers(10..15);
    copy.sql(&format!(
        "SET ROLE {role}; SELECT gpss.start_job('numbers', quit_at_eof => true);
         SELECT gpss.wait_job('numbers', '60 s')"
    ));
    assert_eq!(copy.sql(JOB), format!("{role}|JOB_SUCCESS|"));
    assert_eq!(copy.sql("SELECT count(*), count(DISTINCT n) FROM numbers"), "15|15");
    // It has run there, so from now on it is that role's and no later one's.
    let drop = format!("DROP OWNED BY {role}; DROP ROLE {role}");
    copy.sql(&format!("{drop}; CREATE ROLE {role}"));
    assert!(copy.sql(JOB).contains(&missing), "{}", copy.sql(JOB));
    again.sql(&drop);
    scene.db.sql(&format!("{drop}; DROP ROLE {old_name}"));
}

#[test]
fn a_role_of_a_dropped_owners_name_inherits_no_job_not_even_through_a_dump() {
    let scene = Scene::new(1);
    let role = job_of_a_role(&scene, "owner");
    scene.db.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}; CREATE ROLE {role} LOGIN"));
    let mine = format!("SET ROLE {role}; SELECT count(*) FROM gpss.jobs");
    let copy = scene.db.dump_and_restore();
    let copy_of_copy = copy.dump_and_restore();
    for db in [&scene.db, &copy, &copy_of_copy] {
        assert_eq!(db.sql(&mine), "0");
        let job = db.sql(JOB);
        let missing = format!("role \"{role}\", the owner of the job, does not exist");
        assert!(job.contains(&missing), "{job}");
        let error = db.error("SELECT gpss.start_job('numbers')");
        assert!(error.contains("The role was dropped") && error.contains("HINT"), "{error}");
        db.sql("SELECT gpss.remove_job('numbers')");
    }
    scene.db.sql(&format!("DROP ROLE {role}"));
}

#[test]
fn the_owner_of_a_database_dumps_it_without_being_a_superuser() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..3);
    scene.topic.send_lines(0, "no number\n");
    let owner = format!("dumper_{}", scene.topic.name);
    let role = job_of_a_role(&scene, "loader");
    scene.load_to_the_end();
    scene.db.sql(&format!(
        "CREATE ROLE {owner} LOGIN; ALTER TABLE numbers OWNER TO {owner};
         ALTER DATABASE {} OWNER TO {owner}",
        scene.db.name
    ));
    let copy = scene.db.dump_and_restore_in(&scene.cluster, &owner, &[]);
    let all =
        "SELECT (SELECT count(*) FROM gpss.jobs), (SELECT sum(next_offset) FROM gpss.progress),
               (SELECT count(*) FROM gpss.errors), (SELECT count(*) > 0 FROM gpss.batches)";
    assert_eq!(copy.sql(all), "1|4|1|t");
    // The next numbers are new ones.
    assert_eq!(copy.sql("SELECT nextval('gpss.job_id_seq') > max(id) FROM gpss.job"), "t");
    // It reads, and only that; others do not.
    let error = scene.db.error(&format!("SET ROLE {owner}; DELETE FROM gpss.job"));
    assert!(error.contains("permission denied"), "{error}");
    let error = scene.db.error(&format!("SET ROLE {role}; TABLE gpss.error"));
    assert!(error.contains("permission denied"), "{error}");
    drop(copy);
    scene.db.sql(&format!(
        "ALTER DATABASE {} OWNER TO postgres; DROP OWNED BY {role}; DROP ROLE {role};
         REASSIGN OWNED BY {owner} TO postgres; DROP ROLE {owner}",
        scene.db.name
    ));
}
