//! `cargo xtask firmware`: builds the chip's RISC-V images and runs the tests that need them in QEMU.
//!
//! The compiler is the one at hand where the target is installed for it or can be added; else Debian's, which brings
//! the source of `core` along and builds that too. What is missing is installed where that is possible, else named.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::elf::{self, Sizes};
use crate::process::{cargo, finish, printed, program, root, run, target};
use crate::tools;

const TARGET: &str = "riscv32imac-unknown-none-elf";
/// Debian's compiler, for machines where no target can be added to another.
const DEBIAN_COMPILER: &str = "/usr/bin/rustc";
const DEBIAN_PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];
/// Linkers for it, the better one first; a release of Debian may have only one of them.
const DEBIAN_LINKERS: [&str; 2] = ["lld-19", "lld-16"];

/// One image.
pub(crate) struct Image {
    /// The name of its file.
    pub(crate) name: &'static str,
    features: &'static str,
    /// Whether flash is worth more than speed in it.
    smallest: bool,
}

/// What an image gives up of its speed for flash: registers are saved in one place for all functions
/// (`board/src/registers.rs`), and what makes a code is compiled for size.
const SMALLEST: [&str; 6] = [
    "target.riscv32imac-unknown-none-elf.rustflags=['-C', 'target-feature=+save-restore']",
    "profile.release.package.aes.opt-level='s'",
    "profile.release.package.cipher.opt-level='s'",
    "profile.release.package.blockcipher.opt-level='s'",
    "profile.release.package.board.opt-level='z'",
    "profile.release.package.paycode.opt-level='s'",
];

/// What a maker begins with: codes of the international suite, attestation on P-256.
pub(crate) const PRODUCT: Image =
    Image { name: "paychip-riscv", features: "emv,fast-crc,international,long-keys,p256", smallest: false };
/// What is smallest: no device key, no EMV QR codes, AES-128 only.
pub(crate) const SMALL: Image = Image { name: "paychip-riscv-small", features: "international", smallest: true };
/// Both suites, as the tests want them.
const BOTH_SUITES: Image = Image {
    name: "paychip-riscv-both-suites",
    features: "emv,fast-crc,international,chinese,long-keys,p256",
    smallest: false,
};
/// The product, telling what it counts.
pub(crate) const MEASURING: Image = Image {
    name: "paychip-riscv-measure",
    features: "emv,fast-crc,international,long-keys,p256,measure",
    smallest: false,
};
/// The small one, telling what it counts.
pub(crate) const SMALL_MEASURING: Image =
    Image { name: "paychip-riscv-small-measure", features: "international,measure", smallest: true };

/// The tests that run an image. Of the whole workspace, so that they are those that have been built for all the tests: of one
/// package, what it stands on would be built anew with the features that it alone needs.
pub(crate) const IN_QEMU: [&str; 6] = ["test", "--locked", "--workspace", "--test", "program", "riscv::"];

/// Builds what is shipped, and runs the tests.
pub(crate) fn build_and_test() -> Result<(), String> {
    for image in [PRODUCT, SMALL] {
        let (path, sizes) = build(&image)?;
        println!("{}: {} bytes of flash, {} of RAM beside the stack", path.display(), sizes.flash, sizes.ram);
    }
    let (path, _) = build(&BOTH_SUITES)?;
    emulator_is_there()?;
    let mut tests = cargo(&IN_QEMU);
    tests.env("PAYCHIP_IMAGE", path);
    run(tests)
}

/// Builds an image; says where it is and how large.
pub(crate) fn build(image: &Image) -> Result<(PathBuf, Sizes), String> {
    let folder = target().join("firmware");
    let folder_text = folder.to_string_lossy().into_owned();
    let mut command =
        cargo(&["build", "--locked", "--quiet", "--release", "--target", TARGET, "--no-default-features"]);
    command.args(["--features", image.features, "--target-dir", &folder_text]);
    if image.smallest {
        for setting in SMALLEST {
            command.args(["--config", setting]);
        }
    }
    command.current_dir(root().join("firmware/riscv"));
    choose_compiler(&mut command)?;
    run(command)?;
    let built = folder.join(TARGET).join("release/paychip-riscv");
    let path = folder.join(image.name);
    std::fs::copy(&built, &path).map_err(|error| format!("{}: {error}", built.display()))?;
    let sizes = elf::sizes(&path)?;
    Ok((path, sizes))
}

/// Fails where QEMU is missing, and says how to get it.
pub(crate) fn emulator_is_there() -> Result<(), String> {
    printed(program("qemu-system-riscv32", &["--version"])).map(drop).map_err(|why| {
        format!("{why}; the images are tested in QEMU: on Debian and Ubuntu, `apt-get install qemu-system-misc`")
    })
}

fn choose_compiler(command: &mut Command) -> Result<(), String> {
    if is_installed() || add_target() {
        return Ok(());
    }
    if tools::can_install() {
        install_debian_compiler()?;
    }
    let (true, Some(linker)) = (is_core_there(), linker()) else {
        return Err(format!(
            "no compiler here builds for {TARGET}: `rustup target add {TARGET}`, or on Debian `apt-get install {} {}`",
            DEBIAN_PACKAGES.join(" "),
            DEBIAN_LINKERS[0],
        ));
    };
    println!("the target {TARGET} can't be installed here: building `core` with Debian's compiler");
    command.env("RUSTC", DEBIAN_COMPILER).env("RUSTC_BOOTSTRAP", "1").args(["-Z", "build-std=core"]);
    command.args(["--config", &format!("target.{TARGET}.linker='{linker}'")]);
    Ok(())
}

fn is_installed() -> bool {
    let libraries = printed(program("rustc", &["--print", "target-libdir", "--target", TARGET]));
    libraries.is_ok_and(|folder| Path::new(folder.trim()).is_dir())
}

fn add_target() -> bool {
    finish(program("rustup", &["target", "add", TARGET])).is_ok_and(|finished| finished.ok) && is_installed()
}

/// Installs what is missing of Debian's compiler, the source of `core` and a linker.
fn install_debian_compiler() -> Result<(), String> {
    if !is_core_there() {
        println!("the target {TARGET} can't be installed here: installing {}", DEBIAN_PACKAGES.join(" and "));
        DEBIAN_PACKAGES.into_iter().try_for_each(tools::install)?;
    }
    if linker().is_none() && !DEBIAN_LINKERS.into_iter().any(|package| tools::install(package).is_ok()) {
        return Err(format!("none of {} can be installed", DEBIAN_LINKERS.join(", ")));
    }
    Ok(())
}

fn is_core_there() -> bool {
    let sources = printed(program(DEBIAN_COMPILER, &["--print", "sysroot"]));
    sources.is_ok_and(|root| Path::new(root.trim()).join("lib/rustlib/src/rust/library/core").is_dir())
}

/// A linker that shortens RISC-V calls: LLVM's from version 15 on, which Debian names by its version.
fn linker() -> Option<&'static str> {
    ["ld.lld-22", "ld.lld-19", "ld.lld-16", "ld.lld-15"]
        .into_iter()
        .find(|name| printed(program(name, &["--version"])).is_ok())
}
