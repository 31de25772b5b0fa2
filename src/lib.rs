//! gpss: loads Kafka topics into PostgreSQL tables from inside the database, exactly once.
//! ARCHITECTURE.md has the plan of the house.

#![deny(unsafe_code)]

mod api;
mod catalog;
#[allow(unsafe_code)] // exported C symbols
mod entry;
mod fdw;
mod gucs;
mod install;
mod load;
#[allow(unsafe_code)]
mod pg;
mod worker;

use pgrx::prelude::*;

pgrx::pg_module_magic!();

/// Runs when the library is loaded: at server start with shared_preload_libraries, else at first
/// use in a session or worker.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    pg::backtrace::disable();
    gucs::init();
    gpss_kafka::before_clients(pg::exit::leave_without_atexit);
    worker::launcher::register();
}

/// What `cargo pgrx test` asks for.
#[cfg(test)]
pub mod pg_test {
    pub fn setup(_options: Vec<&str>) {}

    #[must_use]
    pub fn postgresql_conf_options() -> Vec<&'static str> {
        vec!["shared_preload_libraries = 'gpss'"]
    }
}
