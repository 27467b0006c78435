//! Clones and forgeries at the door: chips with the right channel keys, as somebody has them who stole a batch, and not the
//! device key or the certificate that their maker shipped them with. Each is refused by its own code, each leaves a line in
//! the audit trail, and the genuine chip is bound afterwards.

use std::path::PathBuf;

use crate::support::play::{Play, error_code, text};
use crate::support::{Cloud, program};
use chip::virtual_chip::VirtualChip;
use paychip::factory::house::{House, Plan};
use paychip::watch::factory::personalise_in_line;
use pki::{PublicKey, Scheme};
use platform::ChipId;
use platform::makers::{BatchId, chip_keys_of_batch, seal_context};
use serde_json::Value;

const NOW_S: fn() -> u64 = || std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
const A_SECOND: std::time::Duration = std::time::Duration::from_millis(1_100);
const ELEVEN_YEARS_S: u64 = 11 * 365 * 86_400;

/// A batch, as a thief at the factory has it: its key lies open.
struct Stolen([u8; 32]);

impl Stolen {
    fn from(house: &House, file: &str) -> Self {
        let batch: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let id = BatchId(ChipId::parse(&text(&batch["batch"])).unwrap().0);
        let sealed = hex::decode(text(&batch["sealed_key"])).unwrap();
        let key = pki::seal::open(&house.transport, &seal_context(id, 1), &sealed).unwrap();
        Self(*key)
    }

    /// A chip with this id and the right channel keys; `certify` makes its certificate chain.
    fn clone_chip(&self, path: &PathBuf, id: ChipId, scheme: Scheme, certify: impl FnOnce(&PublicKey) -> Vec<u8>) {
        let own = chip_keys_of_batch(&self.0, id, 1).unwrap();
        let mut chip = VirtualChip::create(path).unwrap();
        personalise_in_line(&mut chip, scheme, id.0, &own, |key| Ok(certify(key))).unwrap();
    }
}

/// Chips of a shipment that has come in, their flashes in the factory's store, first one first.
fn chips(play: &Play, maker: &str) -> Vec<(ChipId, PathBuf)> {
    let store = play.cloud.data.join("factories").join(maker).join("chips");
    let mut found: Vec<PathBuf> = std::fs::read_dir(store).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    let id = |path: &PathBuf| ChipId::parse(path.file_stem().unwrap().to_str().unwrap()).unwrap();
    found.into_iter().map(|path| (id(&path), path)).collect()
}

/// The lines of the audit trail of a token or a chip, newest first: what, and why.
fn trail(play: &Play, subject: &str) -> Vec<(String, String)> {
    let trail = play.run(&["audit", "trail", subject]).unwrap();
    let line = |line: &Value| (text(&line["name"]), line["why"].as_str().unwrap_or_default().to_owned());
    trail.as_array().unwrap().iter().map(line).collect()
}

fn refused(why: &str) -> Vec<(String, String)> {
    vec![("binding_refused".to_owned(), why.to_owned())]
}

#[test]
fn a_clone_with_stolen_channel_keys_is_refused_and_named_and_the_genuine_chip_is_bound() {
    let play = Play::begin();
    play.run(&["merchant", "new", "Tea House"]).unwrap();
    for (maker, name, scheme, vendor) in
        [("sunrise", "Sunrise", Scheme::P256, "huaxin"), ("huaxin", "Huaxin", Scheme::Sm2, "sunrise")]
    {
        // One each: an account begins only so many bindings a day.
        play.run(&["account", "new", "Li Wei"]).unwrap();
        play.run(&["account", "top-up", "100"]).unwrap();
        play.take_on(maker, name, scheme.name());
        let manifest = play.ship(maker, "1", "6", &[]);
        play.run(&["vendor", "import", &manifest]).unwrap();
        let house = House::open(&paychip::factory::folder(&place(&play), maker).unwrap()).unwrap();
        let stolen = Stolen::from(&house, &play.file(&format!("{maker}.batch")));
        let plan = |maker: &str| Plan {
            maker: maker.to_owned(),
            name: name.to_owned(),
            model: "SE-1".to_owned(),
            scheme: scheme.name().to_owned(),
        };
        let forger = House::found(&play.folder.path().join(format!("forger-{maker}")), plan(maker), NOW_S()).unwrap();
        let other_name = Plan { name: "Elsewhere".to_owned(), ..plan(vendor) };
        let other = House::found(&play.folder.path().join(format!("other-{maker}")), other_name, NOW_S()).unwrap();
        let listed = chips(&play, maker);
        let (sixth, _) = listed[5].clone();
        let certified = |house: &House, id: ChipId, key: &PublicKey, now_s: u64| {
            let leaf = house.certify(id.0, key, now_s).unwrap();
            [leaf.der(), house.line.certificate.der()].concat()
        };
        type Certify<'a> = Box<dyn Fn(ChipId, &PublicKey) -> Vec<u8> + 'a>;
        let forgeries: [(&str, Certify<'_>); 5] = [
            ("chip_attests_nothing", Box::new(|_, _| Vec::new())),
            ("certificate_forged", Box::new(|id, key| certified(&forger, id, key, NOW_S()))),
            ("certificate_of_another_issuer", Box::new(|id, key| certified(&other, id, key, NOW_S()))),
            ("certificate_expired", Box::new(|id, key| certified(&house, id, key, NOW_S() - ELEVEN_YEARS_S))),
            // The line itself was made to certify the clone's key: the manifest holds the hash of the genuine one.
            ("chip_not_genuine", Box::new(|id, key| certified(&house, id, key, NOW_S()))),
        ];
        for (number, (code, certify)) in forgeries.iter().enumerate() {
            let (id, path) = listed[number].clone();
            let genuine = path.with_extension("genuine");
            std::fs::rename(&path, &genuine).unwrap();
            stolen.clone_chip(&path, id, scheme, |key| certify(id, key));
            let (clone, watch) = (format!("{maker}-clone-{number}"), format!("{maker}-{number}"));
            play.watch(&clone, &["new", "--factory", maker]).unwrap();
            let failed = play.watch(&clone, &["bind"]).unwrap_err();
            assert_eq!(error_code(Err(failed.clone())), *code, "{failed}");
            let status = play.watch(&clone, &["status"]).unwrap();
            assert_eq!(status["state"], "ready to be bound", "{code}: nothing has reached the chip");
            assert_eq!(error_code(play.watch(&clone, &["code"])), "wearable_20", "{code}");

            std::fs::rename(&genuine, &path).unwrap();
            play.watch(&watch, &["new", "--factory", maker]).unwrap();
            // An offer follows from chip, second and count: in this second the genuine chip would make the clone's.
            std::thread::sleep(A_SECOND);
            assert_eq!(play.watch(&watch, &["bind"]).unwrap()["state"], "done");
            let made = play.watch(&watch, &["code"]).unwrap();
            let paid = play.run(&["pos", "charge", "1.50", "--code", &text(&made["digits"])]).unwrap();
            assert_eq!(paid["state"], "succeeded");
            // The clone comes after it.
            std::thread::sleep(A_SECOND);
            assert_eq!(error_code(play.watch(&clone, &["bind"])), "chip_bound");
            assert_eq!(trail(&play, &id.to_string()), refused("chip_bound"));
        }
        let tokens = play.run(&["token", "list"]).unwrap();
        let failed = tokens.as_array().unwrap().iter().filter(|token| token["state"] == "revoked");
        let named: Vec<_> = failed.flat_map(|token| trail(&play, &text(&token["id"]))).collect();
        for (code, _) in &forgeries {
            assert!(named.iter().any(|(name, _)| name == code), "{code} is not in the audit trail: {named:?}");
        }

        // What its maker and the operator end holds for the next binding, genuine or not.
        let last = format!("{maker}-last");
        play.watch(&last, &["new", "--factory", maker]).unwrap();
        play.run(&["maker", "chip-model", maker, "SE-1", "--applet", "9.9.9"]).unwrap();
        assert_eq!(error_code(play.watch(&last, &["bind"])), "applet_not_allowed");
        play.run(&["maker", "chip-model", maker, "SE-1", "--applet", "0.2.0"]).unwrap();
        play.run(&["maker", "withdraw", maker]).unwrap();
        assert_eq!(error_code(play.watch(&last, &["bind"])), "maker_withdrawn");
        play.run(&["maker", "readmit", maker]).unwrap();
        let list = play.file(&format!("{maker}.crl"));
        play.run(&["factory", "revoke", maker, "--number", "1", "--out", &list, &sixth.to_string()]).unwrap();
        let line = text(&play.run(&["factory", "show", maker]).unwrap()["line"]);
        play.run(&["maker", "revoke", maker, "--list", &list, "--authority", &line]).unwrap();
        assert_eq!(error_code(play.watch(&last, &["bind"])), "certificate_revoked");
        assert_eq!(trail(&play, &sixth.to_string()), refused("maker_withdrawn"));
    }
    assert_eq!(play.run(&["audit"]).unwrap()["sound"], true);
}

#[test]
fn a_server_in_production_takes_only_shipped_chips() {
    let folder = tempfile::tempdir().unwrap();
    let (data, passphrase) = (folder.path().join("data"), folder.path().join("passphrase"));
    std::fs::write(&passphrase, "correct horse battery\n").unwrap();
    std::fs::set_permissions(&passphrase, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let keys = ["--passphrase-file", passphrase.to_str().unwrap()];
    let made = program().args(["--json", "--data"]).arg(&data).args(keys).args(["vault", "init"]).status().unwrap();
    assert!(made.success());
    let production = [&keys[..], &["--production"]].concat();

    let cloud = Cloud::start_with(&data, &[&production[..], &["--uncertified-chips"]].concat());
    cloud.run(&["account", "new", "Li Wei"]).unwrap();
    cloud.run(&["watch", "--watch", "pilot", "new"]).unwrap();
    cloud.kill();
    // The pilot is over: what was registered in it by hand is not bound any more.
    let cloud = Cloud::start_with(&data, &production);
    assert_eq!(error_code(cloud.run(&["watch", "--watch", "pilot", "bind"])), "chip_uncertified");
    assert_eq!(error_code(cloud.run(&["watch", "--watch", "another", "new"])), "chip_uncertified");
    let play = Play { folder, cloud };
    play.take_on("sunrise", "Sunrise", "p256");
    let manifest = play.ship("sunrise", "1", "1", &[]);
    play.run(&["vendor", "import", &manifest]).unwrap();
    play.watch("shipped", &["new", "--factory", "sunrise"]).unwrap();
    assert_eq!(play.watch("shipped", &["bind"]).unwrap()["state"], "done");
}

fn place(play: &Play) -> paychip::profile::Place {
    paychip::profile::Place { data: play.cloud.data.clone(), server: Some(play.cloud.url.clone()) }
}
