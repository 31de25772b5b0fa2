-- Targets whose rows a crash takes: submit_job warns, whatever leads to them.
CREATE SCHEMA gpss_targets;
SET search_path = gpss_targets;
CREATE SERVER of_targets FOREIGN DATA WRAPPER gpss OPTIONS (brokers 'localhost:1');
CREATE FOREIGN TABLE read_for_targets (n int) SERVER of_targets OPTIONS (topic 'none');
CREATE UNLOGGED TABLE unlogged_plainly (n int);
CREATE VIEW unlogged_behind AS SELECT * FROM unlogged_plainly;
CREATE TABLE logged_with_rule (n int);
CREATE RULE also AS ON INSERT TO logged_with_rule DO ALSO INSERT INTO unlogged_plainly VALUES (new.n);
CREATE TABLE partitioned (n int) PARTITION BY LIST (n);
CREATE TABLE partitioned_again PARTITION OF partitioned DEFAULT PARTITION BY LIST (n);
CREATE UNLOGGED TABLE unlogged_partition PARTITION OF partitioned_again DEFAULT;
-- Nothing is written into it.
CREATE TABLE inherited (n int);
CREATE UNLOGGED TABLE unlogged_child () INHERITS (inherited);
CREATE TABLE logged_plainly (n int);
SELECT gpss.submit_job(target::text, 'read_for_targets'::regclass, target) > 0 AS submitted
FROM unnest('{unlogged_plainly, unlogged_behind, logged_with_rule, partitioned, inherited, logged_plainly}'::regclass[])
    AS target;
SELECT gpss.remove_job(target::text)
FROM unnest('{unlogged_plainly, unlogged_behind, logged_with_rule, partitioned, inherited, logged_plainly}'::regclass[])
    AS target;
