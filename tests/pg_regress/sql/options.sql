-- The validator: options of servers, user mappings, foreign tables and columns.
\getenv abs_srcdir PG_ABS_SRCDIR
\set file :abs_srcdir '/include/error_of.sql'
\i :file
CREATE ROLE regress_gpss_user LOGIN;
CREATE ROLE regress_gpss_reader LOGIN IN ROLE pg_read_server_files;
CREATE ROLE regress_gpss_runner LOGIN IN ROLE pg_execute_server_program;
GRANT USAGE ON FOREIGN DATA WRAPPER gpss
    TO regress_gpss_user, regress_gpss_reader, regress_gpss_runner;

-- The wrapper itself takes none.
SELECT pg_temp.error_of('ALTER FOREIGN DATA WRAPPER gpss OPTIONS (brokers ''b:9092'')');

-- Servers.
SELECT options, pg_temp.error_of('CREATE SERVER s FOREIGN DATA WRAPPER gpss ' || options) FROM (VALUES
    (''),
    ('OPTIONS (brokers '''')'),
    ('OPTIONS (brokers ''  '')'),
    ('OPTIONS (broker ''b:9092'')'),
    ('OPTIONS (brokers ''b:9092'', topic ''t'')'),
    ('OPTIONS (brokers ''b:9092'', group_id ''g'')'),
    ('OPTIONS (brokers ''b:9092'', "Client.Id" ''g'')'),
    ('OPTIONS (brokers ''b:9092'', "no resemblance to anything" ''g'')'),
    ('OPTIONS (brokers ''b:9092'', brokers ''b:9093'')'),
    ('OPTIONS (brokers ''b:9092'', "security.protocol" ''tls'')'),
    ('OPTIONS (brokers ''b:9092'', "security.protocol" '''')'),
    ('OPTIONS (brokers ''b:9092'', "fetch.wait.max.ms" ''soon'')'),
    ('OPTIONS (brokers ''b:9092'', "fetch.wait.max.ms" ''-1'')'),
    ('OPTIONS (brokers ''b:9092'', "check.crcs" ''perhaps'')'),
    ('OPTIONS (brokers ''b:9092'', "sasl.kerberos.principal" ''x; rm -rf /'')'),
    ('OPTIONS (brokers ''b:9092'', "sasl.oauthbearer.token.endpoint.url" ''id/token'')'),
    ('OPTIONS (brokers ''b:9092'', "sasl.oauthbearer.token.endpoint.url" ''https://me:hunter2@id/'')')
) AS v (options);
-- Secrets do not go where everybody reads them, and messages do not repeat them.
SELECT secret, pg_temp.error_of(format(
    'CREATE SERVER s FOREIGN DATA WRAPPER gpss OPTIONS (brokers ''b:9092'', %I ''hunter2'')', secret))
FROM unnest('{sasl.password,ssl.key.password,ssl.key.pem,ssl.keystore.password,ssl.certificate.pem,ssl.ca.pem,
    sasl.oauthbearer.client.secret,sasl.oauthbearer.config}'::text[]) AS secret;
-- What gpss does itself is accepted and has no effect.
BEGIN;
CREATE SERVER s FOREIGN DATA WRAPPER gpss OPTIONS (brokers 'b:9092', "bootstrap.servers" 'other:9092',
    "enable.auto.commit" 'true', "auto.offset.reset" 'latest', acks 'all', "session.timeout.ms" '1', dr_cb 'x');
ROLLBACK;
-- Files and programs of the server belong to those who may use them anyway.
CREATE FUNCTION pg_temp.reach_outside() RETURNS TABLE (property text, error text) LANGUAGE sql AS $$
    SELECT name, pg_temp.error_of(format(
        'CREATE SERVER outside_%s FOREIGN DATA WRAPPER gpss OPTIONS (brokers ''b:9092'', %I ''/nowhere'');
         DROP SERVER outside_%s', n, name, n))
    FROM unnest('{ssl.ca.location,ssl.key.location,ssl.certificate.location,ssl.keystore.location,ssl.crl.location,
        sasl.kerberos.keytab,https.ca.location,sasl.oauthbearer.assertion.file,sasl.kerberos.kinit.cmd,plugin.library.paths,ssl.engine.location,
        ssl.providers}'::text[]) WITH ORDINALITY AS v (name, n)
$$;
SET ROLE regress_gpss_user;
SELECT * FROM pg_temp.reach_outside();
SET ROLE regress_gpss_reader;
SELECT * FROM pg_temp.reach_outside() WHERE error <> 'no error';
SET ROLE regress_gpss_runner;
SELECT * FROM pg_temp.reach_outside() WHERE error <> 'no error';
RESET ROLE;
SELECT * FROM pg_temp.reach_outside() WHERE error <> 'no error';

-- ALTER checks the whole list, hence also what somebody else had set.
CREATE SERVER kafka FOREIGN DATA WRAPPER gpss OPTIONS (brokers 'b:9092', "ssl.ca.location" '/etc/ssl/ca.pem');
ALTER SERVER kafka OPTIONS (SET brokers 'c:9092', ADD "client.id" 'me');
SELECT pg_temp.error_of('ALTER SERVER kafka OPTIONS (DROP brokers)');
SELECT pg_temp.error_of('ALTER SERVER kafka OPTIONS (ADD brokers ''d:9092'')');
SELECT pg_temp.error_of('ALTER SERVER kafka OPTIONS (DROP "client.rack")');
ALTER SERVER kafka OWNER TO regress_gpss_user;
SET ROLE regress_gpss_user;
SELECT pg_temp.error_of('ALTER SERVER kafka OPTIONS (SET brokers ''evil:9092'')');
ALTER SERVER kafka OPTIONS (DROP "ssl.ca.location", SET brokers 'd:9092');
RESET ROLE;
SELECT srvoptions FROM pg_foreign_server WHERE srvname = 'kafka';

-- User mappings take every property, and only properties.
SELECT options, pg_temp.error_of(format(
    'CREATE USER MAPPING FOR regress_gpss_user SERVER kafka OPTIONS (%s)', options)) FROM (VALUES
    ('"sasl.passwrod" ''hunter2'''),
    ('password ''hunter2'''),
    ('topic ''t'''),
    ('"client.id" ''x''')
) AS v (options);
ALTER USER MAPPING FOR regress_gpss_user SERVER kafka
    OPTIONS (ADD "sasl.username" 'me', ADD "sasl.password" 'hunter2', ADD "bootstrap.servers" 'evil:9092');
SET ROLE regress_gpss_user;
SELECT pg_temp.error_of('ALTER USER MAPPING FOR CURRENT_USER SERVER kafka OPTIONS (ADD "ssl.key.location" ''/etc/key'')');
-- It takes USAGE on the wrapper to have the server connect to addresses, and more to have it show who it is.
SELECT pg_temp.error_of('ALTER USER MAPPING FOR CURRENT_USER SERVER kafka
    OPTIONS (ADD "sasl.oauthbearer.token.endpoint.url" ''http://intranet/'')');
SELECT pg_temp.error_of('ALTER USER MAPPING FOR CURRENT_USER SERVER kafka
    OPTIONS (ADD "sasl.oauthbearer.metadata.authentication.type" ''azure_imds'')');
RESET ROLE;
REVOKE USAGE ON FOREIGN DATA WRAPPER gpss FROM regress_gpss_user;
SET ROLE regress_gpss_user;
SELECT pg_temp.error_of('ALTER USER MAPPING FOR CURRENT_USER SERVER kafka
    OPTIONS (SET "sasl.oauthbearer.token.endpoint.url" ''http://intranet/admin'')');
RESET ROLE;
GRANT USAGE ON FOREIGN DATA WRAPPER gpss TO regress_gpss_user;
-- Others see that there is a mapping, not what is in it.
SET ROLE regress_gpss_reader;
SELECT umoptions IS NULL FROM pg_user_mappings WHERE srvname = 'kafka';
RESET ROLE;

-- Foreign tables.
SELECT options, pg_temp.error_of('CREATE FOREIGN TABLE t (doc json) SERVER kafka ' || options) FROM (VALUES
    (''),
    ('OPTIONS (format ''json'')'),
    ('OPTIONS (topic '''')'),
    ('OPTIONS (topic ''t'', format ''xml'')'),
    ('OPTIONS (topic ''t'', format ''JSON'')'),
    ('OPTIONS (topic ''t'', fallback_offset ''none'')'),
    ('OPTIONS (topics ''t'')'),
    ('OPTIONS (topic ''t'', "client.id" ''x'')')
) AS v (options);
-- Columns.
SELECT options, pg_temp.error_of(format(
    'CREATE FOREIGN TABLE t (c text OPTIONS (%s)) SERVER kafka OPTIONS (topic ''t'')', options)) FROM (VALUES
    ('source ''colour'''),
    ('source '''''),
    ('source ''Offset'''),
    ('field '''''),
    ('name ''x'''),
    ('topic ''t''')
) AS v (options);
CREATE FOREIGN TABLE t (
    value bytea OPTIONS (source 'value'),
    member text OPTIONS (source 'field', field 'a.b'),
    named int OPTIONS (field 'N'),
    key text OPTIONS (source 'key'),
    topic text OPTIONS (source 'topic'),
    partition int OPTIONS (source 'partition'),
    "offset" bigint OPTIONS (source 'offset'),
    "timestamp" timestamptz OPTIONS (source 'timestamp'),
    headers jsonb OPTIONS (source 'headers'),
    error text OPTIONS (source 'error'),
    plain date
) SERVER kafka OPTIONS (topic 't', format 'json', fallback_offset 'earliest');
SELECT pg_temp.error_of('ALTER FOREIGN TABLE t ALTER COLUMN plain OPTIONS (ADD source ''colour'')');
ALTER FOREIGN TABLE t ALTER COLUMN plain OPTIONS (ADD field 'day');
SELECT pg_temp.error_of('ALTER FOREIGN TABLE t OPTIONS (DROP topic)');
ALTER FOREIGN TABLE t OPTIONS (SET topic 'u', DROP fallback_offset);
SELECT ftoptions FROM pg_foreign_table WHERE ftrelid = 't'::regclass;

-- What a topic cannot do.
SELECT statement, pg_temp.error_of(statement) FROM (VALUES
    ('INSERT INTO t (plain) VALUES (now())'),
    ('UPDATE t SET plain = now()'),
    ('DELETE FROM t'),
    ('TRUNCATE t'),
    ('COPY t FROM ''/dev/null'''),
    ('IMPORT FOREIGN SCHEMA public FROM SERVER kafka INTO public'),
    ('CREATE INDEX ON t (plain)')
) AS v (statement);
ANALYZE t;

DROP FOREIGN TABLE t;
DROP SERVER kafka CASCADE;
REVOKE USAGE ON FOREIGN DATA WRAPPER gpss
    FROM regress_gpss_user, regress_gpss_reader, regress_gpss_runner;
DROP ROLE regress_gpss_user, regress_gpss_reader, regress_gpss_runner;
