//! Two makers side by side, on P-256 and on SM2: keys to the factory, chips and a manifest back, bound and paid with.

use std::path::PathBuf;
use std::process::Stdio;

use crate::support::play::{Play, error_code, text};
use crate::support::{Cloud, program};

#[test]
fn chips_of_two_makers_are_shipped_bound_and_pay() {
    let play = Play::begin();
    play.run(&["account", "new", "Li Wei"]).unwrap();
    play.run(&["account", "top-up", "100"]).unwrap();
    play.run(&["merchant", "new", "Tea House"]).unwrap();
    for (code, name, scheme) in [("sunrise", "Sunrise Semiconductor", "p256"), ("huaxin", "Huaxin", "sm2")] {
        play.take_on(code, name, scheme);
        let manifest = play.ship(code, "1", "2", &[]);
        play.watch(code, &["new", "--factory", code]).unwrap();
        assert_eq!(error_code(play.watch(code, &["bind"])), "chip_not_found", "before its shipment has come in");
        let shipment = play.run(&["vendor", "import", &manifest]).unwrap();
        assert_eq!((&shipment["state"], &shipment["received"]), (&"complete".into(), &2.into()));
        assert_eq!(play.run(&["vendor", "import", &manifest]).unwrap(), shipment, "again, it is the same shipment");
        assert_eq!(play.watch(code, &["bind"]).unwrap()["state"], "done");
        let made = play.watch(code, &["code"]).unwrap();
        let paid = play.run(&["pos", "charge", "12.50", "--code", &text(&made["digits"])]).unwrap();
        assert_eq!(paid["state"], "succeeded");
        let trail = play.run(&["audit", "trail", &text(&shipment["id"])]).unwrap();
        let names: Vec<String> = trail.as_array().unwrap().iter().map(|line| text(&line["name"])).collect();
        assert_eq!(names, ["shipment_complete", "shipment_begun"]);
    }
    assert_eq!(play.run(&["audit"]).unwrap()["sound"], true);
}

#[test]
fn a_bad_line_is_named_by_its_number_and_nothing_of_its_manifest_is_taken_in() {
    let play = Play::begin();
    play.take_on("sunrise", "Sunrise", "p256");
    play.take_on("huaxin", "Huaxin", "sm2");
    let manifest = play.ship("sunrise", "1", "5", &["--without-chips"]);
    let good = std::fs::read_to_string(&manifest).unwrap();
    let lines: Vec<&str> = good.lines().collect();
    // Ten lines of header, five chips, the signature.
    assert_eq!(lines.len(), 16);
    let with = |number: usize, line: &str| {
        let mut lines = lines.clone();
        lines[number - 1] = line;
        lines.join("\n") + "\n"
    };
    let swapped = {
        let mut lines = lines.clone();
        lines.swap(11, 12);
        lines.join("\n") + "\n"
    };
    let without = |number: usize| {
        let mut lines = lines.clone();
        lines.remove(number - 1);
        lines.join("\n") + "\n"
    };
    let flipped = lines[13].replacen(&lines[13][40..41], if &lines[13][40..41] == "0" { "1" } else { "0" }, 1);
    let other_signature = format!("signature: {}", "5".repeat(128));
    for (what, altered, code, line) in [
        ("a maker's code", with(2, "maker: Sunrise"), "manifest_header_malformed", 2),
        ("another count", with(7, "count: 6"), "manifest_count_wrong", 16),
        ("a digit of a chip", with(14, &flipped), "manifest_line_altered", 14),
        ("a short line", with(12, &lines[11][1..]), "manifest_line_length", 12),
        ("capitals", with(12, &lines[11].to_uppercase().replace('0', "G")), "manifest_line_malformed", 12),
        ("two chips swapped", swapped, "manifest_line_out_of_order", 13),
        ("a chip twice", with(13, lines[11]), "manifest_line_out_of_order", 13),
        ("a chip left out", without(13), "manifest_count_wrong", 15),
        ("no signature", without(16), "manifest_count_wrong", 16),
        ("another signature", with(16, &other_signature), "manifest_signature_wrong", 16),
        ("another key version", with(6, "key-version: 2"), "manifest_signature_wrong", 16),
        ("more behind it", format!("{good}\n"), "manifest_count_wrong", 17),
    ] {
        let file = play.file("altered.manifest");
        std::fs::write(&file, altered).unwrap();
        let error = play.run(&["vendor", "import", &file]).unwrap_err()["error"].clone();
        assert_eq!(
            (error["code"].as_str(), error["field"].as_str()),
            (Some(code), Some(&*format!("line {line}"))),
            "{what}"
        );
    }
    // What the file itself can't tell, the cloud does.
    let foreign = good.replace("maker: sunrise", "maker: huaxin");
    std::fs::write(play.file("altered.manifest"), foreign).unwrap();
    assert_eq!(error_code(play.run(&["vendor", "import", &play.file("altered.manifest")])), "manifest_signature_wrong");
    let head = |manifest: &str| manifest.split_once("chips:\n").unwrap().0.to_owned() + "chips:\n";
    let begin = |header: &str| {
        let answer = play.cloud.operator().post("/v1/shipments", &serde_json::json!({ "header": header }));
        answer.map(|shipment| shipment["state"].clone()).map_err(|fault| fault.code)
    };
    assert_eq!(begin(&head(&good).replace("sunrise", "huaxin")), Err("batch_not_found".to_owned()));
    assert_eq!(begin(&head(&good).replace("sunrise", "nobody")), Err("maker_not_found".to_owned()));
    assert_eq!(begin(&head(&good).replace("SE-1", "SE-2")), Err("model_not_found".to_owned()));
    play.run(&["maker", "withdraw", "sunrise"]).unwrap();
    assert_eq!(begin(&head(&good)), Err("maker_withdrawn".to_owned()));
    play.run(&["maker", "readmit", "sunrise"]).unwrap();

    // A client that doesn't check sends a wrong signature: the shipment never was, and may come again.
    let operator = play.cloud.operator();
    let shipment = operator.post("/v1/shipments", &serde_json::json!({ "header": head(&good) })).unwrap();
    let path = format!("/v1/shipments/{}", text(&shipment["id"]));
    let body = lines[10..15].join("\n") + "\n";
    let wrong = serde_json::json!({ "signature": "5".repeat(128) });
    assert_eq!(operator.post(&format!("{path}/finish"), &wrong).unwrap_err().code, "shipment_incomplete");
    operator.post(&format!("{path}/lines"), &serde_json::json!({ "first": 0, "lines": body })).unwrap();
    // A maker that is withdrawn while its chips come in ships nothing, whatever it has signed.
    let signature = lines[15].strip_prefix("signature: ").unwrap();
    let right = serde_json::json!({ "signature": signature });
    play.run(&["maker", "withdraw", "sunrise"]).unwrap();
    assert_eq!(operator.post(&format!("{path}/finish"), &right).unwrap_err().code, "maker_withdrawn");
    assert_eq!(operator.get(&path).unwrap()["state"], "receiving");
    play.run(&["maker", "readmit", "sunrise"]).unwrap();
    assert_eq!(operator.post(&format!("{path}/finish"), &wrong).unwrap_err().code, "manifest_signature_wrong");
    assert_eq!(operator.get(&path).unwrap()["state"], "refused");
    let whole = play.run(&["vendor", "import", &manifest]).unwrap();
    assert_eq!((&whole["state"], whole["id"] == shipment["id"]), (&"complete".into(), false));
    // A chip can't come twice.
    let again = play.ship("sunrise", "2", "1", &["--without-chips"]);
    let again = std::fs::read_to_string(again).unwrap();
    let second = operator.post("/v1/shipments", &serde_json::json!({ "header": head(&again) })).unwrap();
    let first_chip = serde_json::json!({ "first": 0, "lines": format!("{}\n", lines[10]) });
    let refused = operator.post(&format!("/v1/shipments/{}/lines", text(&second["id"])), &first_chip).unwrap_err();
    assert_eq!((refused.code.as_str(), refused.field.as_deref()), ("chip_exists", Some("line 11")));
    assert_eq!(play.run(&["audit"]).unwrap()["sound"], true);
}

#[test]
fn an_import_that_is_killed_goes_on_where_it_was() {
    let mut play = Play::begin();
    play.take_on("sunrise", "Sunrise", "p256");
    let manifest = play.ship("sunrise", "1", "40000", &["--without-chips"]);
    let mut kills = 0;
    for delay_ms in (0..).step_by(150).take(20) {
        let mut child = program()
            .args(["--json", "--data"])
            .arg(&play.cloud.data)
            .args(["vendor", "import", &manifest])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(delay_ms));
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        if kills % 2 == 0 {
            // The cloud as well.
            let data: PathBuf = play.cloud.data.clone();
            let Play { folder, cloud } = play;
            cloud.kill();
            play = Play { folder, cloud: Cloud::start(&data) };
        }
    }
    assert!(kills > 0);
    let shipment = play.run(&["vendor", "import", &manifest]).unwrap();
    assert_eq!((&shipment["state"], &shipment["received"]), (&"complete".into(), &40_000.into()));
    let audit = play.run(&["audit"]).unwrap();
    assert_eq!(audit["sound"], true);
    assert!(audit["rows"].as_u64().unwrap() > 40_000);
}
