//! A shell command run by this process, as the server itself runs `archive_command`.
//!
//! The child gets nothing of the server but its environment, its working directory and, for what it
//! writes, the server's own output: signals are as a login shell has them, and every descriptor of
//! ours is closed (before PostgreSQL 16 data files are opened without O_CLOEXEC).

use std::ffi::c_int;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::pg::caught::caught;
use crate::pg::{latch, signals};
use gpss_model::error::{Error, Result, SqlState};

/// What is run, and how.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// For `/bin/sh -c`.
    pub command: &'a str,
    /// None: the data directory, to which a relative one belongs too.
    pub workdir: Option<&'a str>,
    /// Added to the server's environment.
    pub environment: &'a [(&'a str, String)],
    /// None: it may take its time.
    pub timeout: Option<Duration>,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With exit status 0.
    Well,
    /// With another one, or by a signal.
    Badly(String),
    /// The time was up: it and its children were killed.
    TimedOut,
    /// This process was told to stop or cancelled: it and its children were killed.
    Stopped,
}

/// Longest wait between two looks at the child and at interrupts.
const LOOK: Duration = Duration::from_millis(50);

/// No more than an environment may hold, with room for all.
const LONGEST_VALUE: usize = 8 * 1024;

/// Runs it and waits. What it leaves running in the background after a normal end is left alone.
///
/// # Errors
/// 58000 when it cannot be started (the working directory is not there, no process is left).
pub fn run(program: &Program<'_>) -> Result<Ended> {
    let started = Instant::now();
    let mut group = Group::start(program).map_err(|error| {
        Error::new(SqlState::new("58000"), "could not start the command").detail(error.to_string())
    })?;
    loop {
        match group.child.try_wait() {
            Ok(Some(status)) => {
                group.reaped = true;
                return Ok(ended(status));
            }
            Ok(None) => {}
            Err(error) => {
                return Err(Error::new(SqlState::new("58000"), "could not wait for the command")
                    .detail(error.to_string()));
            }
        }
        if signals::stop_requested() {
            return Ok(Ended::Stopped);
        }
        if program.timeout.is_some_and(|timeout| started.elapsed() >= timeout) {
            return Ok(Ended::TimedOut);
        }
        let interrupted = caught(|| {
            latch::wait(LOOK, None);
            signals::check_for_interrupts();
            Ok(())
        });
        if interrupted.is_err() {
            return Ok(Ended::Stopped);
        }
    }
}

fn ended(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ended::Well,
        (Some(code), _) => Ended::Badly(format!("exit status {code}")),
        (None, Some(signal)) => Ended::Badly(format!("signal {signal}")),
        (None, None) => Ended::Badly(status.to_string()),
    }
}

/// A child that leads a process group; dropped before its end, all of the group is killed.
struct Group {
    child: Child,
    reaped: bool,
}

impl Group {
    fn start(program: &Program<'_>) -> io::Result<Group> {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(program.command.replace('\0', ""));
        for (name, value) in program.environment {
            command.env(name, variable(value));
        }
        if let Some(workdir) = program.workdir {
            command.current_dir(workdir);
        }
        command.process_group(0).stdin(Stdio::null());
        // SAFETY: std: between fork and exec only calls that are async-signal-safe and allocate
        // nothing; `as_for_a_shell` makes no others.
        unsafe { command.pre_exec(as_for_a_shell) };
        Ok(Group { child: command.spawn()?, reaped: false })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        if let Ok(leader) = c_int::try_from(self.child.id()) {
            // SAFETY: kill(2): the leader has not been reaped, so the group's number is still its.
            unsafe { libc::kill(-leader, libc::SIGKILL) };
        }
        let _ = self.child.wait();
    }
}

/// As it fits into an environment: without NUL, not too long, no character cut in two.
fn variable(value: &str) -> String {
    let mut value = value.replace('\0', "");
    value.truncate(value.floor_char_boundary(LONGEST_VALUE));
    value
}

/// In the child: a server process has signals blocked and ignored (SIGPIPE, SIGUSR2, SIGXFSZ), and
/// descriptors that are no program's business.
fn as_for_a_shell() -> io::Result<()> {
    // SAFETY: signal(2), sigprocmask(2), close_range(2), fcntl(2), getdtablesize(3): the first four
    // are system calls on our own structures and numbers, the last one reads a limit. A signal
    // that may not be changed (SIGKILL) and a descriptor that is not open give an error that does not
    // matter. std's own pipe, by which it hears of a failing exec, is closed by the exec already.
    unsafe {
        for signal in 1..=libc::SIGRTMAX() {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
        let first: libc::c_uint = 3;
        let flags = libc::CLOSE_RANGE_CLOEXEC;
        // By its number: a C library older than the kernel has no function for it.
        if libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, flags) != 0 {
            for descriptor in 3..libc::getdtablesize().clamp(3, 65_536) {
                libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_fits_into_an_environment() {
        assert_eq!(variable("a\0b"), "ab");
        let long = format!("x{}", "é".repeat(LONGEST_VALUE));
        let cut = variable(&long);
        assert!(cut.len() == LONGEST_VALUE - 1 && long.starts_with(&cut));
    }

    #[test]
    fn an_end_is_told_as_the_shell_tells_it() {
        assert_eq!(ended(ExitStatus::from_raw(0)), Ended::Well);
        assert_eq!(ended(ExitStatus::from_raw(3 << 8)), Ended::Badly("exit status 3".into()));
        assert_eq!(ended(ExitStatus::from_raw(9)), Ended::Badly("signal 9".into()));
    }
}
