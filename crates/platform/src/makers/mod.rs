//! Makers: who makes chips and devices, which models of theirs are taken, and which certificates have been ended.
//!
//! A maker is known by a short code and proves what it has made by certificates under its own root. Makers stand side by
//! side: a chain of one says nothing about chips of another. All of it is the operator's to change, and each change is in
//! the audit trail.

mod batch;
mod code;
mod maker;
pub mod manifest;
mod models;
mod revoked;
pub mod shipments;

#[cfg(test)]
pub(crate) mod cases;

pub use batch::{Batch, BatchId, chip_keys_of_batch, open_batch, seal_context};
pub use code::{MAX_CODE_LEN, MakerCode, ModelName};
pub use maker::{Maker, MakerKind, Standing, TakeOnMaker, set_standing, take_on};
pub use models::{
    AppletVersion, ChipModel, DeviceKind, DeviceLink, DeviceModel, DeviceScreen, MAX_APPLETS, put_chip_model,
    put_device_model,
};
pub use revoked::{RevokedList, authority_of, take_in_list};

use crate::{Event, Reason, Refusal, UnixMs};

/// A fault of a certificate or list as a refusal, at the field it came in.
pub(crate) fn refused(fault: pki::Fault, field: &'static str) -> Refusal {
    Refusal::at(reason_of(fault), field)
}

/// The reason that says the same as a fault of a certificate.
pub(crate) const fn reason_of(fault: pki::Fault) -> Reason {
    match fault {
        pki::Fault::Malformed => Reason::CertificateMalformed,
        pki::Fault::TooLong => Reason::CertificateTooLong,
        pki::Fault::UnknownScheme => Reason::CertificateSchemeUnknown,
        pki::Fault::OtherIssuer => Reason::CertificateOfAnotherIssuer,
        pki::Fault::Forged => Reason::CertificateForged,
        pki::Fault::NotYetValid => Reason::CertificateNotYetValid,
        pki::Fault::Expired => Reason::CertificateExpired,
    }
}

/// Something the operator did to a maker or to something of its.
fn event(subject: String, at_ms: UnixMs, name: &'static str) -> Event {
    Event { at_ms, subject, name, actor: "operator".to_owned(), why: String::new() }
}
