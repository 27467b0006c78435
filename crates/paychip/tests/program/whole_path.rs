//! The whole path as a user walks it, with nothing but the program: make, bind, show, scan, pay, give back, freeze.

use crate::support::{Cloud, program};
use serde_json::Value;

fn error_code(answer: Result<Value, Value>) -> String {
    answer.unwrap_err()["error"]["code"].as_str().unwrap().to_owned()
}

#[test]
fn a_watch_pays_by_picture_and_is_frozen_when_lost() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(folder.path());
    let png = folder.path().join("code.png");
    let png = png.to_str().unwrap();

    assert_eq!(error_code(cloud.run(&["watch", "status"])), "no_watch");
    cloud.run(&["account", "new", "Li Wei"]).unwrap();
    let topped_up = cloud.run(&["account", "top-up", "100", "--reference", "r-1"]).unwrap();
    assert_eq!(topped_up["balance"], 10_000);
    assert_eq!(cloud.run(&["account", "top-up", "100", "--reference", "r-1"]).unwrap()["balance"], 10_000);
    cloud.run(&["merchant", "new", "Tea House"]).unwrap();

    cloud.run(&["watch", "new"]).unwrap();
    assert_eq!(error_code(cloud.run(&["watch", "new"])), "watch_exists");
    assert_eq!(error_code(cloud.run(&["watch", "code"])), "wearable_20");
    let bound = cloud.run(&["watch", "bind"]).unwrap();
    assert_eq!(bound["state"], "done");
    assert_eq!(error_code(cloud.run(&["watch", "bind"])), "chip_bound");
    let token = bound["token"].as_str().unwrap();

    cloud.run(&["watch", "passcode", "1357"]).unwrap();
    assert_eq!(error_code(cloud.run(&["watch", "unlock", "0000"])), "wearable_31");
    cloud.run(&["watch", "unlock", "1357"]).unwrap();
    let code = cloud.run(&["watch", "code", "--png", png]).unwrap();
    assert_eq!(code["verified"], true, "the passcode session outlives the command");

    let paid = cloud.run(&["pos", "charge", "12.50", "--image", png, "--order", "o-1"]).unwrap();
    assert_eq!((&paid["state"], &paid["amount"]), (&"succeeded".into(), &1250.into()));
    let digits = code["digits"].as_str().unwrap();
    assert_eq!(error_code(cloud.run(&["pos", "charge", "12.50", "--code", digits, "--order", "o-2"])), "code_spent");
    assert_eq!(
        error_code(cloud.run(&["pos", "charge", "12.51", "--code", digits, "--order", "o-1"])),
        "order_parameters_differ"
    );

    cloud.run(&["watch", "lock"]).unwrap();
    assert_eq!(cloud.run(&["watch", "status"]).unwrap()["passcode"], "set, not entered");
    let emv = cloud.run(&["watch", "code", "--view", "emv", "--png", png]).unwrap();
    assert_eq!(emv["verified"], false);
    let paid = cloud.run(&["pos", "charge", "1", "--image", png, "--order", "o-3"]).unwrap();
    assert_eq!((&paid["state"], &paid["verified"]), (&"succeeded".into(), &false.into()));

    cloud.run(&["pos", "refund", "o-1", "--amount", "2.50", "--refund", "f-1"]).unwrap();
    assert_eq!(error_code(cloud.run(&["pos", "refund", "o-1", "--amount", "10.01"])), "refund_exceeds_payment");
    cloud.run(&["pos", "refund", "o-1"]).unwrap();
    assert_eq!(cloud.run(&["pos", "show", "o-1"]).unwrap()["refunded"], 1250);
    assert_eq!(cloud.run(&["pos", "cancel", "never-arrived"]).unwrap()["state"], "cancelled");

    cloud.run(&["token", "freeze", token]).unwrap();
    cloud.run(&["watch", "code", "--png", png]).unwrap();
    assert_eq!(error_code(cloud.run(&["pos", "charge", "1", "--image", png])), "token_frozen");
    let account = cloud.run(&["account", "show"]).unwrap();
    assert_eq!(account["account"]["balance"], 9_900);
    assert_eq!(cloud.run(&["audit"]).unwrap()["sound"], true);

    // Ended for good, the chip can have another owner: the old token's codes stay dead.
    cloud.run(&["token", "revoke", token]).unwrap();
    cloud.run(&["account", "new", "Wang Fang"]).unwrap();
    let again = cloud.run(&["watch", "bind"]).unwrap();
    assert_ne!(again["token"], bound["token"]);
}

#[test]
fn a_stranger_who_tried_the_chips_channel_keeps_nobody_from_binding_it() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(folder.path());
    cloud.run(&["account", "new", "Li Wei"]).unwrap();
    cloud.run(&["watch", "new"]).unwrap();
    let (ask, guess) = ("8050000008 0011223344556677", "8482330010 00000000000000000000000000000000");
    let mut stranger = vec!["chip", "apdu"];
    stranger.extend([ask, guess].repeat(16));
    stranger.push(ask);
    let answers = String::from_utf8(cloud.run_raw(&stranger).stdout).unwrap();
    assert!(answers.contains("9305"), "the chip holds back: {answers}");
    assert_eq!(cloud.run(&["watch", "bind"]).unwrap()["state"], "done");
}

#[test]
fn the_factory_makes_a_device_key_and_stores_the_chain_that_is_issued_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(folder.path());
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (flash, device, issuer) = (path("chip.flash"), path("device.der"), path("issuer.der"));
    let chip = |arguments: &[&str]| cloud.run(&[&["chip", "--flash", &flash], arguments].concat());
    let read = |tag: &str| {
        let answer = chip(&["apdu", &format!("00CA{tag}00")]).unwrap();
        (answer["data"].as_str().unwrap().to_owned(), answer["status"].as_str().unwrap().to_owned())
    };
    chip(&["new"]).unwrap();
    let key = chip(&["device-key"]).unwrap()["device_key"].as_str().unwrap().to_owned();
    assert_eq!(chip(&["device-key"]).unwrap()["device_key"], *key, "the same one again");
    assert_eq!(read("DF24").0, format!("DF244201{}", key.to_uppercase()));

    // Certificates, as far as the line looks at them: 230 bytes with the key among them, and 90 more.
    let own = [vec![0x30; 150], hex::decode(&key).unwrap(), vec![0x31; 15]].concat();
    let root = vec![0x32; 90];
    std::fs::write(&issuer, &root).unwrap();
    std::fs::write(&device, vec![0x33; 230]).unwrap();
    let of_another = chip(&["personalise", "--chain", &device, "--chain", &issuer]);
    assert_eq!(error_code(of_another), "chain_not_of_this_chip");
    std::fs::write(&device, vec![0x33; 2_001]).unwrap();
    assert_eq!(error_code(chip(&["personalise", "--chain", &device])), "chain_too_long");
    std::fs::write(&device, &own).unwrap();
    let made = chip(&["personalise", "--chain", &device, "--chain", &issuer]).unwrap();
    assert_eq!(made["device_key"], *key);
    assert_eq!(error_code(chip(&["device-key"])), "chip_not_blank");

    let chain = [own, root].concat();
    let part = |bytes: &[u8]| hex::encode_upper(bytes);
    assert_eq!(read("DF30").0, format!("DF3081C8{}", part(&chain[..200])));
    assert_eq!(read("DF31").0, format!("DF3178{}", part(&chain[200..])));
    assert_eq!(read("DF32").1, "6A88");
    let attest = chip(&["apdu", &format!("8042000010{}", "07".repeat(16))]).unwrap();
    assert_eq!(attest["status"], "9000");

    // A watch's chip makes one as well, without being told.
    let watch = cloud.run(&["watch", "new"]).unwrap();
    assert_eq!(watch["device_key"].as_str().unwrap().len(), 130);
}

#[test]
fn the_demonstration_comes_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let output = program().args(["--json", "demo", "--out"]).arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let refusals = ["code_spent", "code_superseded", "chip_cloned", "token_frozen"];
    assert_eq!(answer["refusals"], serde_json::json!(refusals));
    assert!(folder.path().join("code.png").exists());
}

#[test]
fn what_is_wrong_with_a_request_is_said_with_its_field() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(folder.path());
    cloud.run(&["merchant", "new", "Tea House"]).unwrap();
    for (arguments, code, field) in [
        (&["pos", "charge", "12.505", "--code", "71"][..], "amount_malformed", "amount"),
        (&["pos", "charge", "1", "--code", "71"], "code_malformed", "code"),
        (&["pos", "charge", "1", "--code", "abc"], "code_malformed", "code"),
        (&["pos", "charge", "1", "--code", "71234567890123456789", "--order", "a b"], "field_malformed", "order"),
        (&["account", "new", " "], "field_malformed", "name"),
        (&["account", "new", "Li", "--currency", "yuan"], "currency_invalid", "currency"),
        (&["token", "freeze", "tok_1"], "id_malformed", "token"),
        (&["--server", "http://127.0.0.1:1", "pos", "show", "x"], "unreachable", ""),
    ] {
        let error = cloud.run(arguments).unwrap_err();
        assert_eq!(error["error"]["code"], code, "{arguments:?}");
        assert_eq!(error["error"]["field"].as_str().unwrap_or(""), field, "{arguments:?}");
    }
}
