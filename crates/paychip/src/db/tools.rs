//! PostgreSQL's own programs: which to run, and what they say when they fail.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::fault::Fault;

/// Where Debian and Ubuntu keep the programs of each version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// Folders that are looked into for a program.
const MAX_FOLDERS: usize = 256;
/// What a program says that is kept, bytes.
const KEPT_LEN: u64 = 64 * 1024;
/// The end of that which is told, characters.
const TOLD_LEN: usize = 600;

/// One of PostgreSQL's programs.
pub(super) struct Tool {
    name: &'static str,
    path: PathBuf,
}

impl Tool {
    /// The oldest that does for a server of this version, in `PATH` or where the system keeps each version: what a newer one
    /// writes may be for newer servers alone.
    pub(super) fn find(name: &'static str, server_major: u32) -> Result<Self, Fault> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let versions =
            std::fs::read_dir(VERSIONS).into_iter().flatten().flatten().map(|version| version.path().join("bin"));
        Self::find_in(std::env::split_paths(&path).chain(versions), name, server_major)
    }

    fn find_in(folders: impl Iterator<Item = PathBuf>, name: &'static str, server_major: u32) -> Result<Self, Fault> {
        let paths = folders.take(MAX_FOLDERS).map(|folder| folder.join(name)).filter(|path| path.is_file());
        let known: Vec<(u32, PathBuf)> = paths.filter_map(|path| Some((major_of(&path)?, path))).collect();
        let newest = known.iter().map(|(major, _)| *major).max();
        let enough = known.into_iter().filter(|(major, _)| *major >= server_major).min_by_key(|(major, _)| *major);
        let Some((_, path)) = enough else {
            let found = newest.map_or_else(|| "none is there".to_owned(), |major| format!("the newest is of {major}"));
            let why = format!("{name} of PostgreSQL {server_major} or newer is needed, and {found}");
            let hint = format!(
                "install PostgreSQL's client programs (on Debian and Ubuntu: postgresql-client-{server_major}); they are \
                 looked for in PATH and in {VERSIONS}/*/bin"
            );
            return Err(Fault::new("tool_missing", why).hint(hint));
        };
        Ok(Self { name, path })
    }

    /// The program with this environment. What this program's own says of PostgreSQL or of keys does not reach it.
    pub(super) fn command(&self, environment: &[(&'static str, OsString)]) -> Command {
        let mut command = Command::new(&self.path);
        let ours = |name: &OsString| ["PG", "PAYCHIP_"].iter().any(|begin| name.to_string_lossy().starts_with(begin));
        std::env::vars_os().filter(|(name, _)| ours(name)).for_each(|(name, _)| {
            command.env_remove(name);
        });
        command.envs(environment.iter().map(|(name, value)| (name, value))).env("LC_ALL", "C");
        command
    }

    /// Runs it to its end, however long that takes: as long as there is data.
    pub(super) fn run(&self, mut command: Command) -> Result<(), Fault> {
        let failed = |why: String| Fault::new("tool_failed", format!("{}: {why}", self.name));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        let mut said = Vec::new();
        if let Some(mut stderr) = child.stderr.take() {
            // The rest is read as well: nobody waits for a reader that has gone.
            let kept = stderr.by_ref().take(KEPT_LEN).read_to_end(&mut said);
            let rest = std::io::copy(&mut stderr, &mut std::io::sink());
            kept.and(rest.map(|_| 0)).map_err(|error| failed(error.to_string()))?;
        }
        let status = child.wait().map_err(|error| failed(error.to_string()))?;
        if status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&said);
        let skipped = said.chars().count().saturating_sub(TOLD_LEN);
        let end: String = said.chars().skip(skipped).collect();
        Err(failed(format!("{status}: {}", end.trim())))
    }
}

/// The version of a program: 15 of `pg_dump (PostgreSQL) 15.4 (Debian 15.4-1)`. None of what does not say.
fn major_of(path: &Path) -> Option<u32> {
    let output = Command::new(path).arg("--version").env("LC_ALL", "C").stdin(Stdio::null()).output().ok()?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = told.split_once("(PostgreSQL) ")?.1;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok().filter(|_| output.status.success())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A folder with a program that says to be of this version.
    fn with_version(parent: &Path, version: &str) -> PathBuf {
        let folder = parent.join(version);
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("pg_dump");
        let text = format!("#!/bin/sh\necho 'pg_dump (PostgreSQL) {version}.3 (Debian {version}.3-1)'\n");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        folder
    }

    #[test]
    fn the_oldest_program_that_does_is_taken_and_none_older_than_the_server() {
        let parent = tempfile::tempdir().unwrap();
        let folders = ["17", "14", "16"].map(|version| with_version(parent.path(), version));
        let find = |major| Tool::find_in(folders.clone().into_iter(), "pg_dump", major);
        assert_eq!(find(15).unwrap().path, parent.path().join("16/pg_dump"));
        assert_eq!(find(17).unwrap().path, parent.path().join("17/pg_dump"));
        let newer = find(18).err().unwrap();
        assert!(newer.code == "tool_missing" && newer.message.contains("the newest is of 17"), "{newer}");
        let none = Tool::find_in(folders.into_iter(), "pg_restore", 15).err().unwrap();
        assert!(
            none.message.contains("pg_restore of PostgreSQL 15") && none.message.contains("none is there"),
            "{none}"
        );
    }

    #[test]
    fn what_a_program_says_is_told_in_its_last_lines_and_not_without_end() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("pg_dump");
        std::fs::write(&path, "#!/bin/sh\nseq 1 60000 >&2\necho \"it is $PGHOST\" >&2\nexit 3\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let tool = Tool { name: "pg_dump", path };
        let fault = tool.run(tool.command(&[("PGHOST", "here".into())])).unwrap_err();
        assert!(fault.code == "tool_failed" && fault.message.contains("exit status: 3"), "{fault}");
        assert!(fault.message.len() < 2 * TOLD_LEN, "{fault}");
    }
}
