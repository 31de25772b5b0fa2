//! Keeps Rust's backtraces out of PostgreSQL's reports.

use std::backtrace::Backtrace;
use std::env;
use std::ffi::OsStr;

/// What std takes first of the two variables that ask for backtraces.
const VARIABLE: &str = "RUST_LIB_BACKTRACE";

/// Whatever the server's environment says, no report of this process and its children has a backtrace.
///
/// pgrx appends what std has captured to the DETAIL of every ERROR: clients would see it, the same
/// error would have another text each time, and a column or stage could not be told from it. std
/// asks the environment at the first capture and remembers the answer (`Backtrace::capture`), so that one
/// is made here. What a panicking thread writes to the server's log is not touched.
pub fn disable() {
    let before = env::var_os(VARIABLE);
    if before.is_none() && env::var_os("RUST_BACKTRACE").is_none() {
        return;
    }
    set(Some(OsStr::new("0")));
    let _ = Backtrace::capture();
    set(before.as_deref());
}

fn set(value: Option<&OsStr>) {
    // SAFETY: std::env: no other thread may use the environment. The main thread alone loads libraries,
    // in the postmaster or before anything of this one runs.
    unsafe {
        match value {
            Some(value) => env::set_var(VARIABLE, value),
            None => env::remove_var(VARIABLE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::backtrace::BacktraceStatus;
    use std::process::Command;

    #[test]
    fn the_environment_asks_in_vain() {
        // std remembers: each case needs a process of its own.
        const CASE: &str = "GPSS_TEST_BACKTRACE";
        if env::var_os(CASE).is_some() {
            let asked = env::var_os(VARIABLE);
            disable();
            assert_eq!(Backtrace::capture().status(), BacktraceStatus::Disabled);
            assert_eq!(env::var_os(VARIABLE), asked);
            return;
        }
        for (library, all) in [(None, "1"), (None, "full"), (Some("1"), "0")] {
            let mut child = Command::new(env::current_exe().expect("a path"));
            child.args(["--exact", "pg::backtrace::tests::the_environment_asks_in_vain"]);
            child.env(CASE, "").env("RUST_BACKTRACE", all).env_remove(VARIABLE);
            child.envs(library.map(|value| (VARIABLE, value)));
            let output = child.output().expect("this test");
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success() && said.contains("1 passed"), "{said}");
        }
    }
}
