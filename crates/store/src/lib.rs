//! The engines that keep what the platform decides.
//!
//! A [`Command`] loads what its rule needs from [`Tables`], lets the rule decide, and makes the changes there. The
//! [`Store`] runs many commands on one working set, writes it in one transaction, and answers each only after that is
//! durable. Reads that decide nothing go through [`Queries`] and never wait for a writer.
//!
//! | file | holds |
//! |---|---|
//! | [`engine`] | what an engine must do: one small trait |
//! | [`key`] | which tables there are, and where each row is |
//! | [`homes`] | where a database is spread over machines: which rows are together on one |
//! | `rows/` | what each row holds, and its seal |
//! | `tables.rs`, `lookups.rs`, `changes.rs` | the working set of a batch, its rows by key, and what each change does to it |
//! | `command.rs` | what a command is |
//! | `owners.rs` | whose token a number is, in memory |
//! | `writer.rs` | group commit |
//! | `commands/` | what can be asked |
//! | `poster.rs` | adding up beside the writer what it posts to merchants |
//! | `dry_run.rs` | stored payments under other risk rules |
//! | `queries.rs`, `audit.rs` | reading, and adding everything up again |
//! | [`sqlite`] | the embedded engine |
//! | [`postgres`] | the engine for several servers on one database, on one machine or spread over several |

mod audit;
mod changes;
mod command;
pub mod commands;
mod dry_run;
pub mod engine;
mod error;
pub mod homes;
pub mod key;
mod lookups;
mod owners;
mod poster;
pub mod postgres;
mod queries;
mod rows;
mod soon;
pub mod sqlite;
mod tables;
mod writer;

pub use audit::{Audit, Finding, MAX_FINDINGS};
pub use command::{Command, CurrentRules, Env, Failure};
pub use dry_run::{DryRun, MAX_REPLAYED};
pub use error::StoreError;
pub use owners::Owners;
pub use poster::{POSTING_INTERVAL_MS, Poster};
pub use queries::{BookLine, EventLine, MAX_PAGE, MAX_WALK, Page, Queries, Reader, Work};
pub use rows::RulesRow;
pub use tables::Tables;
pub use writer::{Batch, QUEUE_LEN, Store};
