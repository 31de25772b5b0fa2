//! The processes of the server, as the system sees them: what they hold must not grow.

use crate::stage::Stage;
use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// Private memory of a loader; a debug build, two queues of 16 MB and a batch.
const LOADER_MIB: u64 = 128;
/// Descriptors and threads may vary by so much: connections to brokers come and go.
const SLACK: u64 = 4;

#[derive(Clone, Copy, Debug)]
struct Figures {
    /// But for the data files, which the server keeps open as it likes.
    descriptors: u64,
    threads: u64,
    mib: u64,
}

fn figures(pid: i64, data: &Path) -> Option<Figures> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| -> Option<u64> {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let open = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    Some(Figures {
        descriptors: open.filter(|target| !target.starts_with(data)).count() as u64,
        threads: field("Threads:")?,
        mib: field("RssAnon:")? / 1024,
    })
}

/// First and latest figures of each process.
#[derive(Default)]
pub struct Watch {
    seen: HashMap<(i64, &'static str), (Figures, Figures, u32)>,
}

impl Watch {
    /// To be called when loading goes on: then a new process has warmed up.
    pub fn look(&mut self, stage: &Stage) -> Result<(), String> {
        let data = stage.cluster.data();
        let mut living: Vec<_> =
            postmaster(&data).map(|pid| (pid, "postmaster")).into_iter().collect();
        living.extend(stage.pids("gpss loader").into_iter().map(|pid| (pid, "loader")));
        living.extend(stage.pids("gpss scheduler").into_iter().map(|pid| (pid, "scheduler")));
        for process in living {
            let Some(now) = figures(process.0, &data) else { continue };
            let (first, last, looks) = self.seen.entry(process).or_insert((now, now, 0));
            *last = now;
            *looks += 1;
            let grown = now.descriptors > first.descriptors + SLACK
                || now.threads > first.threads + SLACK
                || now.mib > LOADER_MIB;
            if grown {
                return Err(format!("{process:?} has grown from {first:?} to {now:?}"));
            }
        }
        Ok(())
    }

    /// Of each kind the process that was seen most often.
    pub fn summary(&self) -> String {
        ["postmaster", "scheduler", "loader"]
            .iter()
            .filter_map(|kind| {
                let of_kind = self.seen.iter().filter(|((_, k), _)| k == kind);
                let (_, (first, last, looks)) = of_kind.max_by_key(|(_, (.., looks))| *looks)?;
                Some(format!("{kind}, {looks} looks: {first:?} to {last:?}\n"))
            })
            .collect()
    }
}

fn postmaster(data: &Path) -> Option<i64> {
    fs::read_to_string(data.join("postmaster.pid")).ok()?.lines().next()?.parse().ok()
}

/// The titles of all processes of the server that are ours: all work in its data directory.
pub fn ours(data: &Path) -> Vec<String> {
    let Ok(processes) = fs::read_dir("/proc") else { return vec![] };
    processes
        .filter_map(|entry| {
            let process = entry.ok()?.path();
            if fs::read_link(process.join("cwd")).ok()? != data {
                return None;
            }
            let title = fs::read(process.join("cmdline")).ok()?;
            let title = String::from_utf8_lossy(&title).replace('\0', " ");
            (title.starts_with("postgres: ") && title.contains("gpss ")).then_some(title)
        })
        .collect()
}
