//! `cargo xtask test`: everything that must hold, cheapest first.

use std::time::Duration;

use crate::process::{self, cargo, target};
use crate::steps::Steps;
use crate::{arrows, bench_chip, demo, firmware, host_tools, no_std, simulate, threat_model, tools};

/// How much is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Without the release build, and without what needs an emulator.
    Quick,
    /// Everything.
    Full,
    /// Everything, and large budgets for the tests that take one.
    Long,
}

/// The longest that a step may take, building included; the longest takes a quarter of that on two cores.
const STEP_LIMIT: Duration = Duration::from_secs(40 * 60);
/// The same with large budgets.
const LONG_STEP_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

type Step = (&'static str, fn() -> Result<(), String>);

const QUICK_TOOLS: Step = ("the tools this run needs", tools::check_quick);
const ALL_TOOLS: Step = ("the tools this run needs", tools::check);

/// Runs every check in order.
pub(crate) fn run(extent: Extent) -> Result<(), String> {
    let tests: Step = match extent {
        Extent::Long => ("every test, with large budgets", long_tests),
        Extent::Quick | Extent::Full => ("every test", tests),
    };
    let mut list: Vec<Step> = vec![
        if extent == Extent::Quick { QUICK_TOOLS } else { ALL_TOOLS },
        ("other people's hosts and tokens for the PC/SC and PKCS#11 tests", host_tools::offer),
        ("who may depend on whom", arrows::check),
        ("the tests that the threat model names", threat_model::check),
        ("chip and wearable without std", no_std::check),
        tests,
        ("documentation, warnings denied", documentation),
        ("the fuzz targets compile", fuzz_targets),
    ];
    if extent != Extent::Quick {
        list.push(("the simulation: a few seeds of a hostile world", simulate::a_few_seeds));
        list.push(("the chip's RISC-V images, run in QEMU", firmware::build_and_test));
        list.push(("the images within their budgets of flash, RAM and instructions", bench_chip::check));
        list.push(("the demonstration, and its picture read by another's scanner", demo::check));
    }
    let limit = if extent == Extent::Long { LONG_STEP_LIMIT } else { STEP_LIMIT };
    let mut steps = Steps::new(list.len(), limit);
    for (name, work) in list {
        steps.step(name, work)?;
    }
    steps.end();
    Ok(())
}

fn tests() -> Result<(), String> {
    test_with(&[])
}

fn long_tests() -> Result<(), String> {
    test_with(&[("PAYCHIP_LONG", "1")])
}

fn test_with(budget: &[(&str, &str)]) -> Result<(), String> {
    let mut variables = budget.to_vec();
    // The first step has made sure of it.
    variables.push(("PAYCHIP_REQUIRE_POSTGRES", "1"));
    if crate::postgres::has_citus() {
        variables.push(("PAYCHIP_REQUIRE_CITUS", "1"));
    }
    if host_tools::are_provided() {
        variables.push((host_tools::REQUIRE, "1"));
    }
    if host_tools::has_token() {
        variables.push((host_tools::REQUIRE_TOKEN, "1"));
    }
    run_cargo(&["test", "--locked", "--workspace"], &variables)
}

fn documentation() -> Result<(), String> {
    run_cargo(&["doc", "--locked", "--no-deps", "--workspace"], &[("RUSTDOCFLAGS", "-D warnings")])
}

/// Running them needs cargo-fuzz (fuzz/README.md); compiling them does not.
fn fuzz_targets() -> Result<(), String> {
    let folder = target().join("fuzz");
    let folder = folder.to_string_lossy();
    let arguments = ["check", "--locked", "--manifest-path", "fuzz/Cargo.toml", "--target-dir", &*folder];
    run_cargo(&arguments, &[("RUSTC_BOOTSTRAP", "1")])
}

fn run_cargo(arguments: &[&str], variables: &[(&str, &str)]) -> Result<(), String> {
    let mut command = cargo(arguments);
    command.envs(variables.iter().copied());
    process::run(command)
}
