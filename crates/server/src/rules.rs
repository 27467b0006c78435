//! The risk rules in force: read at the start, and looked for again and again, so that what one server's operator sets is
//! what every server decides by.

use std::sync::Arc;
use std::time::Duration;

use platform::risk::RuleSet;
use store::{Env, Queries, RulesRow, StoreError};

/// How often a server looks for rules that another one has set.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Puts the newest rules in force.
///
/// # Errors
/// Those of the store, and rules that this program does not understand: a server that cannot decide by them must not
/// decide.
pub(crate) fn load(queries: &Queries, env: &Env) -> Result<(), StoreError> {
    match queries.rules_after(env.rules.get().version)? {
        Some(row) => put(&row, env),
        None => Ok(()),
    }
}

fn put(row: &RulesRow, env: &Env) -> Result<(), StoreError> {
    let rules = RuleSet::parse(&row.text, row.version, &env.settings).map_err(|fault| {
        StoreError::Engine(format!("risk rules of version {} are not understood: {fault}", row.version))
    })?;
    env.rules.put(rules);
    Ok(())
}

/// Looks for newer rules until it is dropped.
pub(crate) async fn watch(queries: Arc<Queries>, env: Env) {
    let mut ticks = tokio::time::interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (queries, env) = (Arc::clone(&queries), env.clone());
        match tokio::task::spawn_blocking(move || load(&queries, &env)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "newer risk rules could not be put in force"),
            Err(error) => tracing::error!(%error, "the look for newer risk rules failed"),
        }
    }
}
