//! The programs a full run needs besides cargo. What is missing is installed where that is possible (as root on
//! Debian), else named with the way to get it.

use std::path::Path;
use std::process::Stdio;

use crate::process::{printed, program, run};

/// A program, how it shows that it is there, and the Debian package that brings it.
struct Tool {
    name: &'static str,
    version_flag: &'static str,
    package: &'static str,
    purpose: &'static str,
}

/// What any run needs.
const TOOLS: [Tool; 5] = [
    Tool { name: "cc", version_flag: "--version", package: "gcc", purpose: "compiles SQLite" },
    Tool { name: "c++", version_flag: "--version", package: "g++", purpose: "compiles the fuzzer's runtime" },
    Tool { name: "postgres", version_flag: "--version", package: "postgresql", purpose: "keeps several servers' data" },
    Tool { name: "openssl", version_flag: "version", package: "openssl", purpose: "checks our certificates" },
    Tool { name: "zbarimg", version_flag: "--version", package: "zbar-tools", purpose: "reads the pictures we draw" },
];

/// What only the chip's images need, which a quick run does not build.
const EMULATOR: Tool = Tool {
    name: "qemu-system-riscv32",
    version_flag: "--version",
    package: "qemu-system-misc",
    purpose: "runs the chip's image",
};

/// Provides every tool.
pub(crate) fn check() -> Result<(), String> {
    check_quick()?;
    provide(&EMULATOR)
}

/// Provides the tools of a quick run.
pub(crate) fn check_quick() -> Result<(), String> {
    TOOLS.iter().try_for_each(provide)
}

fn provide(tool: &Tool) -> Result<(), String> {
    if is_there(tool) {
        println!("{} is here ({})", tool.name, tool.purpose);
        return Ok(());
    }
    if !can_install() {
        return Err(missing(tool));
    }
    println!("{} is missing ({}): installing {}", tool.name, tool.purpose, tool.package);
    install(tool.package)?;
    if is_there(tool) { Ok(()) } else { Err(missing(tool)) }
}

fn missing(tool: &Tool) -> String {
    format!(
        "`{}` is missing; it {}. On Debian and Ubuntu: `apt-get install {}`; elsewhere, the package of that name",
        tool.name, tool.purpose, tool.package
    )
}

fn is_there(tool: &Tool) -> bool {
    if tool.name == "postgres" {
        // Not in the path of programs: there may be several versions.
        return crate::postgres::newest().is_ok();
    }
    let mut command = program(tool.name, &[tool.version_flag]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

pub(crate) fn can_install() -> bool {
    let is_root = printed(program("id", &["-u"])).is_ok_and(|id| id.trim() == "0");
    is_root && Path::new("/etc/debian_version").exists()
}

pub(crate) fn install(package: &str) -> Result<(), String> {
    let get = |arguments: &[&str]| {
        let mut command = program("apt-get", arguments);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        run(command)
    };
    // The first try fails where no list of packages has been fetched yet, or an old one.
    get(&["install", "-y", "-q", package]).or_else(|_| {
        get(&["update", "-q"])?;
        get(&["install", "-y", "-q", package])
    })
}
