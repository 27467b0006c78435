//! The database itself: made, audited without asking a cloud, copied while one runs, put back where it is gone.

mod postgres;
mod tools;

use std::path::Path;

use serde_json::json;
use server::Database;
use store::postgres::{PostgresReader, PostgresUrl};
use store::sqlite::SqliteEngine;
use store::{Audit, Queries};

use crate::cli::{DatabaseUrl, DbCommand};
use crate::fault::Fault;
use crate::output::Output;
use crate::profile::Place;

fn failed(error: &store::StoreError) -> Fault {
    Fault::new("database", error.to_string())
}

/// Audits the database in the data folder.
pub(crate) fn verify(place: &Place, keys: &server::Keys, output: Output) -> Result<(), Fault> {
    let data = server::Data::open_existing(&place.data, keys).map_err(|error| crate::serve::start_fault(&error))?;
    let audit = data.queries.audit().map_err(|error| failed(&error));
    data.close();
    tell(&audit?, output)
}

/// Audits a PostgreSQL database. It needs no keys: what is sealed and chained is so without secrets.
pub(crate) fn verify_postgres(url: &PostgresUrl, output: Output) -> Result<(), Fault> {
    tell(&audit_postgres(url)?, output)
}

fn audit_postgres(url: &PostgresUrl) -> Result<Audit, Fault> {
    let reader = PostgresReader::open(url).map_err(|error| failed(&error))?;
    Queries::new(Box::new(reader)).audit().map_err(|error| failed(&error))
}

fn tell(audit: &Audit, output: Output) -> Result<(), Fault> {
    let findings: Vec<String> = audit.findings.iter().map(ToString::to_string).collect();
    let mut lines = format!("{} journal records and {} rows read", audit.records, audit.rows);
    for (currency, sums) in &audit.trial {
        lines.push_str(&format!("; {currency}: debits {} = credits {}", sums.debit_minor, sums.credit_minor));
    }
    for finding in &findings {
        lines.push_str(&format!("\n  UNSOUND: {finding}"));
    }
    // As the API says it: sums are texts, since they may be larger than a number of JSON holds.
    let trial = audit.trial.iter().map(|(currency, sums)| {
        let (debit, credit) = (sums.debit_minor.to_string(), sums.credit_minor.to_string());
        json!({"currency": currency.to_string(), "debit": debit, "credit": credit})
    });
    let answer = json!({
        "sound": findings.is_empty(), "records": audit.records, "rows": audit.rows, "findings": findings,
        "trial_balance": trial.collect::<Vec<_>>(),
    });
    output.answer(&lines, &answer);
    if findings.is_empty() { Ok(()) } else { Err(Fault::new("books_unsound", "the books are not sound")) }
}

pub(crate) fn run(place: &Place, command: &DbCommand, output: Output) -> Result<(), Fault> {
    match command {
        DbCommand::Init { database, citus: Some(Some(url)), homes } => {
            let is_said_twice = database.database.as_ref().is_some_and(|known| known != url);
            if is_said_twice {
                return Err(Fault::new("database_url", "two databases are named").at("citus"));
            }
            init(&DatabaseUrl { database: Some(url.clone()) }, true, *homes, output)
        }
        DbCommand::Init { database, citus, homes } => init(database, citus.is_some(), *homes, output),
        DbCommand::Backup { database, file } => match database.database()? {
            Database::Sqlite => backup(place, file, output),
            Database::Postgres(url) => postgres::backup(&url, file, output),
        },
        DbCommand::Restore { database, replace, file } => match database.database()? {
            Database::Sqlite if *replace => {
                let fault = Fault::new("replace", "a file in the data folder is never written over").at("replace");
                Err(fault.hint("move paychip.db and its log away first"))
            }
            Database::Sqlite => restore(place, file, output),
            Database::Postgres(url) => postgres::restore(&url, file, *replace, output),
        },
    }
}

/// Makes the tables; harmless where they are there already.
fn init(url: &DatabaseUrl, citus: bool, homes: u16, output: Output) -> Result<(), Fault> {
    let Database::Postgres(url) = url.database()? else {
        return Err(Fault::new("database_url", "no database is named")
            .at("database")
            .hint("say --database postgres://USER@HOST/DATABASE; a file in the data folder needs no preparation"));
    };
    if citus {
        let homes = store::homes::Homes::new(homes).map_err(|error| failed(&error).at("homes"))?;
        store::postgres::init_citus(&url, homes).map_err(|error| failed(&error))?;
    } else {
        store::postgres::init(&url).map_err(|error| failed(&error))?;
    }
    output.answer(&format!("The {url} is ready."), &json!({"ready": true}));
    Ok(())
}

fn backup(place: &Place, file: &Path, output: Output) -> Result<(), Fault> {
    let database = place.data.join(server::DATABASE_FILE);
    store::sqlite::backup(&database, file).map_err(|error| failed(&error))?;
    let audit = audit_of(file)?;
    tell_copied(file, output);
    tell(&audit, output)
}

fn tell_copied(file: &Path, output: Output) {
    output.note(&format!(
        "Copied to {}; keep the key vault (vault.sealed or master.key) elsewhere: without it the copy is of no use.",
        file.display()
    ));
}

fn audit_of(file: &Path) -> Result<Audit, Fault> {
    let engine = SqliteEngine::open(file).map_err(|error| failed(&error))?;
    let reader = engine.reader(file).map_err(|error| failed(&error))?;
    Queries::new(Box::new(reader)).audit().map_err(|error| failed(&error))
}

/// Only where there is no database: nothing is ever written over.
fn restore(place: &Place, file: &Path, output: Output) -> Result<(), Fault> {
    let audit = audit_of(file)?;
    if !audit.findings.is_empty() {
        return tell(&audit, output);
    }
    server::Data::restore(&place.data, file).map_err(|error| crate::serve::start_fault(&error))?;
    tell(&audit, output)
}
