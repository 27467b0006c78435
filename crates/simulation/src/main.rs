//! `simulate`: runs seeds, and says what came of them.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "telling the developer is what it is for")]

use std::process::ExitCode;
use std::time::Instant;

use simulation::{Report, simulate};

const HELP: &str = "\
Usage: simulate --seed N | --seeds N [--from N]  [--steps N] [--trace]

  --seed N    one seed; the same seed does the same
  --seeds N   seeds 1 to N
  --from N    begin at this seed
  --steps N   events before each world comes to rest, 20,000 unless told
  --trace     print everything that happens
";

/// Events of a seed where nobody says how many.
const STEPS: u64 = 20_000;

struct Options {
    first: u64,
    last: u64,
    steps: u64,
    keep_trace: bool,
}

fn options(words: &[String]) -> Result<Options, String> {
    let mut options = Options { first: 1, last: 0, steps: STEPS, keep_trace: false };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--trace" {
            options.keep_trace = true;
            continue;
        }
        let value = words.next().and_then(|value| value.parse::<u64>().ok());
        let value = value.ok_or_else(|| format!("{word} wants a number"))?;
        match word.as_str() {
            "--seed" => (options.first, options.last) = (value, value),
            "--seeds" => options.last = value,
            "--from" => options.first = value,
            "--steps" => options.steps = value,
            _ => return Err(format!("there is no {word}")),
        }
    }
    if options.last < options.first { Err("it wants --seed N or --seeds N".to_owned()) } else { Ok(options) }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let options = match options(&words) {
        Ok(options) => options,
        Err(sentence) => {
            eprintln!("simulate: {sentence}\n\n{HELP}");
            return ExitCode::FAILURE;
        }
    };
    let started = Instant::now();
    let mut all = Report::default();
    let (mut passed, mut failed) = (0_u64, 0_u64);
    for seed in options.first..=options.last {
        let report = simulate(seed, options.steps, options.keep_trace);
        report.trace.iter().for_each(|line| println!("{line}"));
        all.add(&report);
        match &report.violation {
            None => passed += 1,
            Some(violation) => {
                failed += 1;
                println!("seed {seed}, step {}: {violation}", report.steps);
                println!("again: cargo xtask simulate --seed {seed} --steps {} --trace\n", options.steps);
            }
        }
        if options.first == options.last {
            println!("seed {seed}: trace {}", report.trace_hash);
        }
    }
    println!(
        "{} seeds, {} steps, {} faults, {} simulated hours, {} watches, {} tills, {} payments, in {:.1} s",
        passed + failed,
        all.steps,
        all.faults.total(),
        all.hours(),
        all.watches,
        all.tills,
        all.paid,
        started.elapsed().as_secs_f64()
    );
    for (fault, times) in all.faults.iter() {
        println!("  {times:>9} {}", fault.name());
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
