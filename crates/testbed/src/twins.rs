//! Twins: a job's target, and a table of the same definition that PostgreSQL alone has filled from the
//! same messages, with one INSERT for each. Where they differ, the job is wrong.

use crate::{Scene, literal};

/// A target of a job, defined in the schema `job` and again in `own`.
#[derive(Clone, Default)]
pub struct Twin {
    pub name: String,
    /// Makes the target, and what belongs to it; run with the schema first in `search_path`.
    pub ddl: String,
    /// The target's columns, sorted by length and name, and their values over `source`.
    pub mapping: Vec<(String, String)>,
    /// The values over `messages`, where they are not the same.
    pub own: Option<Vec<String>>,
    pub filter: Option<&'static str>,
    /// The size of the job's batches.
    pub max_row: Option<u32>,
    /// What must be the same; otherwise all columns of the target.
    pub compared: Option<&'static str>,
    /// The role, with these settings, that the job belongs to instead of the superuser.
    pub role: Option<(String, Vec<(&'static str, &'static str)>)>,
}

/// Of the 40 background workers that the server has.
const JOBS_AT_ONCE: usize = 12;

const SCHEMAS: &str = "
    CREATE SCHEMA job; CREATE SCHEMA own;
    GRANT ALL ON SCHEMA job, own TO PUBLIC;
    CREATE TABLE messages AS SELECT pos, convert_from(raw, 'UTF8')::json AS doc FROM source;
    ALTER TABLE messages ADD PRIMARY KEY (pos);
    ANALYZE messages;
    CREATE TABLE rejected (twin text, pos bigint, state text, message text);
    GRANT ALL ON source, messages, rejected TO PUBLIC;
    GRANT ALL ON FOREIGN SERVER kafka TO PUBLIC;

    CREATE FUNCTION insert_one_by_one(twin text, statement text) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE place bigint; message text;
    BEGIN
        FOR place IN SELECT pos FROM public.messages ORDER BY pos LOOP
            BEGIN
                EXECUTE statement USING place;
                SET CONSTRAINTS ALL IMMEDIATE;
            EXCEPTION WHEN OTHERS THEN
                GET STACKED DIAGNOSTICS message = MESSAGE_TEXT;
                INSERT INTO public.rejected VALUES (twin, place, SQLSTATE, message);
            END;
        END LOOP;
    END $$;

    -- As gpss.errors has it: control characters as JSON writes them, and not more than 1,000 characters.
    CREATE FUNCTION as_reason(message text) RETURNS text LANGUAGE sql AS $$
        SELECT CASE WHEN length(shown) > 1000 THEN left(shown, 997) || '...' ELSE shown END
        FROM (SELECT coalesce(string_agg(
                  CASE WHEN ascii(c) IN (9, 10) OR ascii(c) NOT BETWEEN 0 AND 31 AND ascii(c) NOT BETWEEN 127 AND 159
                       THEN c ELSE format('\\u%s', lpad(to_hex(ascii(c)), 4, '0')) END, '' ORDER BY n), '') AS shown
              FROM regexp_split_to_table(message, '') WITH ORDINALITY AS t (c, n)) AS s
    $$;

    -- Rows are compared as text and in binary form.
    CREATE FUNCTION rows_of(schema text, query text) RETURNS TABLE (shown text, sent bytea) LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM set_config('search_path', schema || ', public', true);
        RETURN QUERY EXECUTE format('SELECT t::text, record_send(t) FROM (%s) AS t', query);
    END $$;
    CREATE FUNCTION differences(twin text, compared text) RETURNS SETOF text LANGUAGE plpgsql AS $$
    BEGIN
        CREATE TEMP TABLE ours AS SELECT * FROM public.rows_of('job', compared);
        CREATE TEMP TABLE theirs AS SELECT * FROM public.rows_of('own', compared);
        CREATE TEMP TABLE our_errors AS
            SELECT \"offset\" AS pos, sqlstate, message FROM gpss.errors WHERE job = twin;
        CREATE TEMP TABLE their_errors AS
            SELECT pos, state, public.as_reason(message) FROM public.rejected AS r WHERE r.twin = differences.twin;
        RETURN QUERY
            SELECT format('%s: status %s %s', name, status, errmsg) FROM gpss.jobs
            WHERE name = twin AND status <> 'JOB_SUCCESS';
        RETURN QUERY
            SELECT format('%s: %s %s', twin, side, left(shown, 300)) FROM (
                (SELECT 'only the job loads' AS side, * FROM (TABLE ours EXCEPT ALL TABLE theirs) AS a LIMIT 5) UNION ALL
                (SELECT 'the job lacks', * FROM (TABLE theirs EXCEPT ALL TABLE ours) AS b LIMIT 5)) AS d;
        RETURN QUERY
            SELECT format('%s: %s %s', twin, side, left(d::text, 300)) FROM (
                (SELECT 'only the job rejects' AS side, * FROM (TABLE our_errors EXCEPT ALL TABLE their_errors) AS a
                 ORDER BY pos LIMIT 5) UNION ALL
                (SELECT 'the job does not reject', * FROM (TABLE their_errors EXCEPT ALL TABLE our_errors) AS b
                 ORDER BY pos LIMIT 5)) AS d;
        DROP TABLE ours, theirs, our_errors, their_errors;
    END $$;";

/// Makes `source` over the scene's topic, with these columns besides, and reads its messages, which
/// are JSON, into `messages`.
pub fn source(scene: &Scene, columns: &str) {
    scene.db.sql(&format!(
        "CREATE SERVER kafka FOREIGN DATA WRAPPER gpss OPTIONS (brokers '{brokers}');
         CREATE FOREIGN TABLE source (doc json OPTIONS (source 'value'), raw bytea OPTIONS (source 'value'),
             pos bigint OPTIONS (source 'offset') {columns}) SERVER kafka OPTIONS (topic '{topic}');
         {SCHEMAS}",
        brokers = scene.broker.address,
        topic = scene.topic.name,
    ));
}

/// Runs the jobs and fills their twins; what differs, in words.
pub fn differences(scene: &Scene, twins: &[Twin]) -> String {
    for twin in twins {
        scene.db.sql(&twin.define());
    }
    for some in twins.chunks(JOBS_AT_ONCE) {
        let names: Vec<String> = some.iter().map(|twin| literal(&twin.name)).collect();
        let names = names.join(", ");
        scene.db.sql(&format!(
            "SELECT gpss.start_job(name, quit_at_eof => true) FROM gpss.jobs WHERE name IN ({names});
             SELECT gpss.wait_job(name, '60 s') FROM unnest(ARRAY[{names}]) AS name"
        ));
    }
    scene.db.sql(&twins.iter().map(Twin::fill).collect::<String>());
    scene.db.sql(&twins.iter().map(Twin::compare).collect::<String>())
}

impl Twin {
    fn define(&self) -> String {
        let Twin { name, ddl, .. } = self;
        let mapping: serde_json::Map<_, _> =
            self.mapping.iter().map(|(c, e)| (c.clone(), e.clone().into())).collect();
        let mapping = literal(&serde_json::Value::Object(mapping).to_string());
        let filter = self.filter.map_or("NULL".to_string(), literal);
        let max_row = self.max_row.map_or("NULL".to_string(), |rows| rows.to_string());
        let role = self.role.iter().map(|(role, settings)| {
            let set = settings.iter().map(|(name, value)| {
                format!("ALTER ROLE {role} SET {name} = {};\n", literal(value))
            });
            format!("{} SET ROLE {role};\n", set.collect::<String>())
        });
        format!(
            "SET search_path = own, public; {ddl};
             SET search_path = job, public; {ddl};
             {role}
             SELECT FROM gpss.submit_job('{name}', 'public.source', '{name}', mapping => {mapping},
                 filter => {filter}, error_limit => '100000', max_row => {max_row});
             RESET ROLE;\n",
            role = role.collect::<String>()
        )
    }

    fn fill(&self) -> String {
        let (columns, values): (Vec<_>, Vec<_>) = self.mapping.iter().cloned().unzip();
        let statement = format!(
            "INSERT INTO {} ({}) SELECT {} FROM messages WHERE pos = $1 AND ({})",
            self.name,
            columns.join(", "),
            self.own.clone().unwrap_or(values).join(", "),
            self.filter.unwrap_or("true"),
        );
        let role = self.role.iter().map(|(role, settings)| {
            let set = settings
                .iter()
                .map(|(name, value)| format!("SET LOCAL {name} = {};\n", literal(value)));
            format!("SET LOCAL ROLE {role};\n{}", set.collect::<String>())
        });
        format!(
            "BEGIN; SET LOCAL search_path = own, public; {}
             SELECT FROM public.insert_one_by_one('{}', {}); COMMIT;\n",
            role.collect::<String>(),
            self.name,
            literal(&statement)
        )
    }

    fn compare(&self) -> String {
        let all = format!("TABLE {}", self.name);
        let compared = literal(self.compared.unwrap_or(&all));
        format!("SELECT * FROM differences('{}', {compared});\n", self.name)
    }
}
