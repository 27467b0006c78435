//! The engines that keep what the platform decides.
//!
//! A [`Command`] loads what its rule needs from [`Tables`], lets the rule decide, and writes the changes. The
//! [`Store`] runs many commands in one transaction and answers each only after the transaction is durable. Reads
//! that decide nothing go through [`Queries`] and never wait for a writer.

pub mod commands;
mod error;
mod queries;
pub mod sqlite;
mod tables;
mod writer;

pub use error::StoreError;
pub use queries::{BookLine, EventLine, MAX_PAGE, Page, Queries, Totals};
pub use tables::{Command, Env, Failure, Tables};
pub use writer::{MAX_BATCH, QUEUE_LEN, Store};
