//! `paychip`: the open payment chip on the command line.
//!
//! | file | what |
//! |---|---|
//! | `cli` | every command and option |
//! | `serve` | the cloud |
//! | `watch/` | the virtual watch: its folder, factory, binding, codes |
//! | `pos`, `scan` | the till: reading pictures, charging |
//! | `books` | accounts, merchants, tokens, audit |
//! | `demo/` | the whole story in one run |
//! | `api`, `profile`, `output` | the HTTP client, what is remembered between commands, how answers are printed |

mod api;
mod books;
mod cli;
mod demo;
mod fault;
mod output;
mod picture;
mod pos;
mod profile;
mod scan;
mod serve;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::fault::Fault;
use crate::output::Output;

fn main() -> ExitCode {
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
    let place = profile::Place { data: cli.data, server: cli.server };
    match cli.command {
        Command::Serve(serve) => serve::run(&place, &serve, output),
        Command::Demo(demo) => demo::run(&demo, output),
        Command::Account(command) => books::account(&place, command, output),
        Command::Merchant(command) => books::merchant(&place, command, output),
        Command::Token(command) => books::token(&place, command, output),
        Command::Audit => books::audit(&place, output),
        Command::Watch { watch, command } => watch::run(&place, &watch, command, output),
        Command::Pos { merchant, command } => pos::run(&place, merchant.as_deref(), command, output),
        Command::Openapi => {
            output.raw(&server::openapi_json().map_err(|error| Fault::internal(error.to_string()))?);
            Ok(())
        }
        Command::Completions { shell } => {
            cli::completions(shell);
            Ok(())
        }
    }
}
