//! The tables of a database, in a schema of their own, and how they came to be: forward only, one server at a time.

use tokio_postgres::Client;

use super::link::failed;
use crate::StoreError;
use crate::key::{List, Named, Numbered};

/// The version of the schema. 2 knows makers, 3 risk rules, 4 versions of the master key.
const VERSION: i32 = 4;
/// The advisory lock under which the schema is made: "paychip" in the bytes of a number. Servers that start at the same
/// time wait for one another here.
const MIGRATION_LOCK: i64 = 0x0070_6179_6368_6970;

/// Parts of each page left empty, percent full: rows that are changed again and again find room for their next version
/// beside themselves, and no index has to be written.
fn fill_percent(table: &str) -> u8 {
    match table {
        "partitions" | "balances" => 20,
        "purses" => 75,
        "merchants" | "bindings" | "waiting" => 80,
        "payments" => 95,
        _ => 100,
    }
}

/// Makes the tables of a new database; refuses one of a schema it does not know.
pub(super) async fn migrate(client: &mut Client) -> Result<(), StoreError> {
    let transaction = client.transaction().await.map_err(failed)?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&MIGRATION_LOCK]).await.map_err(failed)?;
    let known = "SELECT to_regclass('paychip.schema_version') IS NOT NULL";
    let is_made: bool = transaction.query_one(known, &[]).await.map_err(failed)?.get(0);
    let version: i32 = if is_made {
        let row = transaction.query_one("SELECT version FROM paychip.schema_version", &[]).await.map_err(failed)?;
        row.get(0)
    } else {
        0
    };
    match version {
        0 => transaction.batch_execute(&new_schema()).await.map_err(failed)?,
        // Since schema 1 there have only been new tables; the one master key there was is version 1.
        1..VERSION => {
            let sql = tables()
                + "INSERT INTO paychip.master_keys SELECT 1, check_value FROM paychip.master_key ON CONFLICT DO NOTHING;"
                + &format!("UPDATE paychip.schema_version SET version = {VERSION};");
            transaction.batch_execute(&sql).await.map_err(failed)?;
        }
        VERSION => {}
        newer => {
            let text = format!("this database has schema {newer}, which this program does not know");
            return Err(StoreError::Engine(text));
        }
    }
    transaction.commit().await.map_err(failed)
}

fn new_schema() -> String {
    let begin = format!(
        "CREATE SCHEMA IF NOT EXISTS paychip;
         CREATE TABLE paychip.schema_version (version integer NOT NULL);
         INSERT INTO paychip.schema_version VALUES ({VERSION});
         CREATE TABLE paychip.master_key (singleton boolean PRIMARY KEY CHECK (singleton), check_value bytea NOT NULL);
         CREATE FUNCTION paychip.expect(actual bigint, wanted bigint) RETURNS void LANGUAGE plpgsql AS $$
         BEGIN
             IF actual <> wanted THEN
                 RAISE EXCEPTION 'a row is not what it was when it was read' USING ERRCODE = 'PC409';
             END IF;
         END $$;
         CREATE FUNCTION paychip.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             RAISE EXCEPTION 'the journal is final';
         END $$;\n"
    );
    // The journal is only ever added to.
    begin
        + &tables()
        + "CREATE TRIGGER journal_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON paychip.journal
           FOR EACH STATEMENT EXECUTE FUNCTION paychip.refuse_change();\n"
}

/// Every table that is not there yet.
fn tables() -> String {
    // Which key is meant by a version, by a value that does not tell it.
    let mut sql = String::from(
        "CREATE TABLE IF NOT EXISTS paychip.master_keys (version smallint PRIMARY KEY, check_value bytea NOT NULL);\n",
    );
    for (table, key) in Numbered::ALL
        .iter()
        .map(|table| (table.name(), "bigint"))
        .chain(Named::ALL.iter().map(|table| (table.name(), "bytea")))
    {
        let percent = fill_percent(table);
        sql += &format!(
            "CREATE TABLE IF NOT EXISTS paychip.{table} (key {key} PRIMARY KEY, row bytea NOT NULL) WITH (fillfactor = {percent});\n"
        );
    }
    for table in List::ALL {
        let table = table.name();
        sql += &format!(
            "CREATE TABLE IF NOT EXISTS paychip.{table} (owner bytea NOT NULL, id bytea NOT NULL, PRIMARY KEY (owner, id));\n"
        );
    }
    sql
}
