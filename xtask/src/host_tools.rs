//! What other people's hosts bring to the tests of a chip in a PC/SC reader (`crates/paychip/tests/pcsc.rs`): a daemon
//! with a virtual reader, OpenSC, and a Python with pyscard and yubikit. Installed where that is possible (as root on
//! Debian). Nothing of it is needed to build or to run the program; tests name what they miss and are skipped.

use crate::process::{printed, program, run, target};
use crate::tools::{can_install, install};

/// Debian packages. The last three compile pyscard.
const PACKAGES: [&str; 6] = ["pcscd", "vsmartcard-vpcd", "opensc", "python3-venv", "swig", "libpcsclite-dev"];
/// PyPI packages, as they were tested.
const PYTHON_PACKAGES: [&str; 2] = ["pyscard==2.3.1", "yubikey-manager==5.9.2"];

/// Installs all of it: packages from Debian, and a Python environment in the build folder, where the tests look for it.
pub(crate) fn provide() -> Result<(), String> {
    if !can_install() {
        return Err(format!(
            "only root on Debian can install the hosts of the PC/SC tests. By hand: {}, and in a Python: {}",
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

fn is_installed(package: &str) -> bool {
    let query = ["--show", "--showformat=${db:Status-Status}", package];
    printed(program("dpkg-query", &query)).is_ok_and(|status| status == "installed")
}
