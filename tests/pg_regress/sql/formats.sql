-- Formats without a broker: the format functions, the options of foreign tables, and gpss.convert.
\getenv abs_srcdir PG_ABS_SRCDIR
\set file :abs_srcdir '/include/error_of.sql'
\i :file
\set file :abs_srcdir '/include/config.sql'
\i :file
CREATE SCHEMA gpss_formats;
SET search_path = gpss_formats;
\set VERBOSITY terse

-- Every format gives rows.
SELECT * FROM gpss.gpfmt_gpss(E'1;x\n2;"y;z"\n3;'::bytea, '{"format": "csv", "delimiter": ";"}') AS t (id int, name text);
SELECT * FROM gpss.gpfmt_gpss(E'id,name\r\n1,$x$\r\n2'::bytea,
    '{"format": "csv", "header": true, "quote": "$", "fill_missing_fields": "on"}') AS t (id int, name text);
SELECT id, name IS NULL, note IS NULL FROM gpss.gpfmt_gpss(E'1,,\n2,"",""\n'::bytea,
    '{"format": "csv", "force_null": ["name"], "force_not_null": ["note"]}') AS t (id int, name text, note text);
SELECT * FROM gpss.gpfmt_gpss(convert_to(E'1\tx\n2\t\\N', 'UTF8'), '{"format": "text"}') AS t (id int, name text);
SELECT * FROM gpss.gpfmt_gpss('1~^''a~^b''|'::bytea || E'\n2~^c'::bytea,
    '{"format": "delimited", "delimiter": "~^", "quote": "''", "eol_prefix": "|"}') AS t (id int, name text);
SELECT * FROM gpss.gpfmt_gpss('{"id": 1, "Name": "x", "list": [1, null]}',
    '{"format": "json"}') AS t ("Name" text, id int, list int[], missing date);
SELECT * FROM gpss.gpfmt_gpss('{"id": 1}', '{"format": "json"}') AS t (doc json);
SELECT * FROM gpss.gpfmt_gpss(E'{"id": 1}\n\n{"id": 2}'::bytea, '{"format": "jsonl"}') AS t (doc jsonb);
SELECT * FROM gpss.gpfmt_gpss('{"id": 1};{"id": 2}', '{"format": "jsonl", "newline": ";"}') AS t (id int, x text);
SELECT * FROM gpss.gpfmt_gpss('\x00ff', '{"format": "binary"}') AS t (payload bytea);
SELECT * FROM gpss.gpfmt_gpss('\x7b226e223a2022e4227d', '{"format": "json", "encoding": "latin1"}') AS t (n text);
\set number '{"type": "record", "name": "R", "fields": [{"name": "n", "type": "long"}, {"name": "b", "type": "bytes"}]}'
SELECT * FROM gpss.gpfmt_gpss('\x0e02ff', jsonb_build_object('format', 'avro', 'schema', :'number')) AS t (n int, b bytea);
SELECT * FROM gpss.gpfmt_gpss('\x0e02ff', jsonb_build_object('format', 'avro', 'schema', :'number')) AS t (doc json);
SELECT * FROM gpss.gpfmt_gpss('\x0e02ff', jsonb_build_object('format', 'avro', 'schema', :'number', 'bytes_to_base64', true)) AS t (doc json);
\set proto 'syntax = "proto3"; package p; message M { int64 n = 1; bytes b = 2; optional string s = 3; }'
SELECT * FROM gpss.gpfmt_protobuf('\x08071201ff', jsonb_build_object('schema', :'proto')) AS t (n int, b bytea, s text);
SELECT * FROM gpss.gpfmt_protobuf('\x08071201ff', jsonb_build_object('format', 'protobuf', 'schema', :'proto', 'message', 'p.M')) AS t (doc json);
SELECT * FROM gpss.gpfmt_protobuf('', jsonb_build_object('schema', :'proto')) AS t (n int, b bytea, s text);

-- A zero byte costs its own column only, and none of type bytea.
SELECT * FROM gpss.gpfmt_gpss('\x0e0400ff', jsonb_build_object('format', 'avro', 'schema', :'number')) AS t (n int, b bytea);
SELECT * FROM gpss.gpfmt_gpss('\x0e0400ff', jsonb_build_object('format', 'avro', 'schema', :'number')) AS t (n int, b text);
SELECT * FROM gpss.gpfmt_protobuf('\x08071a0100', jsonb_build_object('schema', :'proto')) AS t (n int, b bytea);
SELECT * FROM gpss.gpfmt_protobuf('\x08071a0100', jsonb_build_object('schema', :'proto')) AS t (n int, s text);
SELECT * FROM gpss.gpfmt_protobuf('\x08071a0100', jsonb_build_object('schema', :'proto')) AS t (n int, s bytea);

-- Once for each row of a table, with the options of each.
SELECT t.* FROM (VALUES ('1,2', ','), ('3;4', ';'), ('', ';'), (NULL, ',')) AS v (line, delimiter),
    LATERAL gpss.gpfmt_gpss(line::bytea, jsonb_build_object('format', 'csv', 'delimiter', delimiter)) AS t (a int, b int);
-- Any type, by its input function.
CREATE TYPE colour AS ENUM ('red', 'blue');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
SELECT * FROM gpss.gpfmt_gpss(convert_to('red,"(1,""x y"")","{""(1,)"",NULL}","[1,5)",7,\x00', 'UTF8'),
    '{"format": "csv"}') AS t (c colour, p pair, ps pair[], r int4range, d positive, b bytea);
SELECT * FROM gpss.gpfmt_gpss(convert_to('{"c": "red", "p": "(1,)", "ps": ["(1,)", null], "r": "[1,5)", "d": 7, "b": "\\x00", "deep": [[1], [2]]}', 'UTF8'),
    '{"format": "json"}') AS t (c colour, p pair, ps pair[], r int4range, d positive, b bytea, deep int[]);

-- What would reject a message is an error.
CREATE FUNCTION pg_temp.try(payload bytea, options text, columns text DEFAULT 'a int, b text') RETURNS text LANGUAGE sql AS $$
    SELECT pg_temp.error_of(format('SELECT * FROM gpss.gpfmt_gpss(%L, %L) AS t (%s)', payload, options, columns)) $$;
SELECT payload, options, pg_temp.try(replace(payload, '$', E'\n')::bytea, options) FROM (VALUES
    ('1', '{"format": "csv"}'),
    ('1,2,3', '{"format": "csv"}'),
    ('1,"2', '{"format": "csv"}'),
    ('1,2$$3,4', '{"format": "csv"}'),
    ('1,2$$3,4', '{"format": "csv", "fill_missing_fields": true}'),
    ('x,2', '{"format": "csv"}'),
    ('1|2', '{"format": "text"}'),
    ('1|2', '{"format": "delimited", "delimiter": "||"}'),
    ('1|''2', '{"format": "delimited", "delimiter": "|", "quote": "''"}'),
    ('{"a": 1', '{"format": "json"}'),
    ('', '{"format": "json"}'),
    ('{"a": 1} {"a": 2}', '{"format": "json"}'),
    ('{"a": "x"}', '{"format": "json"}'),
    ('{"a": 1}${', '{"format": "jsonl"}'),
    ('x', '{"format": "avro"}')
) AS v (payload, options);
SELECT pg_temp.try('\xff2c32', '{"format": "csv"}');
SELECT pg_temp.try('\x312c00', '{"format": "csv"}');
SELECT pg_temp.try('\x83', '{"format": "csv", "encoding": "SJIS"}');
SELECT pg_temp.try('-1,x', '{"format": "csv"}', 'a positive, b varchar(3)');
SELECT pg_temp.try('1,long', '{"format": "csv"}', 'a positive, b varchar(3)');
SELECT pg_temp.try('\x0e02ff00', jsonb_build_object('format', 'avro', 'schema', :'number')::text);
SELECT pg_temp.try('\x0e02', jsonb_build_object('format', 'avro', 'schema', :'number')::text);
SELECT pg_temp.error_of(format('SELECT * FROM gpss.gpfmt_protobuf(%L, %L) AS t (n int)', '\xff'::bytea, jsonb_build_object('schema', :'proto')));
-- The columns are what the caller says.
SELECT pg_temp.error_of($$SELECT * FROM gpss.gpfmt_gpss('1', '{"format": "csv"}')$$);
SELECT pg_temp.error_of($$SELECT gpss.gpfmt_gpss('1', '{"format": "csv"}')$$);

-- Bad options, with what was meant.
SELECT options, pg_temp.try('1,2', options) FROM (VALUES
    ('{}'),
    ('[]'),
    ('"csv"'),
    ('{"format": "xml"}'),
    ('{"format": "protobuf"}'),
    ('{"format": "custom", "formatter": "f"}'),
    ('{"format": "csv", "delimitr": ";"}'),
    ('{"format": "csv", "topic": "t"}'),
    ('{"format": "csv", "key_delimiter": ";"}'),
    ('{"format": "csv", "newline": ";"}'),
    ('{"format": "json", "delimiter": ";"}'),
    ('{"format": "binary", "encoding": "UTF8"}'),
    ('{"format": "csv", "delimiter": ""}'),
    ('{"format": "csv", "delimiter": "||"}'),
    ('{"format": "csv", "delimiter": "\n"}'),
    ('{"format": "csv", "delimiter": "ä"}'),
    ('{"format": "csv", "quote": ","}'),
    ('{"format": "csv", "quote": ""}'),
    ('{"format": "csv", "header": "perhaps"}'),
    ('{"format": "csv", "header": null}'),
    ('{"format": "csv", "header": [true]}'),
    ('{"format": "csv", "force_null": "c"}'),
    ('{"format": "csv", "null": ","}'),
    ('{"format": "text", "delimiter": "a"}'),
    ('{"format": "text", "quote": "x"}'),
    ('{"format": "delimited"}'),
    ('{"format": "delimited", "delimiter": "123456789012345678901234567890123"}'),
    ('{"format": "delimited", "delimiter": "|", "quote": "|"}'),
    ('{"format": "csv", "encoding": "latin"}'),
    ('{"format": "csv", "encoding": "EUC_TW"}'),
    ('{"format": "csv", "encoding": "Latin-1"}'),
    ('{"format": "avro", "schema": "x"}'),
    ('{"format": "avro", "schema": "\"int\"", "schema_path": "/x"}'),
    ('{"format": "avro", "schema": "\"int\"", "schema_registry": "http://r:1"}'),
    ('{"format": "avro", "schema_path": "x.avsc"}'),
    ('{"format": "avro", "schema_path": "/nowhere/x.avsc"}'),
    ('{"format": "avro", "schema_registry": "ftp://r"}'),
    ('{"format": "avro", "schema_registry": "http://me:hunter2@r:1"}'),
    ('{"format": "avro", "schema_registry": "http://r:1", "schema_min_tls_version": "2"}'),
    ('{"format": "avro", "schema_registry": "http://r:1", "schema_key": "/k"}'),
    ('{"format": "avro", "message": "x"}')
) AS v (options);
SELECT options, pg_temp.error_of(format('SELECT * FROM gpss.gpfmt_protobuf(%L, %L) AS t (n int)', '\x0807'::bytea, options)) FROM (VALUES
    ('{}'),
    ('{"format": "csv"}'),
    ('{"schema": "message M {"}'),
    ('{"schema": "syntax = \"proto3\"; message A { int32 n = 1; } message B {}"}'),
    ('{"schema": "syntax = \"proto3\"; message A { int32 n = 1; } message B {}", "message": "C"}'),
    ('{"schema": "syntax = \"proto3\"; message A { int32 n = 1; } message B {}", "message": "A"}'),
    ('{"schema": "syntax = \"proto3\"; message A { string n = 1; }", "bytes_to_base64": true}')
) AS v (options);

-- What reaches out of the database asks for rights.
CREATE ROLE regress_gpss_plain;
CREATE ROLE regress_gpss_files IN ROLE pg_read_server_files;
GRANT USAGE ON SCHEMA gpss_formats TO regress_gpss_plain, regress_gpss_files;
CREATE SERVER kafka FOREIGN DATA WRAPPER gpss OPTIONS (brokers '127.0.0.1:1');
GRANT USAGE ON FOREIGN SERVER kafka TO regress_gpss_plain, regress_gpss_files;
CREATE SCHEMA theirs;
GRANT ALL ON SCHEMA theirs TO regress_gpss_plain, regress_gpss_files;
SET ROLE regress_gpss_plain;
SELECT pg_temp.try('1', '{"format": "avro", "schema_path": "/etc/passwd"}', 'n int');
SELECT pg_temp.try('1', '{"format": "avro", "schema_registry": "http://127.0.0.1:1"}', 'n int');
SELECT pg_temp.try('\x02', '{"format": "avro", "schema": "\"long\""}', 'n json');
SELECT options, pg_temp.error_of('CREATE FOREIGN TABLE theirs.t (n int) SERVER kafka OPTIONS (topic ''t'', ' || options || ')') FROM (VALUES
    ('format ''avro'', schema_path ''/etc/passwd'''),
    ('format ''binary'', key_format ''avro'', key_schema_path ''/etc/passwd'''),
    ('format ''avro'', schema_registry ''http://127.0.0.1:1'''),
    ('format ''binary'', key_format ''protobuf'', key_schema_registry ''http://127.0.0.1:1'''),
    ('format ''avro'', schema_ca ''/etc/passwd'''),
    ('format ''avro'', schema ''"int"''')
) AS v (options);
SET ROLE regress_gpss_files;
SELECT pg_temp.error_of('CREATE FOREIGN TABLE theirs.f (n int) SERVER kafka OPTIONS (topic ''t'', format ''avro'', schema_path ''/nowhere/x'')');
SELECT pg_temp.try('1', '{"format": "avro", "schema_path": "/nowhere/x"}', 'n int');
RESET ROLE;
SELECT ftrelid::regclass, ftoptions FROM pg_foreign_table WHERE ftserver = (SELECT oid FROM pg_foreign_server WHERE srvname = 'kafka') ORDER BY 1::text;

-- Options of foreign tables that do not go together.
SELECT options, pg_temp.error_of(format('CREATE FOREIGN TABLE t (%s) SERVER kafka OPTIONS (topic ''t'', %s); DROP FOREIGN TABLE t', columns, options)) FROM (VALUES
    ('n int', 'key_delimiter '';'''),
    ('n int', 'key_source ''x'''),
    ('n int', 'key_format ''xml'''),
    ('n int', 'key_topic ''x'''),
    ('n int', 'format ''json'', delimiter '';'''),
    ('n int', 'format ''csv'', key_format ''json'', key_delimiter '';'''),
    ('n int', 'format ''csv'', delimter '';'''),
    ('n int', 'format ''csv'', delimiter ''ab'''),
    ('n int', 'format ''csv'', quote ''ab'''),
    ('n int', 'format ''csv'', escape ''ä'''),
    ('n int', 'format ''delimited'''),
    ('n int', 'format ''custom'''),
    ('n int', 'format ''custom'', formatter ''a b'''),
    ('n int', 'format ''custom'', formatter ''f(x)'''),
    ('n int', 'format ''custom'', formatter ''f'', params ''[1]'''),
    ('n int', 'format ''custom'', formatter ''f'', params ''x=1'''),
    ('n int', 'format ''avro'', schema_registry ''http://me:hunter2@r:1'''),
    ('n int', 'format ''avro'', schema_registry ''ftp://r'''),
    ('n int', 'format ''avro'', schema_registry ''http://r'', schema ''"int"'''),
    ('n int', 'format ''avro'', schema_cert ''/c'', schema_registry ''http://r'''),
    ('n int', 'format ''avro'', schema ''{}'''),
    ('n int', 'format ''protobuf'''),
    ('n int', 'format ''protobuf'', schema ''message M {}'', message ''N'''),
    ('n int', 'format ''protobuf'', bytes_to_base64 ''true'''),
    ('n int', 'partitions ''1-'''),
    ('n int', 'schema_registry_password ''hunter2'''),
    ('n int', 'format ''csv'', encoding ''JOHAB'''),
    ('n int OPTIONS (source ''key_field'')', 'format ''csv''')
) AS v (columns, options);
-- What the columns ask for is found when they are read.
SELECT pg_temp.error_of('CREATE FOREIGN TABLE k (n int OPTIONS (source ''key_field'')) SERVER kafka OPTIONS (topic ''t'', format ''csv'')');
SELECT pg_temp.error_of('EXPLAIN SELECT * FROM k');
CREATE FOREIGN TABLE c (a int, b text, k text OPTIONS (source 'key_field'), m jsonb OPTIONS (source 'meta'))
    SERVER kafka OPTIONS (topic 't', format 'csv', delimiter ';', null '\N', key_format 'text', key_delimiter '|');
EXPLAIN (VERBOSE, COSTS off) SELECT b, m, k FROM c WHERE a > 1;
EXPLAIN (VERBOSE, COSTS off) SELECT count(*) FROM c;
SELECT pg_temp.error_of('ALTER FOREIGN TABLE c OPTIONS (SET format ''json'')');
SELECT pg_temp.error_of('ALTER FOREIGN TABLE c OPTIONS (DROP key_format)');
ALTER FOREIGN TABLE c OPTIONS (DROP key_format, DROP key_delimiter);
SELECT pg_temp.error_of('EXPLAIN SELECT * FROM c');
CREATE FOREIGN TABLE p (n int, b bytea) SERVER kafka OPTIONS (topic 't', format 'protobuf', schema 'message M { optional int32 n = 1; optional bytes b = 2; }');
EXPLAIN (VERBOSE, COSTS off) SELECT * FROM p;
CREATE FOREIGN TABLE u (n int) SERVER kafka OPTIONS (topic 't', format 'custom', formatter 'nowhere.f');
EXPLAIN (VERBOSE, COSTS off) SELECT * FROM u;
-- Servers and user mappings.
SELECT options, pg_temp.error_of('CREATE SERVER s FOREIGN DATA WRAPPER gpss OPTIONS (brokers ''b:1'', ' || options || '); DROP SERVER s') FROM (VALUES
    ('schema_registry ''http://me:hunter2@r:1'''),
    ('schema_registry_password ''hunter2'''),
    ('schema_ca ''ca.pem'''),
    ('schema ''"int"'''),
    ('key_schema_registry ''http://r'''),
    ('schema_min_tls_version ''1.4'''),
    ('schema_registry ''http://r:1'', schema_ca ''/ca.pem''')
) AS v (options);
CREATE USER MAPPING FOR regress_gpss_plain SERVER kafka OPTIONS (schema_registry_user 'me', schema_registry_password 'hunter2');
SELECT pg_temp.error_of('ALTER USER MAPPING FOR regress_gpss_plain SERVER kafka OPTIONS (ADD schema_registry ''http://r'')');

-- A configuration of version 1 or 2 in version 3.
SELECT gpss.convert(pg_temp.config());
SELECT gpss.convert($$
DATABASE: shop
USER: loader
PASSWORD: hunter2
VERSION: 2
KAFKA:
  INPUT:
    SOURCE: {BROKERS: "b1:9092,b2:9092", TOPIC: "{{topic}}", PARTITIONS: "(0, 2...4)", FALLBACK_OFFSET: latest}
    KEY: {COLUMNS: [{NAME: k, TYPE: json}], FORMAT: avro, AVRO_OPTION: {SCHEMA_REGISTRY_ADDR: "http://sr1:8081, http://sr2:8081", BYTES_TO_BASE64: true}}
    VALUE: {COLUMNS: [{NAME: a, TYPE: int}, {NAME: __IGNORED__, TYPE: text}], FORMAT: csv,
            CSV_OPTION: {DELIMITER: "\t", QUOTE: "'", NULL_STRING: '\N', FORCE_NOT_NULL: "a", FILL_MISSING_FIELDS: true, HEADER: true}}
    META: {COLUMNS: [{NAME: m, TYPE: json}], FORMAT: json}
    FILTER: a > 1
    ENCODING: LATIN1
    ERROR_LIMIT: 10%
  OUTPUTS:
  - {SCHEMA: s, TABLE: t1, MAPPING: {a: a, k: "(k #>> '{b}')::int"}}
  - {TABLE: t2, MODE: MERGE, MATCH_COLUMNS: [a], UPDATE_COLUMNS: [k], ORDER_COLUMNS: [o], DELETE_CONDITION: "a = 7", MAPPING: {a: a, k: k, o: "1"}}
  METADATA: {SCHEMA: work}
  COMMIT: {MAX_ROW: 100, MINIMAL_INTERVAL: 2000}
  TASK: {POST_BATCH_SQL: "SELECT 1", BATCH_INTERVAL: 5}
  PROPERTIES: {group.id: g}
SCHEDULE: {RETRY_INTERVAL: 30s, MAX_RETRIES: 3}
$$, '{"topic": "orders"}') AS converted \gset
SELECT :'converted';
-- What was converted stays as it is.
SELECT gpss.convert(:'converted') = :'converted';
SELECT pg_temp.error_of($$SELECT gpss.convert('KAFKA: {INPUTS: 1}')$$);

SET client_min_messages = warning;
DROP SERVER kafka CASCADE;
DROP SCHEMA gpss_formats, theirs CASCADE;
DROP ROLE regress_gpss_plain, regress_gpss_files;
