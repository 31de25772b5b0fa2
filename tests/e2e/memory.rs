//! What a process that loads keeps of the errors that it has met.

use gpss_testbed::{JOB, Scene, literal};

/// A row says how much memory the process that wrote it keeps for its life. From the third on it first meets
/// 20,000 duplicates that the trigger catches itself.
const GAUGE: &str = "
    ALTER TABLE numbers ADD UNIQUE (n), ADD kept bigint;
    CREATE TABLE duplicate (n int PRIMARY KEY);
    INSERT INTO duplicate VALUES (1);
    CREATE TABLE refused (n int);
    CREATE FUNCTION gauge() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        FOR i IN 1 .. CASE WHEN NEW.n >= 3 THEN 20000 ELSE 0 END LOOP
            BEGIN
                INSERT INTO duplicate VALUES (1);
            EXCEPTION WHEN unique_violation THEN
            END;
        END LOOP;
        IF EXISTS (SELECT FROM refused WHERE n = NEW.n) THEN
            RAISE EXCEPTION 'refused';
        END IF;
        NEW.kept := (SELECT total_bytes FROM pg_backend_memory_contexts
                     WHERE name = 'TopMemoryContext');
        RETURN NEW;
    END $$;
    CREATE TRIGGER gauge BEFORE INSERT ON numbers FOR EACH ROW EXECUTE FUNCTION gauge();
    INSERT INTO refused VALUES (4);";

/// Less than what 1,500 errors once left behind.
const LITTLE: i64 = 512 * 1024;

#[test]
fn errors_that_are_over_keep_no_memory() {
    let scene = Scene::new(1);
    scene.db.sql(GAUGE);
    let config = literal(&scene.config(10_000, 250));
    scene.db.sql(&format!("SELECT gpss.submit_job('{JOB}', {config})"));
    let number = |n: u32| format!("{{\"n\": {n}}}\n");
    let warm = number(0) + &number(0).repeat(100) + &number(1);
    let duplicates = number(0).repeat(1500) + &number(2);
    scene.topic.send_lines(0, &(warm + &duplicates + &number(3) + &number(4)));
    scene.load_to_the_end();

    let kept = |n: u32| scene.db.number(&format!("SELECT kept FROM numbers WHERE n = {n}"));
    let rejected = "SELECT sqlstate, count(*) FROM gpss.errors GROUP BY 1 ORDER BY 1";
    assert_eq!(scene.db.sql(rejected), "23505|1600\nP0001|1");
    let (before, rejecting, catching) = (kept(1), kept(2), kept(3));
    assert!(rejecting - before < LITTLE, "duplicates that were rejected: {before} to {rejecting}");
    assert!(catching - rejecting < LITTLE, "caught by the trigger: {rejecting} to {catching}");

    // In a session of a user.
    let top = "SELECT total_bytes FROM pg_backend_memory_contexts WHERE name = 'TopMemoryContext'";
    let duplicates = "ARRAY(SELECT id FROM gpss.errors WHERE sqlstate = '23505' LIMIT 800)";
    let retry = format!("SELECT retried FROM gpss.retry_errors('{JOB}', ids => {duplicates});");
    let rest = format!(
        "SELECT retried FROM gpss.retry_errors('{JOB}', ids =>
             ARRAY(SELECT id FROM gpss.errors WHERE sqlstate = 'P0001'));"
    );
    let session = format!("DELETE FROM refused; {retry} {top}; {retry} {top}; {rest} {top}");
    let said = scene.db.sql(&session);
    let numbers: Vec<i64> = said.lines().map(|n| n.parse().expect("a number")).collect();
    let [0, first, 0, second, 1, third] = numbers[..] else { panic!("{said}") };
    assert!(second - first < LITTLE && third - second < LITTLE, "{first}, {second}, {third}");
}
