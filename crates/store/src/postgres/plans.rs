//! How a cluster carries out what payments do: for each statement, on how many machines.

use super::PostgresUrl;
use super::citus;
use super::link::{failed, reach};
use super::statements::{INSERTED_ROWS, Ids, Rows, Table, What, Whole};
use crate::StoreError;
use crate::key::{List, Named, Numbered};

/// The tables that payments, refunds, cancels and postings read or write.
const NUMBERS: [Numbered; 7] = [
    Numbered::Purses,
    Numbered::Merchants,
    Numbered::Payments,
    Numbered::Refunds,
    Numbered::Journal,
    Numbered::Events,
    Numbered::Partitions,
];
const NAMES: [Named; 8] = [
    Named::TokenNumbers,
    Named::Orders,
    Named::RefundNumbers,
    Named::TopUps,
    Named::Balances,
    Named::Waiting,
    Named::Pending,
    Named::Reservations,
];
const LISTS: [List; 3] = [List::MerchantPayments, List::PaymentRefunds, List::SubjectEvents];

/// Every statement of the hot path, on every home, with the number of tasks in the cluster's plan of it.
///
/// # Errors
/// Those of [`super::PostgresEngine::open`].
pub(super) async fn of_hot_statements(url: &PostgresUrl) -> Result<Vec<(String, u64)>, StoreError> {
    let (client, driver) = reach(url).await?;
    let layout = citus::layout(&client).await?;
    let mut plans = Vec::new();
    for home in layout.homes().all() {
        let place = layout.place(Some(home));
        let tables = NUMBERS.map(Table::Numbers).into_iter().chain(NAMES.map(Table::Names));
        let rows = tables.flat_map(|table| {
            let others = [Rows::Scan, Rows::Update, Rows::Delete];
            let others = others.into_iter().map(move |what| What::Rows(what, table, place, 0));
            others.chain(INSERTED_ROWS.into_iter().map(move |rows| What::Rows(Rows::Insert, table, place, rows)))
        });
        let ids = LISTS.into_iter().flat_map(|list| {
            let select = What::Ids(Ids::Select, list, place, 0);
            [select]
                .into_iter()
                .chain(INSERTED_ROWS.into_iter().map(move |rows| What::Ids(Ids::Insert, list, place, rows)))
        });
        // Whoever asks for rows of some of these tables asks for a part of this.
        let tables = NUMBERS.map(Table::Numbers).into_iter().chain(NAMES.map(Table::Names));
        let all = Whole::Select(place, tables.collect());
        for whole in rows.chain(ids).map(Whole::from).chain([all]) {
            let text = whole.text();
            let tasks = tasks(&client, &text).await.map_err(failed)?;
            plans.push((text, tasks));
        }
    }
    driver.abort();
    Ok(plans)
}

/// The number of tasks in the plan of a statement whose parameters are not known, as in one that is planned once.
async fn tasks(client: &tokio_postgres::Client, text: &str) -> Result<u64, tokio_postgres::Error> {
    let count = (1..).take_while(|number| text.contains(&format!("${number}"))).count();
    let nothing = vec!["NULL"; count].join(", ");
    let explain = format!(
        "SET plan_cache_mode = force_generic_plan; PREPARE explained AS {text}; EXPLAIN EXECUTE explained ({nothing}); \
         DEALLOCATE explained"
    );
    let lines = client.simple_query(&explain).await?;
    let told = lines.iter().filter_map(|line| match line {
        tokio_postgres::SimpleQueryMessage::Row(row) => {
            row.get(0)?.trim().strip_prefix("Task Count: ")?.parse::<u64>().ok()
        }
        _ => None,
    });
    Ok(told.sum())
}
