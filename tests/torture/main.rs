//! Torture: numbered messages travel through a job into a keyed table while everything around it
//! dies, stops, waits or is locked, in an order that a seed repeats. After each fault loading has to
//! go on; at the end nothing is lost, nothing twice, nothing left over. Run by `pg_test/torture`.

mod checks;
mod dice;
mod faults;
mod processes;
mod producer;
mod stage;

use dice::Dice;
use faults::{OUTAGES, Plan, Stroke};
use gpss_testbed::eventually;
use processes::Watch;
use producer::Producer;
use stage::Stage;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

/// A run ends when it has lasted this long and has had this many faults.
struct Options {
    seed: u64,
    seconds: u64,
    faults: u64,
    only: String,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let now = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_millis());
        let mut options = Options {
            seed: now as u64 % 1_000_000,
            seconds: 1800,
            faults: 300,
            only: String::new(),
        };
        while let Some(name) = args.next() {
            if name == "--only" {
                options.only = args.next().ok_or("--only wants a part of a fault's name")?;
                continue;
            }
            let place = match name.as_str() {
                "--seed" => &mut options.seed,
                "--seconds" => &mut options.seconds,
                "--faults" => &mut options.faults,
                _ => return Err(format!("unknown argument {name}")),
            };
            let value = args.next().and_then(|value| value.parse().ok());
            *place = value.ok_or_else(|| format!("{name} wants a number"))?;
        }
        Ok(options)
    }
}

/// What has happened so far.
struct Report {
    begun: Instant,
    faults: BTreeMap<String, u64>,
    longest: Duration,
    watch: Watch,
    /// Messages sent, good and bad.
    sent: (i64, i64),
}

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!(
                "{error}\nusage: torture [--seed N] [--seconds N] [--faults N] [--only NAME]"
            );
            return ExitCode::from(2);
        }
    };
    println!(
        "torture --seed {} --seconds {} --faults {}",
        options.seed, options.seconds, options.faults
    );
    let mut report = Report {
        begun: Instant::now(),
        faults: BTreeMap::new(),
        longest: Duration::ZERO,
        watch: Watch::default(),
        sent: (0, 0),
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| torture(&options, &mut report)))
        .unwrap_or_else(|_| Err("panicked, see above".to_owned()));
    report.print();
    // In the words of libtest, which pg_test/run-tests counts.
    match outcome {
        Ok(()) => {
            println!("seed {}: PASS\ntest result: ok. 1 passed; 0 failed", options.seed);
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{error}");
            println!("seed {}: FAIL\ntest result: FAILED. 0 passed; 1 failed", options.seed);
            ExitCode::FAILURE
        }
    }
}

fn torture(options: &Options, report: &mut Report) -> Result<(), String> {
    let stage = Stage::set();
    let mut plan = Plan::new(Dice::new(options.seed), options.only.clone())
        .ok_or_else(|| format!("no fault is called {}", options.only))?;
    let dice = Dice::new(!options.seed);
    let producer = Producer::start(stage.topic.brokers(), &stage.topic.name, dice);
    stage.await_loaded(1)?;
    report.begun = Instant::now();
    while report.begun.elapsed().as_secs() < options.seconds || report.count() < options.faults {
        report.suffer(&plan.next(), &stage, &producer)?;
    }
    // Loaders that live through outages one after the other: these have to hold no more at the end.
    for fault in OUTAGES.repeat(1 + options.seconds as usize / 600) {
        report.suffer(&plan.only(fault), &stage, &producer)?;
    }
    finish(&stage, producer, report)
}

fn finish(stage: &Stage, producer: Producer, report: &mut Report) -> Result<(), String> {
    let ledger = producer.ledger.clone();
    producer.finish()?;
    let bad = ledger.bad().len() as i64;
    report.sent = (ledger.sent() - bad, bad);
    checks::topic(stage, &ledger)?;
    stage.await_loaded(ledger.sent())?;
    report.watch.look(stage)?;
    checks::errors(stage, &ledger)?;
    checks::rows(stage, &ledger)?;
    checks::books(stage, &ledger)?;
    stage.db.sql("SELECT gpss.stop_job('numbers')");
    eventually("the scheduler leaves", 10, || stage.pids("gpss scheduler").is_empty());
    checks::leftovers(stage)?;
    checks::log(stage, report.count())
}

impl Report {
    fn count(&self) -> u64 {
        self.faults.values().sum()
    }

    /// One stroke; loading goes on afterwards.
    fn suffer(
        &mut self,
        stroke: &Stroke,
        stage: &Stage,
        producer: &Producer,
    ) -> Result<(), String> {
        println!("{:7.1} s  {stroke}", self.begun.elapsed().as_secs_f64());
        for fault in stroke.strike(stage, &producer.ledger) {
            *self.faults.entry(fault.to_string()).or_default() += 1;
        }
        let took = stage
            .await_loaded(producer.ledger.sent())
            .map_err(|error| format!("after {stroke}: {error}"))?;
        println!("{:7.1} s    goes on after {took:.1?}", self.begun.elapsed().as_secs_f64());
        self.longest = self.longest.max(took);
        self.watch.look(stage)?;
        sleep(stroke.pause);
        Ok(())
    }

    fn print(&self) {
        println!("{} faults in {:.0?}:", self.count(), self.begun.elapsed());
        for (fault, count) in &self.faults {
            println!("{count:5}  {fault}");
        }
        println!("longest wait for loading to go on: {:.1?}", self.longest);
        println!("messages: {} good, {} bad", self.sent.0, self.sent.1);
        print!("{}", self.watch.summary());
    }
}
