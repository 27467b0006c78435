//! The parts of the `paychip` program, as a library, so that tests and other programs can play the same roles.
//!
//! | module | what |
//! |---|---|
//! | `cli` | every command and option |
//! | `serve` | the cloud |
//! | [`watch`] | the virtual watch: its folder, factory, binding, codes |
//! | [`chip`] | a chip by itself, in a file or in a reader |
//! | [`pos`], [`scan`], [`picture`] | the till: reading pictures, charging |
//! | [`books`] | accounts, merchants, tokens, audit |
//! | [`factory`], [`vendor`] | a maker's personalisation line, and what operator and maker hand each other |
//! | `makers` | makers of chips and devices, as the operator sees them |
//! | `risk` | the operator's risk rules |
//! | `db` | the database itself: audit, backup, restore |
//! | `vault` | the sealed master keys: made, shown, rotated |
//! | `demo` | the whole story in one run |
//! | [`mod@bench`] | payments a second, beside what the same server answers without doing anything |
//! | [`api`], [`profile`], `output`, [`fault`] | the HTTP client, what is remembered, how answers and failures are told |

pub mod api;
pub mod bench;
pub mod books;
pub mod chip;
mod cli;
mod db;
mod demo;
pub mod factory;
pub mod fault;
mod makers;
mod output;
pub mod picture;
pub mod pos;
pub mod profile;
mod risk;
pub mod scan;
mod serve;
mod vault;
pub mod vendor;
pub mod watch;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::fault::Fault;
use crate::output::Output;

/// Runs the program with the arguments it was started with.
pub fn run_program() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(cli.json);
    match run(cli, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            output.fault(&fault);
            ExitCode::from(fault.exit_code())
        }
    }
}

fn run(cli: Cli, output: Output) -> Result<(), Fault> {
    if let Some(ca) = &cli.ca {
        api::trust(ca)?;
    }
    let place = profile::Place { data: cli.data, server: cli.server };
    let vault = cli.vault;
    match cli.command {
        Command::Serve(serve) => serve::run(&place, &serve, &vault, output),
        Command::Demo(demo) => demo::run(&demo, output),
        Command::Account(command) => books::account(&place, command, output),
        Command::Merchant(command) => books::merchant(&place, command, output),
        Command::Vendor(command) => vendor::run(&place, command, output),
        Command::Factory(command) => factory::run(&place, command, output),
        Command::Maker(command) => makers::run(&place, command, output),
        Command::Token(command) => books::token(&place, command, output),
        Command::Risk(command) => risk::run(&place, command, output),
        Command::Bench(bench) => bench::run(&place, &bench, output),
        Command::Audit { command: None } => books::audit(&place, output),
        Command::Audit { command: Some(cli::AuditCommand::Verify { database }) } => match database.database()? {
            server::Database::Sqlite => db::verify(&place, &vault.keys(false)?, output),
            server::Database::Postgres(url) => db::verify_postgres(&url, output),
        },
        Command::Audit { command: Some(cli::AuditCommand::Trail { subject }) } => {
            books::trail(&place, &subject, output)
        }
        Command::Vault(command) => vault::run(&place, &command, &vault, output),
        Command::Db(command) => db::run(&place, &command, output),
        Command::Watch { watch, command } => watch::run(&place, &watch, command, output),
        Command::Chip { which, command } => chip::run(&place, &which, command, output),
        Command::Pos { merchant, command } => pos::run(&place, merchant.as_deref(), command, output),
        Command::Openapi => {
            output.raw(&server::openapi_json().map_err(|error| Fault::internal(error.to_string()))?);
            Ok(())
        }
        Command::Completions { shell } => {
            output.raw(&cli::completions(shell));
            Ok(())
        }
    }
}
