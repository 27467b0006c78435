//! `cargo xtask simulate`: the simulation, optimised.

use crate::process::{cargo, run as run_command};

/// Seeds of the full run: well within a minute.
const A_FEW: &str = "60";

/// Passes the options on.
pub(crate) fn run(options: &[&str]) -> Result<(), String> {
    let mut simulate =
        cargo(&["run", "--locked", "--release", "--quiet", "--package", "simulation", "--bin", "simulate"]);
    simulate.arg("--").args(options);
    run_command(simulate)
}

/// The seeds of the full run.
pub(crate) fn a_few_seeds() -> Result<(), String> {
    run(&["--seeds", A_FEW])
}
