//! A maker with a root and an issuing authority.
#![allow(clippy::unwrap_used, dead_code, reason = "a test that cannot go on fails; each test file uses its part")]

use pki::issue::{Authority, NewCertificate, Role, Subject, root};
use pki::{Certificate, PublicKey, Scheme, SecretKey};

pub const NOW_S: u64 = 1_763_890_000;
pub const DAY_S: u64 = 86_400;

pub struct Maker {
    pub name: &'static str,
    pub root: Certificate,
    pub issuing: Authority,
}

pub fn key(scheme: Scheme, seed: u8) -> SecretKey {
    SecretKey::new(scheme, &[seed; 32]).unwrap()
}

pub fn new<'a>(
    role: Role,
    key: &'a PublicKey,
    maker: &'a str,
    common_name: &'a str,
    serial: &'a [u8],
) -> NewCertificate<'a> {
    let unit = (role == Role::Chip).then_some("M1, \"small\"");
    NewCertificate {
        role,
        serial,
        subject: Subject { organisation: maker, unit, common_name },
        key,
        not_before_s: NOW_S - DAY_S,
        not_after_s: NOW_S + 100 * DAY_S,
    }
}

impl Maker {
    pub fn new(scheme: Scheme, name: &'static str, seed: u8) -> Self {
        Self::with_issuing_until(scheme, name, seed, NOW_S + 100 * DAY_S)
    }

    pub fn with_issuing_until(scheme: Scheme, name: &'static str, seed: u8, until_s: u64) -> Self {
        let (root_key, issuing_key) = (key(scheme, seed), key(scheme, seed + 1));
        let own = root(&new(Role::Root, root_key.public(), name, "root", &[1]), &root_key).unwrap();
        let root = Authority { certificate: own, key: root_key };
        let issuing =
            NewCertificate { not_after_s: until_s, ..new(Role::Issuing, issuing_key.public(), name, "issuing", &[2]) };
        let issuing = Authority { certificate: root.issue(&issuing).unwrap(), key: issuing_key };
        Self { name, root: root.certificate, issuing }
    }

    pub fn certify(&self, role: Role, key: &PublicKey, common_name: &str, serial: u8) -> Certificate {
        self.issuing.issue(&new(role, key, self.name, common_name, &[serial])).unwrap()
    }

    pub fn chip(&self, id: &str, serial: u8) -> Certificate {
        let key = key(self.root.key().scheme(), 200);
        self.certify(Role::Chip, key.public(), id, serial)
    }
}
