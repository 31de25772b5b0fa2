//! The end-to-end suite: a real PostgreSQL and a real Kafka, spoken to by psql and kcat as a user
//! would. Run by `pg_test/e2e`; the names of the tests are the specification.

mod e2e {
    mod audit;
    mod bulk;
    mod configurations;
    mod connections;
    mod conversions;
    mod crash;
    mod dumps;
    mod encodings;
    mod fences;
    mod field;
    mod formats;
    mod jobs;
    mod joins;
    mod loads;
    mod mapping_changes;
    mod memory;
    mod nesting;
    mod offsets;
    mod outages;
    mod partitions;
    mod progress;
    mod real_example;
    mod reasons;
    mod registries;
    mod rejects;
    mod restart_and_drop;
    mod scan;
    mod scan_json;
    mod schedule;
    mod schema_ids;
    mod statistics;
    mod targets;
    mod terminations;
    mod tokens;
    mod topics;
    mod triggers;
    mod undecodable;
    mod while_running_ddl;
}
