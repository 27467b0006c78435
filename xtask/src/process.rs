//! Other programs, run from the root of the repository. What goes wrong comes back as a sentence.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often a command with a limit is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

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

/// The same; one that takes longer is ended with everything it has started. What hangs is then told by name, by who
/// knows the name, before somebody further out loses patience and tells nothing.
pub(crate) fn run_within(mut command: Command, limit: Duration) -> Result<(), String> {
    let mut child = command.spawn().map_err(|error| not_started(&command, &error))?;
    let until = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("`{}` failed ({status})", shown(&command))),
            Ok(None) if Instant::now() < until => std::thread::sleep(LOOK_EVERY),
            Ok(None) => {
                end_with_descendants(&mut child);
                return Err(format!("`{}` hangs: ended after {} s", shown(&command), limit.as_secs()));
            }
            Err(error) => return Err(format!("`{}` cannot be waited for: {error}", shown(&command))),
        }
    }
}

/// Ends a process and those below it, children first found, parents first ended.
fn end_with_descendants(child: &mut Child) {
    let mut family = vec![child.id().to_string()];
    let listed = finish(program("ps", &["-A", "-o", "ppid=,pid="])).map(|listed| listed.stdout).unwrap_or_default();
    let pairs: Vec<(&str, &str)> = listed.lines().filter_map(|line| line.trim().split_once(' ')).collect();
    let mut looked_at = 0;
    while let Some(parent) = family.get(looked_at).cloned() {
        let children = pairs.iter().filter(|(of, _)| *of == parent);
        family.extend(children.map(|(_, pid)| pid.trim().to_owned()));
        looked_at += 1;
    }
    let mut kill = program("kill", &["-KILL"]);
    // Those that have ended meanwhile are no matter.
    drop(kill.args(&family).stderr(Stdio::null()).status());
    drop(child.kill());
    drop(child.wait());
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
    use std::time::{Duration, Instant};

    use super::{finish, program, run_within};

    #[test]
    fn what_hangs_is_ended_with_what_it_started() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("pid");
        let script = format!("sleep 1000 & echo $! >{}; wait", file.display());
        let begun = Instant::now();
        let told = run_within(program("sh", &["-c", &script]), Duration::from_secs(1)).expect_err("it hangs");
        assert!(told.contains("hangs: ended after 1 s"), "{told}");
        let below = std::fs::read_to_string(&file).expect("the script has begun");
        let state = || finish(program("ps", &["-o", "stat=", "-p", below.trim()])).expect("ps").stdout;
        while !matches!(state().trim(), "" | "Z") {
            assert!(begun.elapsed() < Duration::from_secs(60), "what it started goes on");
        }
    }

    #[test]
    fn what_ends_in_time_is_told_as_it_ended() {
        assert_eq!(run_within(program("true", &[]), Duration::from_secs(60)), Ok(()));
        assert!(run_within(program("false", &[]), Duration::from_secs(60)).expect_err("fails").contains("failed"));
    }
}
