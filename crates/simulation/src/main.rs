//! `simulate`: runs seeds, and says what came of them.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "telling the developer is what it is for")]

use std::process::ExitCode;
use std::time::Instant;

use simulation::bindings::{Counts, each_message_under_each_attack, simulate_bindings};
use simulation::{Faults, Report, simulate};

const HELP: &str = "\
Usage: simulate --seed N | --seeds N [--from N]  [--steps N] [--trace]

  --seed N    one seed; the same seed does the same
  --seeds N   seeds 1 to N
  --from N    begin at this seed
  --steps N   events before each world comes to rest, 20,000 unless told
  --trace     print everything that happens

Bindings, a world of their own:
  --bindings N [--seed S]   worlds from seed S on (1 unless told), until N bindings were begun
  --systematic              each message of a binding under each attack in turn

  --help      this text
";

/// Events of a seed where nobody says how many.
const STEPS: u64 = 20_000;

struct Options {
    first: u64,
    last: u64,
    steps: u64,
    keep_trace: bool,
    bindings: Option<u64>,
    systematic: bool,
}

fn options(words: &[String]) -> Result<Options, String> {
    let mut options = Options { first: 1, last: 0, steps: STEPS, keep_trace: false, bindings: None, systematic: false };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--trace" {
            options.keep_trace = true;
            continue;
        }
        if word == "--systematic" {
            options.systematic = true;
            continue;
        }
        if !["--seed", "--seeds", "--from", "--steps", "--bindings"].contains(&word.as_str()) {
            return Err(format!("there is no {word}"));
        }
        let value = words.next().and_then(|value| value.parse::<u64>().ok());
        let value = value.ok_or_else(|| format!("{word} wants a number"))?;
        match word.as_str() {
            "--seed" => (options.first, options.last) = (value, value),
            "--seeds" => options.last = value,
            "--from" => options.first = value,
            "--steps" => options.steps = value,
            _ => options.bindings = Some(value),
        }
    }
    if options.bindings.is_some() || options.systematic {
        return Ok(options);
    }
    if options.last < options.first { Err("it wants --seed N or --seeds N".to_owned()) } else { Ok(options) }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| ["--help", "-h", "help"].contains(&word.as_str())) {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let options = match options(&words) {
        Ok(options) => options,
        Err(sentence) => {
            eprintln!("simulate: {sentence}\n\n{HELP}");
            return ExitCode::FAILURE;
        }
    };
    if options.systematic {
        return systematic(&options);
    }
    if let Some(bindings) = options.bindings {
        return run_bindings(&options, bindings);
    }
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

/// Worlds of bindings, from a seed on.
fn run_bindings(options: &Options, bindings: u64) -> ExitCode {
    let started = Instant::now();
    let (mut all, mut faults) = (Counts::default(), Faults::default());
    let (mut worlds, mut steps, mut failed) = (0_u64, 0_u64, 0_u64);
    while all.bindings < bindings {
        let seed = options.first + worlds;
        let report = simulate_bindings(seed, options.keep_trace);
        report.trace.iter().for_each(|line| println!("{line}"));
        all.add(&report.counts);
        faults.add(&report.faults);
        (worlds, steps) = (worlds + 1, steps + report.steps);
        if let Some(violation) = &report.violation {
            failed += 1;
            println!("seed {seed}, step {}: {violation}", report.steps);
            println!("again: cargo xtask simulate --bindings 1 --seed {seed} --trace\n");
            if report.counts.bindings == 0 {
                break;
            }
        }
        if bindings == 1 {
            println!("seed {seed}: trace {}", report.trace_hash);
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let Counts { bindings, done, failed: ended, refused, syncs, synced, codes, told, .. } = all;
    println!(
        "{bindings} bindings in {worlds} worlds, {steps} steps, {} faults, in {seconds:.1} s",
        all.faults() + faults.total()
    );
    println!(
        "  {done} done, {ended} failed, {refused} refused; {synced} of {syncs} syncs done; {codes} codes tried at tills, {told} results told"
    );
    for (times, what) in [
        (all.attacks, "messages dropped, repeated, swapped, cut, altered, forged"),
        (all.frames, "frames lost or damaged"),
        (all.lost, "requests and answers lost"),
        (all.repeated, "requests that came twice"),
        (all.power_cuts, "power cuts within a command of the chip"),
        (all.silences, "answers of the chip lost, and resets"),
        (all.reboots, "reboots and broken links"),
    ] {
        println!("  {times:>9} {what}");
    }
    for (fault, times) in faults.iter() {
        println!("  {times:>9} {}", fault.name());
    }
    println!("{} worlds passed, {failed} failed", worlds - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Each message under each attack.
fn systematic(options: &Options) -> ExitCode {
    let started = Instant::now();
    let all = each_message_under_each_attack(options.first, 1);
    println!(
        "{} messages, {} attacks on them: {} bound all the same, {} failed and bound nobody, in {:.1} s",
        all.messages,
        all.cases,
        all.bound,
        all.failed,
        started.elapsed().as_secs_f64()
    );
    match all.violation {
        None => ExitCode::SUCCESS,
        Some(violation) => {
            println!("{violation}");
            ExitCode::FAILURE
        }
    }
}
