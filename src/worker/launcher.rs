//! The launcher: once after server start it gives each database a scheduler, one after the other;
//! those of databases with nothing to run leave at once. Then it leaves too.

use crate::catalog::processes;
use crate::pg::bgworker::{self, Status};
use crate::pg::{caught, databases, latch, signals};
use std::time::Duration;

const STARTUP: Duration = Duration::from_secs(30);
/// A scheduler that lives this long has found something to run.
const SETTLE: Duration = Duration::from_millis(500);
const NO_SLOT: Duration = Duration::from_secs(5);

/// Registers the process, when the library is loaded at server start.
pub fn register() {
    if bgworker::preloading() {
        processes::register_launcher();
    }
}

/// Entry point of the process.
pub fn main() {
    signals::install_die();
    bgworker::connect_shared();
    let databases = match databases::connectable() {
        Ok(databases) => databases,
        Err(error) => {
            caught::log(format!("gpss launcher: {error}"));
            return;
        }
    };
    for database in databases {
        let mut told = false;
        loop {
            match processes::start_scheduler(database, None) {
                Ok(handle) => {
                    // One at a time: a server with many databases has fewer worker slots.
                    if handle.wait_for_startup(STARTUP) != Status::Stopped {
                        handle.wait_for_shutdown(SETTLE);
                    }
                    break;
                }
                Err(error) => {
                    if !told {
                        caught::log(format!("gpss launcher: {error}"));
                        told = true;
                    }
                    latch::wait(NO_SLOT, None);
                    signals::check_for_interrupts();
                }
            }
        }
    }
}
