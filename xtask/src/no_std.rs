//! The crates for chip and wearable build without std.
//!
//! Three checks. The probe (`no-std-probe/`) links all of them into a program that brings its own panic handler:
//! std would bring a second one, which is an error. The probe is then built with std let in on purpose, and must
//! fail: so the first check is known to see. And where a target for bare metal is installed, the crates are built
//! for it too: there is no std for it at all.

use crate::process::{cargo, finish, printed, program, run, target};

const PROBE: &str = "xtask/no-std-probe/Cargo.toml";
/// The crates that must do without std.
const CRATES: [&str; 7] = ["blockcipher", "tlv", "paycode", "protocol", "uart", "chip", "wearable"];
/// What the compiler says when there are two panic handlers.
const TWO_HANDLERS: &str = "found duplicate lang item `panic_impl`";

/// Runs the three checks.
pub(crate) fn check() -> Result<(), String> {
    let folder = target().join("no-std-probe");
    let folder = folder.to_string_lossy();
    let probe = |verb: &'static str| [verb, "--locked", "--manifest-path", PROBE, "--target-dir", &folder];

    run(cargo(&probe("build"))).map_err(|_| "a crate for chip or wearable pulls in std; see above".to_owned())?;
    println!("the probe links {} without std", CRATES.join(", "));

    let sabotaged = finish(cargo(&[&probe("check")[..], &["--features", "let-std-in"]].concat()))?;
    if sabotaged.ok || !sabotaged.stderr.contains(TWO_HANDLERS) {
        return Err(format!("the probe does not notice std when it is let in:\n{}", sabotaged.stderr.trim_end()));
    }
    println!("the probe refuses std when it is let in");

    for bare in bare_metal_targets() {
        let packages = CRATES.iter().flat_map(|name| ["--package", name]);
        let arguments: Vec<&str> = ["build", "--locked", "--target", &bare].into_iter().chain(packages).collect();
        run(cargo(&arguments)).map_err(|_| format!("the crates do not build for {bare}; see above"))?;
        println!("built for {bare}");
    }
    Ok(())
}

/// The installed targets that have no operating system, and so no std.
fn bare_metal_targets() -> Vec<String> {
    // Without rustup (a compiler from a distribution), the probe alone must do.
    let installed = printed(program("rustup", &["target", "list", "--installed"])).unwrap_or_default();
    let bare: Vec<String> = installed.lines().filter(|name| is_bare_metal(name)).map(str::to_owned).collect();
    if bare.is_empty() {
        println!("no target for bare metal is installed; `rustup target add riscv32imac-unknown-none-elf` adds one");
    }
    bare
}

fn is_bare_metal(target: &str) -> bool {
    target.split('-').any(|part| part == "none")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_without_an_operating_system_are_told_from_others() {
        for (target, bare) in [
            ("riscv32imac-unknown-none-elf", true),
            ("thumbv7em-none-eabihf", true),
            ("x86_64-unknown-linux-gnu", false),
            ("wasm32-unknown-unknown", false),
        ] {
            assert_eq!(is_bare_metal(target), bare, "{target}");
        }
    }
}
