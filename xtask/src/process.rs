//! Other programs, run from the root of the repository. What goes wrong comes back as a sentence.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    // xtask lies one folder below it.
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// The folder that builds go to.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// A program, to be run in the root of the repository with no input.
pub(crate) fn program(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(arguments).current_dir(root()).stdin(Stdio::null());
    command
}

/// The cargo that runs this program.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    program(&cargo, arguments)
}

/// Runs a command whose output the developer sees.
pub(crate) fn run(mut command: Command) -> Result<(), String> {
    let status = command.status().map_err(|error| not_started(&command, &error))?;
    if status.success() { Ok(()) } else { Err(format!("`{}` failed ({status})", shown(&command))) }
}

/// Ends every program below this one.
pub(crate) fn end_descendants() {
    let below = descendants(std::process::id());
    // Those that have ended meanwhile are no matter.
    drop(program("kill", &["-KILL"]).args(&below).stderr(Stdio::null()).status());
}

/// The processes below one, nearest first.
fn descendants(of: u32) -> Vec<String> {
    let listed = finish(program("ps", &["-A", "-o", "ppid=,pid="])).map(|listed| listed.stdout).unwrap_or_default();
    let pairs: Vec<(&str, &str)> =
        listed.lines().filter_map(|line| line.trim().split_once(' ')).map(|(of, pid)| (of, pid.trim())).collect();
    let of = of.to_string();
    let mut family = vec![of.as_str()];
    let mut looked_at = 0;
    while let Some(parent) = family.get(looked_at).copied() {
        family.extend(pairs.iter().filter(|(of, _)| *of == parent).map(|(_, pid)| *pid));
        looked_at += 1;
    }
    family.into_iter().skip(1).map(str::to_owned).collect()
}

/// What a finished command printed, and whether it succeeded.
pub(crate) struct Finished {
    pub(crate) ok: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command and keeps its output.
pub(crate) fn finish(mut command: Command) -> Result<Finished, String> {
    let output = command.output().map_err(|error| not_started(&command, &error))?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Finished { ok: output.status.success(), stdout: text(output.stdout), stderr: text(output.stderr) })
}

/// Runs a command that must succeed, and returns what it printed.
pub(crate) fn printed(command: Command) -> Result<String, String> {
    let name = shown(&command);
    let finished = finish(command)?;
    if finished.ok { Ok(finished.stdout) } else { Err(format!("`{name}` failed:\n{}", finished.stderr.trim_end())) }
}

fn not_started(command: &Command, error: &std::io::Error) -> String {
    format!("`{}` could not be started: {error}", shown(command))
}

/// A command as a developer would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    use super::{descendants, program};

    #[test]
    fn who_was_started_by_whom_was_started_is_found() {
        let script = "sh -c 'sleep 1000 & echo $!; wait' & wait";
        let mut shell = program("sh", &["-c", script]).stdout(Stdio::piped()).spawn().expect("a shell");
        let mut grandchild = String::new();
        let said = shell.stdout.take().expect("piped");
        BufReader::new(said).read_line(&mut grandchild).expect("its number");
        let below = descendants(shell.id());
        // Both shells end with it.
        let ended = program("kill", &["-KILL", grandchild.trim()]).status().expect("kill");
        assert!(ended.success() && shell.wait().is_ok());
        assert_eq!((below.len(), below.last().map(String::as_str)), (2, Some(grandchild.trim())));
    }
}
