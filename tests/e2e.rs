//! The end-to-end suite: a real PostgreSQL and a real Kafka, spoken to by psql and kcat as a user
//! would. Run by `pg_test/e2e`; the names of the tests are the specification.

mod e2e {
    mod audit;
    mod bad_messages;
    mod bulk;
    mod changes;
    mod configurations;
    mod connections;
    mod conversions;
    mod dumps;
    mod encodings;
    mod errors;
    mod fences;
    mod field;
    mod formats;
    mod jobs;
    mod joins;
    mod life;
    mod lifecycle;
    mod loads;
    mod memory;
    mod nesting;
    mod offsets;
    mod partitions;
    mod progress;
    mod real_example;
    mod reasons;
    mod registries;
    mod scan;
    mod scan_json;
    mod schedule;
    mod schema_ids;
    mod statistics;
    mod surroundings;
    mod survival;
    mod targets;
    mod terminations;
    mod tokens;
    mod topics;
    mod triggers;
}
