//! The maker of a world's chips: a root, a line, a model and one shipment, and a certificate for each chip.

use paycode::Suite;
use pki::issue::{Authority, NewCertificate, Role, Subject, root};
use pki::{PublicKey, Scheme, SecretKey};
use platform::chips::{Chip, Origin};
use platform::makers::manifest::{ManifestHeader, Running, ShipmentNumber, key_hash};
use platform::makers::shipments::{Shipment, ShipmentState};
use platform::makers::{
    AppletVersion, Batch, BatchId, ChipModel, Maker, MakerCode, MakerKind, ModelName, Standing, chip_keys_of_batch,
};
use platform::{Change, ChipId, KeyVault, ShipmentId};
use protocol::scp03::KeySet;

const NAME: &str = "Sim";
const MODEL: &str = "M";
const YEAR_MS: u64 = 365 * 86_400_000;
const SHIPMENT: ShipmentId = ShipmentId([0x55; 16]);
const BATCH: BatchId = BatchId([0x66; 16]);
/// The version of chips' keys.
const KEY_VERSION: u8 = 1;

/// A maker.
pub(super) struct House {
    line: Authority,
    shipment: Shipment,
    maker: Maker,
    now_ms: u64,
    chips: Vec<Chip>,
}

impl House {
    /// A maker that signs by this scheme.
    pub(super) fn found(scheme: Scheme, random: &mut fastrand::Rng, now_ms: u64) -> Result<Self, String> {
        let (root_key, line_key) = (draw(scheme, random)?, draw(scheme, random)?);
        let own = root(&certificate(Role::Root, root_key.public(), &[1], "R", now_ms), &root_key).map_err(told)?;
        let root = Authority { certificate: own, key: root_key };
        let line = certificate(Role::Issuing, line_key.public(), &[2], "L", now_ms);
        let line = Authority { certificate: root.issue(&line).map_err(told)?, key: line_key };
        let code = MakerCode::parse("sim").map_err(told)?;
        let header = ManifestHeader {
            maker: code.clone(),
            model: ModelName::parse(MODEL).map_err(told)?,
            shipment: ShipmentNumber::parse("1").map_err(told)?,
            batch: BATCH,
            key_version: KEY_VERSION,
            count: 1,
            made_s: now_ms / 1_000,
            authority: line.certificate.clone(),
        };
        let running = Running::of_header(&header);
        let shipment = Shipment { id: SHIPMENT, header, running, state: ShipmentState::Complete, created_ms: now_ms };
        let maker = Maker {
            code,
            name: NAME.to_owned(),
            kind: MakerKind::Chips,
            root: root.certificate,
            standing: Standing::Active,
            created_ms: now_ms,
        };
        Ok(Self { line, shipment, maker, now_ms, chips: Vec::new() })
    }

    /// The keys of a chip's channel.
    pub(super) fn keys(vault: &dyn KeyVault, chip: ChipId) -> Result<KeySet, String> {
        let batch = vault.batch_key(BATCH, KEY_VERSION).map_err(told)?;
        chip_keys_of_batch(&batch, chip, KEY_VERSION).map_err(told)
    }

    /// How its chips sign.
    pub(super) fn scheme(&self) -> Scheme {
        self.line.key.public().scheme()
    }

    /// Ships a chip with this key: its certificate.
    pub(super) fn certify(&mut self, chip: ChipId, key: &[u8]) -> Result<Vec<u8>, String> {
        let key = PublicKey::new(self.scheme(), key).map_err(told)?;
        let id = chip.to_string();
        let serial = [&[0x40][..], &chip.0].concat();
        let new = certificate(Role::Chip, &key, &serial, &id, self.now_ms);
        let leaf = self.line.issue(&new).map_err(told)?;
        let origin = Some(Origin { shipment: SHIPMENT, key_hash: key_hash(&key) });
        self.chips.push(Chip { id: chip, key_version: KEY_VERSION, registered_ms: self.now_ms, origin });
        Ok(leaf.der().to_vec())
    }

    /// Everything the operator knows of it.
    pub(super) fn known(self) -> Vec<Change> {
        let model = ChipModel {
            maker: self.maker.code.clone(),
            name: self.shipment.header.model.clone(),
            suite: Suite::International,
            flash_kib: 4,
            applets: vec![AppletVersion([0, 2, 0])],
            standing: Standing::Active,
            changed_ms: self.now_ms,
        };
        let batch =
            Batch { id: BATCH, maker: self.maker.code.clone(), key_version: KEY_VERSION, created_ms: self.now_ms };
        let mut known = vec![
            Change::PutMaker(self.maker),
            Change::PutChipModel(model),
            Change::PutBatch(batch),
            Change::PutShipment(self.shipment),
        ];
        known.extend(self.chips.into_iter().map(Change::PutChip));
        known
    }
}

fn certificate<'a>(
    role: Role,
    key: &'a PublicKey,
    serial: &'a [u8],
    common_name: &'a str,
    now_ms: u64,
) -> NewCertificate<'a> {
    let unit = (role == Role::Chip).then_some(MODEL);
    NewCertificate {
        role,
        serial,
        subject: Subject { organisation: NAME, unit, common_name },
        key,
        not_before_s: (now_ms - YEAR_MS) / 1_000,
        // A world's clock goes on for days, not for years.
        not_after_s: (now_ms + YEAR_MS) / 1_000,
    }
}

fn draw(scheme: Scheme, random: &mut fastrand::Rng) -> Result<SecretKey, String> {
    let mut secret = [0; 32];
    random.fill(&mut secret);
    SecretKey::new(scheme, &secret).map_err(told)
}

fn told(error: impl core::fmt::Display) -> String {
    error.to_string()
}
