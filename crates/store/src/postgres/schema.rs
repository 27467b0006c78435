//! The tables of a database, in a schema of their own, and how they came to be: forward only, one server at a time.

use tokio_postgres::{Client, GenericClient};

use super::citus;
use super::link::failed;
use crate::StoreError;
use crate::key::{List, Named, Numbered};

/// The version of the schema. 2 knows makers, 3 risk rules, 4 versions of the master key, 5 reservations, 6 shipments, 7
/// syncs, 8 which payments codes were used for, and refused bindings, 9 that rows on a cluster are in homes there are, 10 purses that
/// tell all of their tokens, and whose tokens are.
const VERSION: i32 = 10;
/// The advisory lock under which the schema is made: "paychip" in the bytes of a number. Servers that start at the same
/// time wait for one another here.
pub(super) const MIGRATION_LOCK: i64 = 0x0070_6179_6368_6970;

/// Parts of each page left empty, percent full: rows that are changed again and again find room for their next version
/// beside themselves, and no index has to be written.
fn fill_percent(table: &str) -> u8 {
    match table {
        "partitions" | "balances" => 20,
        "purses" => 75,
        "merchants" | "bindings" | "syncs" | "waiting" | "token_owners" => 80,
        "payments" => 95,
        _ => 100,
    }
}

/// Where the data from before a restore is, until the copy that was put in its place has proved sound.
pub(super) const SET_ASIDE: &str = "paychip_before_restore";

/// Whose tables are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// Those of servers.
    Servers,
    /// Those that a copy has been put into, by whoever does that.
    Restore,
}

/// Makes the tables of a new database on one machine, or adds what is new to any; refuses a schema it does not know, and
/// servers where a restore was cut off: what is there then may be empty, and all that was there before is aside.
pub(super) async fn migrate(client: &mut Client, whose: Whose) -> Result<(), StoreError> {
    let layout = citus::layout(client).await?;
    let transaction = client.transaction().await.map_err(failed)?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&MIGRATION_LOCK]).await.map_err(failed)?;
    if whose == Whose::Servers && is_cut_off(&transaction).await? {
        return Err(cut_off());
    }
    let known = "SELECT to_regclass('paychip.schema_version') IS NOT NULL";
    let is_made: bool = transaction.query_one(known, &[]).await.map_err(failed)?.get(0);
    let version: i32 = if is_made {
        let row = transaction.query_one("SELECT version FROM paychip.schema_version", &[]).await.map_err(failed)?;
        row.get(0)
    } else {
        0
    };
    match version {
        0 => transaction.batch_execute(&new_schema(false)).await.map_err(failed)?,
        // Since schema 1 there have only been new tables; the one master key there was is version 1.
        1..VERSION => {
            transaction.batch_execute(&tables(layout.is_spread())).await.map_err(failed)?;
            if layout.is_spread() {
                citus::spread_new(&transaction).await?;
            }
            let first = "INSERT INTO paychip.master_keys SELECT 1, check_value FROM paychip.master_key \
                         ON CONFLICT DO NOTHING";
            transaction.execute(first, &[]).await.map_err(failed)?;
            let update = format!("UPDATE paychip.schema_version SET version = {VERSION};");
            transaction.batch_execute(&update).await.map_err(failed)?;
        }
        VERSION => {}
        newer => {
            let text = format!("this database has schema {newer}, which this program does not know");
            return Err(StoreError::Engine(text));
        }
    }
    transaction.commit().await.map_err(failed)
}

/// Whether a restore was cut off here.
pub(super) async fn is_cut_off(client: &impl GenericClient) -> Result<bool, StoreError> {
    let left = format!("SELECT to_regnamespace('{SET_ASIDE}') IS NOT NULL");
    client.query_one(&left, &[]).await.and_then(|row| row.try_get(0)).map_err(failed)
}

/// What is said then.
pub(super) fn cut_off() -> StoreError {
    StoreError::Engine(format!(
        "a restore was cut off: the data from before it is in the schema {SET_ASIDE}; give that its name paychip back, or \
         drop it"
    ))
}

/// Everything of a new database; `is_spread` where its rows have homes.
pub(super) fn new_schema(is_spread: bool) -> String {
    let begin = format!(
        "CREATE SCHEMA IF NOT EXISTS paychip;
         CREATE TABLE paychip.schema_version (version integer PRIMARY KEY);
         INSERT INTO paychip.schema_version VALUES ({VERSION});
         CREATE TABLE paychip.master_key (singleton boolean PRIMARY KEY CHECK (singleton), check_value bytea NOT NULL);
         CREATE FUNCTION paychip.expect(actual bigint, wanted bigint) RETURNS void LANGUAGE plpgsql AS $$
         BEGIN
             IF actual <> wanted THEN
                 RAISE EXCEPTION 'a row is not what it was when it was read' USING ERRCODE = 'PC409';
             END IF;
         END $$;\n"
    );
    if is_spread {
        let homes = "CREATE TABLE paychip.homes (number integer PRIMARY KEY, value integer NOT NULL UNIQUE);\n";
        return begin + homes + &tables(true);
    }
    // The journal is only ever added to.
    begin
        + &tables(false)
        + "CREATE FUNCTION paychip.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
           BEGIN
               RAISE EXCEPTION 'the journal is final';
           END $$;
           CREATE TRIGGER journal_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON paychip.journal
           FOR EACH STATEMENT EXECUTE FUNCTION paychip.refuse_change();\n"
}

/// Every table that is not there yet.
fn tables(is_spread: bool) -> String {
    // Which key is meant by a version, by a value that does not tell it.
    let mut sql = String::from(
        "CREATE TABLE IF NOT EXISTS paychip.master_keys (version smallint PRIMARY KEY, check_value bytea NOT NULL);\n",
    );
    // The home is part of every key, and comes first: all rows of one lie together.
    let home = |table: &str| {
        if is_spread && !citus::is_reference(table) { ("home integer NOT NULL, ", "home, ") } else { ("", "") }
    };
    for (table, key) in Numbered::ALL
        .iter()
        .map(|table| (table.name(), "bigint"))
        .chain(Named::ALL.iter().map(|table| (table.name(), "bytea")))
    {
        let percent = fill_percent(table);
        let (column, part) = home(table);
        sql += &format!(
            "CREATE TABLE IF NOT EXISTS paychip.{table} \
             ({column}key {key} NOT NULL, row bytea NOT NULL, PRIMARY KEY ({part}key)) WITH (fillfactor = {percent});\n"
        );
    }
    for table in List::ALL {
        let table = table.name();
        let (column, part) = home(table);
        sql += &format!(
            "CREATE TABLE IF NOT EXISTS paychip.{table} \
             ({column}owner bytea NOT NULL, id bytea NOT NULL, PRIMARY KEY ({part}owner, id));\n"
        );
    }
    sql
}
