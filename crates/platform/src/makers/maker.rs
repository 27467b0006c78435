//! A maker: its code, its root certificate, and whether it is still taken.

use pki::Certificate;

use super::{MakerCode, event, refused};
use crate::accounts::MAX_NAME_LEN;
use crate::text::is_readable;
use crate::{Change, Reason, Refusal, UnixMs};

/// What a maker makes. The number is what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum MakerKind {
    /// Chips: it issues their certificates and ships them.
    Chips = 1,
    /// Devices that chips are put into.
    Devices = 2,
}

impl MakerKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Chips, Self::Devices];

    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chips => "chips",
            Self::Devices => "devices",
        }
    }

    /// The kind with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Whether a maker, or a model, is taken. The number is what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Standing {
    /// Its chips may be imported and bound.
    Active = 1,
    /// Nothing new of it is taken. What is bound already goes on paying, until its tokens are stopped.
    Withdrawn = 2,
}

impl Standing {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Active, Self::Withdrawn];

    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// A maker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maker {
    /// Its code.
    pub code: MakerCode,
    /// Its name, for people.
    pub name: String,
    /// What it makes.
    pub kind: MakerKind,
    /// Its root certificate.
    pub root: Certificate,
    /// Whether it is taken.
    pub standing: Standing,
    /// Since when it is known.
    pub created_ms: UnixMs,
}

impl Maker {
    /// What the audit trail calls it.
    pub fn subject(&self) -> String {
        format!("maker:{}", self.code)
    }

    /// The maker, where it is taken.
    ///
    /// # Errors
    /// [`Reason::MakerWithdrawn`].
    pub fn must_be_active(&self) -> Result<(), Refusal> {
        if self.standing == Standing::Active { Ok(()) } else { Err(Refusal::at(Reason::MakerWithdrawn, "maker")) }
    }

    /// Refuses a maker of the other kind.
    ///
    /// # Errors
    /// [`Reason::MakerKindForbids`].
    pub fn must_make(&self, kind: MakerKind) -> Result<(), Refusal> {
        if self.kind == kind { Ok(()) } else { Err(Refusal::at(Reason::MakerKindForbids, "maker")) }
    }
}

/// Asks for a maker to be taken on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakeOnMaker {
    /// Its code.
    pub code: MakerCode,
    /// Its name.
    pub name: String,
    /// What it makes.
    pub kind: MakerKind,
    /// Its root certificate, DER or PEM.
    pub root: Vec<u8>,
    /// The present time.
    pub now_ms: UnixMs,
}

/// Takes a maker on. The same request again changes nothing.
///
/// # Errors
/// [`Reason::FieldTooLong`], [`Reason::FieldMalformed`], [`Reason::MakerExists`], and those of a certificate that is no
/// root, or not now.
pub fn take_on(request: TakeOnMaker, before: Option<Maker>) -> Result<(Maker, Vec<Change>), Refusal> {
    let TakeOnMaker { code, name, kind, root, now_ms } = request;
    if name.len() > MAX_NAME_LEN {
        return Err(Refusal::at(Reason::FieldTooLong, "name"));
    }
    if name.trim().is_empty() || !is_readable(&name) {
        return Err(Refusal::at(Reason::FieldMalformed, "name"));
    }
    let root = Certificate::from_file(&root).map_err(|fault| refused(fault, "root"))?;
    root.check_is_root(now_ms / 1_000).map_err(|fault| refused(fault, "root"))?;
    if let Some(before) = before {
        let is_same = before.name == name && before.kind == kind && before.root == root;
        return if is_same { Ok((before, Vec::new())) } else { Err(Refusal::at(Reason::MakerExists, "code")) };
    }
    let maker = Maker { code, name, kind, root, standing: Standing::Active, created_ms: now_ms };
    let event = event(maker.subject(), now_ms, "maker_taken_on");
    Ok((maker.clone(), vec![Change::PutMaker(maker), Change::AddEvent(event)]))
}

/// Withdraws a maker, or takes it back. Doing twice what is done already changes nothing.
///
/// # Errors
/// [`Reason::MakerNotFound`].
pub fn set_standing(
    before: Option<Maker>,
    standing: Standing,
    now_ms: UnixMs,
) -> Result<(Maker, Vec<Change>), Refusal> {
    let before = before.ok_or(Refusal::at(Reason::MakerNotFound, "maker"))?;
    if before.standing == standing {
        return Ok((before, Vec::new()));
    }
    let name = match standing {
        Standing::Active => "maker_readmitted",
        Standing::Withdrawn => "maker_withdrawn",
    };
    let event = event(before.subject(), now_ms, name);
    let maker = Maker { standing, ..before };
    Ok((maker.clone(), vec![Change::PutMaker(maker), Change::AddEvent(event)]))
}
