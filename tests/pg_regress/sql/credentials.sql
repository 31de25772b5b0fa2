-- Whose credentials a scan uses: the reader's own, the view's owner's behind a view, else PUBLIC's.
CREATE ROLE regress_gpss_alice;
CREATE ROLE regress_gpss_bob;
CREATE SCHEMA gpss_mapping;
GRANT ALL ON SCHEMA gpss_mapping TO regress_gpss_alice, regress_gpss_bob;
SET search_path = gpss_mapping;
-- Without credentials the client refuses to start. With them it tries to reach the broker, which is not there.
CREATE SERVER secured FOREIGN DATA WRAPPER gpss
    OPTIONS (brokers '127.0.0.1:1', "security.protocol" 'sasl_plaintext', "sasl.mechanisms" 'PLAIN');
CREATE USER MAPPING FOR regress_gpss_alice SERVER secured OPTIONS ("sasl.username" 'alice', "sasl.password" 'hunter2');
GRANT USAGE ON FOREIGN SERVER secured TO regress_gpss_alice;
SET ROLE regress_gpss_alice;
CREATE FOREIGN TABLE source (doc json) SERVER secured OPTIONS (topic 'readings');
CREATE VIEW readings AS SELECT doc FROM source;
GRANT SELECT ON readings TO regress_gpss_bob;
RESET ROLE;
SET statement_timeout = '500 ms';
SET ROLE regress_gpss_alice;
SELECT count(*) FROM source;
SET ROLE regress_gpss_bob;
SELECT count(*) FROM source;
SELECT count(*) FROM readings;
RESET ROLE;
GRANT SELECT ON source TO regress_gpss_bob;
SET ROLE regress_gpss_bob;
SELECT count(*) FROM source;
SELECT count(*) FROM readings;
RESET ROLE;
SELECT count(*) FROM source;
CREATE USER MAPPING FOR PUBLIC SERVER secured OPTIONS ("sasl.username" 'all', "sasl.password" 'hunter2');
SELECT count(*) FROM source;
RESET statement_timeout;

SET client_min_messages = warning;
DROP SCHEMA gpss_mapping CASCADE;
DROP SERVER secured CASCADE;
DROP ROLE regress_gpss_alice, regress_gpss_bob;
