//! Which crate may depend on which. The table is the map of `docs/architecture.md`; a crate that is not in it, or
//! an arrow that is not, fails the run.
//!
//! The chip's side and the cloud's side meet in `blockcipher`, `tlv`, `paycode` and `protocol` only: that is what makes a second
//! implementation of either possible. Tests may look across (`dev-dependencies` are not arrows).

use serde_json::Value;

use crate::process::{cargo, printed};

/// A crate, and every crate of ours that it may use. Lowest first.
const ALLOWED: [(&str, &[&str]); 15] = [
    ("blockcipher", &[]),
    ("tlv", &[]),
    ("paycode", &["blockcipher", "tlv"]),
    ("protocol", &["blockcipher", "tlv"]),
    ("uart", &[]),
    ("chip", &["paycode", "protocol", "tlv"]),
    ("wearable", &["protocol", "tlv"]),
    ("ledger", &[]),
    ("pki", &[]),
    ("platform", &["ledger", "paycode", "pki", "protocol"]),
    ("store", &["ledger", "paycode", "pki", "platform", "protocol"]),
    // The one place, besides the program itself, where both sides of a binding run: no cryptography of either is played.
    ("simulation", &["chip", "ledger", "paycode", "pki", "platform", "protocol", "store", "wearable"]),
    ("server", &["ledger", "paycode", "pki", "platform", "protocol", "store"]),
    (
        "paychip",
        &["chip", "ledger", "paycode", "pki", "platform", "protocol", "server", "store", "tlv", "uart", "wearable"],
    ),
    ("xtask", &[]),
];

/// Checks the workspace as cargo sees it.
pub(crate) fn check() -> Result<(), String> {
    let metadata = printed(cargo(&["metadata", "--locked", "--no-deps", "--format-version", "1"]))?;
    let metadata =
        serde_json::from_str(&metadata).map_err(|error| format!("cargo's metadata are not JSON: {error}"))?;
    let faults = faults(&metadata);
    if !faults.is_empty() {
        return Err(format!("{}; see docs/architecture.md and xtask/src/arrows.rs", faults.join("; ")));
    }
    println!("every arrow between our crates is allowed");
    Ok(())
}

/// Every crate and every arrow of the metadata that the table does not allow, as sentences.
fn faults(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"].as_array().map_or(&[][..], Vec::as_slice);
    let mut faults = Vec::new();
    if packages.is_empty() {
        faults.push("cargo names no crates".to_owned());
    }
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| *known == name) else {
            faults.push(format!("`{name}` is not on the map of crates"));
            continue;
        };
        let forbidden = ours(package).filter(|used| !allowed.contains(used));
        faults.extend(forbidden.map(|used| format!("`{name}` must not depend on `{used}`")));
    }
    faults
}

/// The crates of this repository that a package builds on, optional ones among them, tests' own left out.
fn ours(package: &Value) -> impl Iterator<Item = &str> {
    let dependencies = package["dependencies"].as_array().map_or(&[][..], Vec::as_slice);
    let built_in = dependencies.iter().filter(|one| one["path"].is_string() && one["kind"] != "dev");
    built_in.filter_map(|one| one["name"].as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn package(name: &str, uses: &[(&str, Value)]) -> Value {
        let dependency = |(name, kind): &(&str, Value)| json!({"name": name, "kind": kind, "path": "/somewhere"});
        json!({"name": name, "dependencies": uses.iter().map(dependency).collect::<Vec<_>>()})
    }

    #[test]
    fn a_forbidden_arrow_is_named() {
        for (user, used, kind, allowed) in [
            ("chip", "protocol", Value::Null, true),
            ("chip", "platform", Value::Null, false),
            ("chip", "platform", json!("build"), false),
            ("chip", "platform", json!("dev"), true),
            ("server", "chip", Value::Null, false),
            ("wearable", "paycode", Value::Null, false),
            ("paycode", "protocol", Value::Null, false),
            ("ledger", "tlv", Value::Null, false),
            ("paychip", "chip", Value::Null, true),
        ] {
            let found = faults(&json!({"packages": [package(user, &[(used, kind)])]}));
            assert_eq!(found.is_empty(), allowed, "{user} on {used}: {found:?}");
        }
    }

    #[test]
    fn an_unknown_crate_and_an_empty_answer_are_faults() {
        assert_eq!(faults(&json!({"packages": [package("utils", &[])]})), ["`utils` is not on the map of crates"]);
        assert_eq!(faults(&json!({})).len(), 1);
    }

    #[test]
    fn what_is_not_ours_is_no_arrow() {
        let outside = json!({"packages": [{"name": "tlv", "dependencies": [{"name": "proptest", "kind": null}]}]});
        assert!(faults(&outside).is_empty());
    }

    #[test]
    fn every_crate_is_allowed_only_crates_below_it() {
        for (position, (name, allowed)) in ALLOWED.iter().enumerate() {
            let below: Vec<&str> = ALLOWED[..position].iter().map(|(name, _)| *name).collect();
            assert!(allowed.iter().all(|used| below.contains(used)), "{name}");
        }
    }
}
