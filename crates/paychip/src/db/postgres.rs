//! Copies of a PostgreSQL database, by `pg_dump` and `pg_restore` (docs/decisions/0027).

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use store::postgres::{Moment, PostgresReader, PostgresUrl, Target};
use store::{Audit, Queries};

use super::tools::Tool;
use super::{failed, tell, tell_copied};
use crate::fault::Fault;
use crate::output::Output;

/// How often it is looked whether those who are connected leave, and how far apart: a program that has ended is gone at the
/// database a moment later.
const LOOKS: u32 = 40;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Copies the database as it is at one moment, and audits it as it was at that moment. The file is there only when it is
/// whole, has been read back, and is on the disk.
pub(super) fn backup(url: &PostgresUrl, to: &Path, output: Output) -> Result<(), Fault> {
    let moment = Moment::take(url).map_err(|error| failed(&error))?;
    if moment.is_spread() {
        let fault =
            Fault::new("database_spread", "a Citus cluster is not copied through its coordinator").at("database");
        return Err(fault.hint(
            "each machine has a moment of its own there; copy every node with pg_basebackup and its log, and restore all \
             of them to one restore point (docs/operations.md)",
        ));
    }
    if to.exists() {
        return Err(Fault::file(to, "is there already").at("file"));
    }
    let (dump, check) =
        (Tool::find("pg_dump", moment.server_major())?, Tool::find("pg_restore", moment.server_major())?);
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Its owner's alone, as everything made this way is.
    let part = tempfile::Builder::new().prefix(".paychip-").suffix(".part").tempfile_in(folder);
    let part = part.map_err(|error| Fault::file(folder, error))?;
    let scratch = scratch()?;
    let environment = url.for_libpq(scratch.path()).map_err(|error| failed(&error))?;

    let (snapshot, file) = (format!("--snapshot={}", moment.snapshot()), part.path());
    let mut command = dump.command(&environment);
    command.args(["--format=custom", "--schema=paychip", "--no-password", &snapshot, "--file"]).arg(file);
    dump.run(command)?;
    read_through(&check, file)?;
    let reader = PostgresReader::open_at(url, &moment).map_err(|error| failed(&error))?;
    let audit = Queries::new(Box::new(reader)).audit().map_err(|error| failed(&error))?;

    part.as_file().sync_all().map_err(|error| Fault::file(to, error))?;
    part.persist_noclobber(to).map_err(|error| Fault::file(to, error.error))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| Fault::file(folder, error))?;
    tell_copied(to, output);
    tell(&audit, output)
}

/// How many connections of servers are there, and do not leave within two seconds.
fn those_who_stay(target: &Target) -> Result<i64, Fault> {
    let mut others = target.others().map_err(|error| failed(&error))?;
    for _ in 0..LOOKS {
        if others == 0 {
            break;
        }
        std::thread::sleep(BETWEEN_LOOKS);
        others = target.others().map_err(|error| failed(&error))?;
    }
    Ok(others)
}

/// Puts a copy into a database. What was there is back unless the copy is whole and sound.
pub(super) fn restore(url: &PostgresUrl, copy: &Path, replace: bool, output: Output) -> Result<(), Fault> {
    File::open(copy).map_err(|error| Fault::file(copy, error).at("file"))?;
    let mut target = Target::open(url).map_err(|error| failed(&error))?;
    let others = those_who_stay(&target)?;
    if others > 0 {
        let fault =
            Fault::new("database_in_use", format!("{others} connections of servers are open there")).at("database");
        return Err(fault.hint("stop every server of this database first"));
    }
    if !replace && target.holds_data().map_err(|error| failed(&error))? {
        let fault = Fault::new("database_used", "there is data in this database already").at("database");
        return Err(fault.hint("restore into an empty database; or say --replace, and what is there is gone for ever"));
    }
    let tool = Tool::find("pg_restore", target.server_major())?;
    read_through(&tool, copy)?;
    let scratch = scratch()?;
    let environment = url.for_libpq(scratch.path()).map_err(|error| failed(&error))?;

    target.set_aside().map_err(|error| failed(&error))?;
    let restored = put_in(url, &mut target, &tool, &environment, copy);
    match restored {
        Ok(audit) if audit.findings.is_empty() => {
            target.forget_before().map_err(|error| failed(&error))?;
            tell(&audit, output)
        }
        unsound => {
            target.put_back().map_err(|error| failed(&error))?;
            unsound.and_then(|audit| tell(&audit, output))
        }
    }
}

fn put_in(
    url: &PostgresUrl,
    target: &mut Target,
    tool: &Tool,
    environment: &[(&'static str, std::ffi::OsString)],
    copy: &Path,
) -> Result<Audit, Fault> {
    let mut command = tool.command(environment);
    command.args(["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", "--schema=paychip"]);
    // A name alone could be read as more than a name.
    let quoted = url.database_name().replace('\\', "\\\\").replace('\'', "\\'");
    command.args(["--no-password", &format!("--dbname=dbname='{quoted}'")]).arg(copy);
    tool.run(command)?;
    target.migrate().map_err(|error| failed(&error))?;
    super::audit_postgres(url)
}

/// Has the tool read every byte of a copy, to find one that is cut off or damaged.
fn read_through(tool: &Tool, copy: &Path) -> Result<(), Fault> {
    let mut command = tool.command(&[]);
    command.arg("--file=/dev/null").arg(copy);
    tool.run(command).map_err(|fault| fault.at("file"))
}

fn scratch() -> Result<tempfile::TempDir, Fault> {
    tempfile::Builder::new().prefix("paychip-").tempdir().map_err(|error| Fault::file(&std::env::temp_dir(), error))
}
