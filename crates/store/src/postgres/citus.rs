//! Tables spread over the machines of a Citus cluster (docs/decisions/0018).
//!
//! Every hot table has a column `home`, which is part of its key and by which it is distributed; all of them are
//! co-located, one shard a home. What is small and rarely changes is a reference table: a copy on every machine. The homes
//! there are is one of these, and the column of every distributed table a foreign key to it: no row can be where nobody looks.
//! There are no triggers on distributed tables and no foreign keys between them: rows are opaque, and the audit follows what
//! they name.

use std::sync::Arc;

use tokio_postgres::{Client, Error, Transaction};

use super::link::failed;
use super::schema;
use super::statements::Place;
use crate::StoreError;
use crate::homes::Homes;
use crate::key::{Key, List, Named, Numbered};

/// Numbers tried for the value that falls to each shard: many more than there are shards.
const TRIED: i32 = 1 << 14;

/// One shard after the other in this transaction: what changes a table that others have foreign keys to may not go over
/// several connections to one machine.
const SEQUENTIAL: &str = "SET LOCAL citus.multi_shard_modify_mode = 'sequential'";

/// How the tables of a database are laid out.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    homes: Homes,
    /// For each home the value of the column `home`; none where there is no such column.
    values: Arc<[i32]>,
}

impl Layout {
    /// Of a database on one machine.
    fn plain() -> Self {
        Self { homes: Homes::ONE, values: Arc::new([]) }
    }

    pub(super) fn homes(&self) -> Homes {
        self.homes
    }

    pub(super) fn is_spread(&self) -> bool {
        !self.homes.is_one()
    }

    /// Where the rows of a home are; everywhere for none.
    pub(super) fn place(&self, home: Option<u16>) -> Place {
        let value = home.and_then(|home| self.values.get(usize::from(home)));
        value.map_or(Place::Whole, |value| Place::Home(*value))
    }

    /// Where a row is.
    pub(super) fn place_of(&self, key: &Key) -> Place {
        if self.is_spread() { self.place(self.homes.of(key)) } else { Place::Whole }
    }
}

/// How this database is laid out. One in which Citus is switched on must have been prepared for it: tables that are not
/// distributed would all lie on one machine of the cluster.
pub(super) async fn layout(client: &Client) -> Result<Layout, StoreError> {
    let question = "SELECT to_regclass('paychip.homes') IS NOT NULL, \
                    EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'citus')";
    let row = client.query_one(question, &[]).await.map_err(failed)?;
    let (is_prepared, is_citus): (bool, bool) = (row.get(0), row.get(1));
    if !is_prepared {
        return if is_citus { Err(unprepared()) } else { Ok(Layout::plain()) };
    }
    let rows = client.query("SELECT number, value FROM paychip.homes ORDER BY number", &[]).await.map_err(failed)?;
    let values: Arc<[i32]> = rows.iter().map(|row| row.get(1)).collect();
    let count = u16::try_from(values.len()).unwrap_or(u16::MAX);
    Ok(Layout { homes: Homes::new(count)?, values })
}

fn unprepared() -> StoreError {
    StoreError::Engine(
        "this database is one of a Citus cluster and was not prepared for it; run `paychip db init --citus` on an empty \
         database first"
            .to_owned(),
    )
}

/// Makes the tables of a new database and spreads them over the machines there are.
pub(super) async fn init(client: &mut Client, homes: Homes) -> Result<(), StoreError> {
    let text = |text: &str| StoreError::Engine(text.to_owned());
    let question = "SELECT EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'citus'), \
                    to_regclass('paychip.schema_version') IS NOT NULL, to_regclass('paychip.homes') IS NOT NULL";
    let row = client.query_one(question, &[]).await.map_err(failed)?;
    let (is_citus, is_made, is_spread): (bool, bool, bool) = (row.get(0), row.get(1), row.get(2));
    if !is_citus {
        return Err(text(
            "the extension citus is not switched on in this database: CREATE EXTENSION citus, there and on \
                         every worker, and add the workers",
        ));
    }
    if homes.is_one() {
        return Err(text("a database that is spread has two homes or more"));
    }
    if is_made && !is_spread {
        return Err(text("this database has tables of a single machine already; use an empty one"));
    }
    if is_spread {
        let known = layout(client).await?.homes();
        let (known, asked) = (known.count(), homes.count());
        if known != asked {
            return Err(StoreError::Engine(format!("this database has {known} homes for ever, not {asked}")));
        }
        return schema::migrate(client, schema::Whose::Servers).await;
    }
    let transaction = client.transaction().await.map_err(failed)?;
    make(&transaction, homes).await?;
    transaction.commit().await.map_err(failed)
}

async fn make(transaction: &Transaction<'_>, homes: Homes) -> Result<(), StoreError> {
    let count = homes.count();
    let settings = format!("SET LOCAL citus.shard_replication_factor = 1; SET LOCAL citus.shard_count = {count};");
    transaction.batch_execute(SEQUENTIAL).await.map_err(failed)?;
    transaction.batch_execute(&settings).await.map_err(failed)?;
    transaction.batch_execute(&schema::new_schema(true)).await.map_err(failed)?;
    transaction.batch_execute(&spread()).await.map_err(failed)?;
    let values = values(transaction, count).await.map_err(failed)?;
    for (number, value) in values.iter().enumerate() {
        let number = i32::try_from(number).map_err(|_| StoreError::Corrupt("homes"))?;
        let value = value.ok_or_else(|| StoreError::Engine("no number falls to a shard".to_owned()))?;
        let insert = "INSERT INTO paychip.homes (number, value) VALUES ($1, $2)";
        transaction.execute(insert, &[&number, &value]).await.map_err(failed)?;
    }
    keep_to_homes(transaction, "").await
}

/// For each shard, in the order of their ranges, the lowest number that falls to it.
async fn values(transaction: &Transaction<'_>, count: u16) -> Result<Vec<Option<i32>>, Error> {
    let shards = "SELECT shardid FROM pg_dist_shard WHERE logicalrelid = 'paychip.purses'::regclass \
                  ORDER BY shardminvalue::integer";
    let shards: Vec<i64> = transaction.query(shards, &[]).await?.iter().map(|row| row.get(0)).collect();
    let fallen = "SELECT get_shard_id_for_distribution_column('paychip.purses', number), min(number) \
                  FROM generate_series(0, $1::integer) AS number GROUP BY 1";
    let fallen = transaction.query(fallen, &[&TRIED]).await?;
    let lowest = |shard: &i64| fallen.iter().find(|row| row.get::<_, i64>(0) == *shard).map(|row| row.get(1));
    Ok(shards.iter().take(usize::from(count)).map(lowest).collect())
}

/// Spreads the tables, all of them alike.
fn spread() -> String {
    let mut sql = String::from(
        "SELECT create_reference_table('paychip.schema_version');
         SELECT create_reference_table('paychip.master_key');
         SELECT create_reference_table('paychip.master_keys');
         SELECT create_reference_table('paychip.homes');\n",
    );
    sql += "SELECT create_distributed_table('paychip.purses', 'home', colocate_with => 'none');\n";
    for table in names() {
        sql += &spread_one(table);
    }
    sql
}

/// Spreads the tables that a newer schema has added.
pub(super) async fn spread_new(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    let known = "SELECT relname::text FROM pg_dist_partition JOIN pg_class ON pg_class.oid = logicalrelid \
                 WHERE relnamespace = 'paychip'::regnamespace";
    let known = transaction.query(known, &[]).await.map_err(failed)?;
    let known: Vec<String> = known.iter().map(|row| row.get(0)).collect();
    let new: String = names().filter(|table| !known.iter().any(|known| known == table)).map(spread_one).collect();
    transaction.batch_execute(SEQUENTIAL).await.map_err(failed)?;
    transaction.batch_execute(&new).await.map_err(failed)?;
    // The rows that are there are not looked through: that would take as long as there are rows, and nobody writes meanwhile.
    keep_to_homes(transaction, " NOT VALID").await
}

/// Makes the home of every row one that there is, in the distributed tables where it is not so yet. A key to a reference table
/// can only be given to a table that has been distributed.
async fn keep_to_homes(transaction: &Transaction<'_>, of_old_rows: &str) -> Result<(), StoreError> {
    let known = "SELECT conrelid::regclass::text FROM pg_constraint \
                 WHERE contype = 'f' AND confrelid = 'paychip.homes'::regclass";
    let known = transaction.query(known, &[]).await.map_err(failed)?;
    let known: Vec<String> = known.iter().map(|row| row.get(0)).collect();
    let missing = names().filter(|table| !is_reference(table)).filter(|table| {
        let name = format!("paychip.{table}");
        !known.iter().any(|known| *known == name || known == table)
    });
    for table in missing {
        // Citus reads the text again, and wants one command in it.
        let key = format!(
            "ALTER TABLE paychip.{table} ADD CONSTRAINT {table}_home FOREIGN KEY (home) REFERENCES paychip.homes (value)\
             {of_old_rows}"
        );
        transaction.batch_execute(&key).await.map_err(failed)?;
    }
    Ok(())
}

/// Spreads one table like the others.
fn spread_one(table: &str) -> String {
    match table {
        "purses" => String::new(),
        table if is_reference(table) => format!("SELECT create_reference_table('paychip.{table}');\n"),
        table => {
            format!("SELECT create_distributed_table('paychip.{table}', 'home', colocate_with => 'paychip.purses');\n")
        }
    }
}

/// Whether a table has a copy on every machine.
pub(super) fn is_reference(table: &str) -> bool {
    table == Named::ApiKeys.name()
}

fn names() -> impl Iterator<Item = &'static str> {
    let numbered = Numbered::ALL.iter().map(|table| table.name());
    numbered.chain(Named::ALL.iter().map(|table| table.name())).chain(List::ALL.iter().map(|table| table.name()))
}
