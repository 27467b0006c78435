//! What a developer runs, as `cargo xtask COMMAND`.
//!
//! | file | what |
//! |---|---|
//! | `everything` | `test`: every check in order, stopping at the first that fails |
//! | `no_std` | the crates for chip and wearable build without std, and the check would notice if not |
//! | `arrows` | which crate may depend on which |
//! | `threat_model` | every test that the threat model names exists |
//! | `tools` | the programs the run needs, installed or named |
//! | `host_tools` | other people's PC/SC hosts, for the tests that use them |
//! | `demo` | the demonstration in one process, its picture read by a scanner that is not ours |
//! | `vectors` | writes the specification's test vectors anew |
//! | `fuzz` | the fuzz targets' entries under a large budget, without libFuzzer |
//! | `simulate` | watches, tills and servers in a hostile world, by seed |
//! | `firmware`, `elf` | builds the chip's RISC-V images, tells their sizes, runs their tests in QEMU |
//! | `bench_chip` | flash, RAM, instructions and power cuts of the chip, held to budgets |
//! | `bench_platform`, `postgres` | payments a second on both engines, beside an empty handler and TPC-B |
//! | `page` | tables that are written into `docs/measurements.md` |
//! | `steps`, `process` | how steps are announced and timed; how other programs are run |
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "telling the developer is what it is for")]

mod arrows;
mod bench_chip;
mod bench_platform;
mod demo;
mod elf;
mod everything;
mod firmware;
mod fuzz;
mod host_tools;
mod no_std;
mod page;
mod postgres;
mod process;
mod simulate;
mod steps;
mod threat_model;
mod tools;
mod vectors;

use std::process::ExitCode;

use everything::Extent;

const HELP: &str = "\
Usage: cargo xtask COMMAND

  test            every check: tools, dependency arrows, no-std builds, all tests, documentation, fuzz targets,
                  the demonstration and its picture
    --quick       without the release build: no demonstration
    --long        tests that take a budget take a large one (they see PAYCHIP_LONG=1)
  host-tools      install what the PC/SC and PKCS#11 tests need (as root on Debian)
  no-std          only the no-std builds
  arrows          only the dependency arrows
  threat-model    only that every test which docs/threat-model.md names exists
  demo            only the demonstration and its picture
  vectors         write spec/vectors anew, after a change to the specification
  fuzz            fuzz chip, channel and TLV: a million commands, and every rule of the chip's life watched
    --commands N  another number of commands
    --seconds N   so long instead, or at most
    --seed N      other inputs; the same seed gives the same
  simulate        watches, tills and servers with lost messages, crashes and full disks, faster than real time
    --seed N      one seed; the same seed does exactly the same
    --seeds N     seeds 1 to N
    --steps N     events of each seed; with --trace everything that happens is printed
  firmware        build the chip's RISC-V images and run their tests in QEMU
  bench chip      measure the chip in its RISC-V image, and hold the numbers to their budgets
    --json FILE   write the numbers there as well
  bench platform  measure payments on both engines, beside an empty handler and pgbench's TPC-B
    --quick       one size of database; ends within three minutes
    --tokens N    this size of database; may be said several times
    --json FILE   write the numbers there as well
  help            this text
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["test"] => everything::run(Extent::Full),
        ["test", "--quick"] => everything::run(Extent::Quick),
        ["test", "--long"] => everything::run(Extent::Long),
        ["host-tools"] => host_tools::provide(),
        ["no-std"] => no_std::check(),
        ["arrows"] => arrows::check(),
        ["threat-model"] => threat_model::check(),
        ["demo"] => demo::check(),
        ["vectors"] => vectors::regenerate(),
        ["fuzz", options @ ..] => fuzz::campaign(options),
        ["simulate", options @ ..] => simulate::run(options),
        ["firmware"] => firmware::build_and_test(),
        ["bench", "chip"] => bench_chip::run(None),
        ["bench", "chip", "--json", path] => bench_chip::run(Some(path)),
        ["bench", "platform", options @ ..] => bench_platform(options),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        _ => Err(format!("there is no such command: {}\n\n{HELP}", words.join(" "))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("xtask: {sentence}");
            ExitCode::FAILURE
        }
    }
}

fn bench_platform(words: &[&str]) -> Result<(), String> {
    let mut options = bench_platform::Options::default();
    let mut rest = words;
    loop {
        rest = match rest {
            [] => return bench_platform::measure(&options),
            ["--quick", rest @ ..] => {
                options.is_quick = true;
                rest
            }
            ["--tokens", count, rest @ ..] => {
                options.tokens.push(count.parse().map_err(|_| format!("--tokens takes a number, not {count}"))?);
                rest
            }
            ["--json", path, rest @ ..] => {
                options.json = Some(*path);
                rest
            }
            [other, ..] => return Err(format!("there is no such option: {other}\n\n{HELP}")),
        };
    }
}
