//! `cargo xtask fuzz`: the fuzz targets' entries under large budgets, in this machine's own test programs: nothing but
//! cargo is needed. Optimised, with overflow and debug assertions on.

use std::collections::BTreeMap;

use crate::process::{cargo, run, target};

/// The default budget of the chip, in commands.
const COMMANDS: u64 = 1_000_000;
/// The parsers get a tenth of the chip's budget: an input of theirs is a whole session, or a whole message.
const PARSERS_SHARE: u64 = 10;

/// What is fuzzed: the package, its test program, the features it needs.
const TARGETS: [(&str, &str, &[&str]); 3] =
    [("tlv", "parser", &[]), ("protocol", "unwrap", &[]), ("chip", "fuzz", &["--features", "virtual"])];

/// Reads the options, and runs every target.
pub(crate) fn campaign(options: &[&str]) -> Result<(), String> {
    let mut given = BTreeMap::new();
    let (pairs, rest) = options.as_chunks::<2>();
    for [name, value] in pairs {
        let number: u64 = value.parse().map_err(|_| format!("{name} wants a number, not '{value}'"))?;
        given.insert(*name, number);
    }
    let unknown = given.keys().copied().chain(rest.iter().copied());
    if let Some(unknown) = unknown.into_iter().find(|name| !["--commands", "--seconds", "--seed"].contains(name)) {
        return Err(format!("fuzz takes --commands N, --seconds N and --seed N, not '{unknown}'"));
    }
    if !rest.is_empty() {
        return Err(format!("{} wants a number", rest.join(" ")));
    }
    let seed = given.get("--seed").copied().unwrap_or(1);
    for (package, test, features) in TARGETS {
        println!("\n{package}, seed {seed}");
        let mut tests = cargo(&["test", "--locked", "--release", "--package", package, "--test", test]);
        tests.args(features).arg("--target-dir").arg(target().join("campaign"));
        tests.args(["--", "--ignored", "--nocapture", "the_campaign"]);
        tests.envs([
            ("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true"),
            ("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "true"),
        ]);
        tests.env("PAYCHIP_FUZZ_SEED", seed.to_string());
        let is_chip = package == "chip";
        if let Some(seconds) = given.get("--seconds") {
            let parsers = seconds / PARSERS_SHARE;
            let seconds = if is_chip { seconds - 2 * parsers } else { parsers };
            tests.env("PAYCHIP_FUZZ_SECONDS", seconds.to_string());
        }
        let most = given.get("--commands").copied().or((!given.contains_key("--seconds")).then_some(COMMANDS));
        if let Some(commands) = most {
            let commands = if is_chip { commands } else { commands / PARSERS_SHARE };
            tests.env("PAYCHIP_FUZZ_COMMANDS", commands.to_string());
        }
        run(tests)?;
    }
    Ok(())
}
