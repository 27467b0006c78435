//! `cargo xtask simulate`: the simulation, optimised.

use crate::process::{cargo, program, run as run_command, target};

/// Seeds of the full run: well within a minute.
const A_FEW: &str = "60";

/// Passes the options on.
pub(crate) fn run(options: &[&str]) -> Result<(), String> {
    let mut simulate =
        cargo(&["run", "--locked", "--release", "--quiet", "--package", "simulation", "--bin", "simulate"]);
    simulate.arg("--").args(options);
    run_command(simulate)
}

/// The seeds of the full run. Built together with the program that the demonstration runs: each by itself would have what
/// both stand on built with the options that it alone needs, and so twice.
pub(crate) fn a_few_seeds() -> Result<(), String> {
    run_command(cargo(&["build", "--locked", "--release", "--package", "paychip", "--package", "simulation"]))?;
    let simulate = target().join("release").join(format!("simulate{}", std::env::consts::EXE_SUFFIX));
    run_command(program(&simulate.to_string_lossy(), &["--seeds", A_FEW]))
}
