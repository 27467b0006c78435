//! What other people's hosts bring to the tests of a chip in a PC/SC reader (`crates/paychip/tests/program/pcsc.rs`): a daemon
//! with a virtual reader, OpenSC, and a Python with pyscard and yubikit; and the token of the tests of master keys in one
//! (`crates/paychip/tests/program/pkcs11.rs`). Installed where that is possible (as root on
//! Debian). Nothing of it is needed to build or to run the program; tests name what they miss and are skipped.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::process::{printed, program, run, target};
use crate::tools::{can_install, install};

/// A PKCS#11 token in software.
const TOKEN: &str = "softhsm2";
/// Debian packages. The last four compile pyscard.
const PACKAGES: [&str; 9] =
    [TOKEN, "pcscd", "vsmartcard-vpcd", "opensc", "iproute2", "python3-venv", "python3-dev", "swig", "libpcsclite-dev"];
/// PyPI packages, as they were tested.
const PYTHON_PACKAGES: [&str; 2] = ["pyscard==2.3.1", "yubikey-manager==5.9.2"];

/// Set in the tests' environment once everything is here: then a test that misses something fails.
pub(crate) const REQUIRE: &str = "PAYCHIP_REQUIRE_HOSTS";

static PROVIDED: AtomicBool = AtomicBool::new(false);

/// The same for the token.
pub(crate) const REQUIRE_TOKEN: &str = "PAYCHIP_REQUIRE_SOFTHSM";

/// Whether the token's package is installed.
pub(crate) fn has_token() -> bool {
    is_installed(TOKEN)
}

/// Whether [`offer`] could provide everything in this run.
pub(crate) fn are_provided() -> bool {
    PROVIDED.load(Ordering::Acquire)
}

/// Provides the hosts where that is possible; where it is not, says what is missing and goes on: the tests that need
/// them then say by name that they were skipped.
pub(crate) fn offer() -> Result<(), String> {
    match provide().and_then(|()| isolation()) {
        Ok(()) => PROVIDED.store(true, Ordering::Release),
        Err(sentence) => println!("not all here: {sentence}"),
    }
    Ok(())
}

/// Installs all of it: packages from Debian, and a Python environment in the build folder, where the tests look for it.
pub(crate) fn provide() -> Result<(), String> {
    if !can_install() {
        return Err(format!(
            "only root on Debian can install the hosts of the PC/SC and PKCS#11 tests. By hand: {}, and in a Python: {}",
            PACKAGES.join(", "),
            PYTHON_PACKAGES.join(", ")
        ));
    }
    for package in PACKAGES {
        if !is_installed(package) {
            install(package)?;
        }
    }
    let environment = target().join("host-tools");
    let environment = environment.to_string_lossy();
    let python = format!("{environment}/bin/python3");
    let imports = ["-c", "import smartcard, yubikit.core.smartcard.scp"];
    if printed(program(&python, &imports)).is_ok() {
        println!("the Python of the PC/SC tests is here");
        return Ok(());
    }
    run(program("/usr/bin/python3", &["-m", "venv", &environment]))?;
    let mut pip = vec!["-m", "pip", "install", "--quiet"];
    pip.extend(PYTHON_PACKAGES);
    run(program(&python, &pip))
}

/// Each test gives its daemon a mount and a network of its own, which a container may forbid even to root.
fn isolation() -> Result<(), String> {
    printed(program("unshare", &["--mount", "--net", "true"]))
        .map(drop)
        .map_err(|_| "this machine allows no mount and network of one's own (`unshare --mount --net`)".to_owned())
}

fn is_installed(package: &str) -> bool {
    let query = ["--show", "--showformat=${db:Status-Status}", package];
    printed(program("dpkg-query", &query)).is_ok_and(|status| status == "installed")
}
