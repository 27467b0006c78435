//! Where a chip comes from, and its proof of it: the certificate its maker's line has issued for it, and an attestation over a
//! challenge of this binding (`spec/binding.md` 4, `spec/chip-commands.md` ATTEST).
//!
//! A shipment's manifest has told the hash of each chip's device key; the certificate and the attestation are what shows
//! that this chip has that key, now. What the certificate's issuers may be is taken from the shipment and the maker, never
//! from what the chip sends.

use pki::{Certificate, Serial, verify_chain};
use protocol::apdu::Response;
use protocol::applet::{
    self, Attestation, CertificatePart, DataObject, Lifecycle, MAX_STATEMENT_BYTES, decode_certificate_part,
};

use crate::chips::Origin;
use crate::makers::manifest::{ManifestHeader, key_hash};
use crate::makers::shipments::line_stands;
use crate::makers::{AppletVersion, ChipModel, Maker, RevokedList, Standing, reason_of};
use crate::relays::encoded;
use crate::{ChipId, Reason};

/// How many parts of its certificate chain a chip is asked for: 1,400 bytes, which hold its own certificate, in one message
/// with everything else.
const ASKED_PARTS: usize = 7;
/// How many commands ask for the proof.
pub(super) const QUESTIONS: usize = 1 + ASKED_PARTS;

/// What the operator knows of a shipped chip's origin, now.
#[derive(Debug, Clone)]
pub struct Provenance {
    /// The hash of its public device key, from the manifest.
    pub key_hash: [u8; 32],
    /// The manifest's header: maker, model, line.
    pub header: ManifestHeader,
    /// The maker.
    pub maker: Maker,
    /// The model, where the operator knows it.
    pub model: Option<ChipModel>,
    /// What the maker's root has ended.
    pub ended_by_root: Option<RevokedList>,
    /// What the line has ended.
    pub ended_by_line: Option<RevokedList>,
}

impl Provenance {
    /// Whether what stands behind the chip still stands: its maker, its model, its line, and its own certificate where it is
    /// known.
    ///
    /// # Errors
    /// [`Reason::MakerWithdrawn`], [`Reason::ModelNotFound`], [`Reason::CertificateRevoked`], and those of a line that is
    /// not valid now.
    pub(super) fn stands(&self, certificate: Option<&[u8]>, now_s: u64) -> Result<(), Reason> {
        self.maker.must_be_active().map_err(|refusal| refusal.reason)?;
        if self.model.as_ref().is_none_or(|model| model.standing != Standing::Active) {
            return Err(Reason::ModelNotFound);
        }
        line_stands(&self.header, &self.maker, self.ended_by_root.as_ref(), now_s).map_err(|refusal| refusal.reason)?;
        let is_ended = self.ended_by_line.as_ref().zip(certificate).is_some_and(|(list, serial)| list.ends(serial));
        if is_ended { Err(Reason::CertificateRevoked) } else { Ok(()) }
    }

    /// Judges a chip's proof: its certificate is its maker's, of its model, not ended and valid now, for the key of the
    /// manifest; and this key has signed the challenge. Gives the certificate's serial number.
    ///
    /// # Errors
    /// What [`Provenance::stands`] and [`pki::verify_chain`] say; [`Reason::ChipNotGenuine`] for another chip's certificate
    /// or a wrong signature; [`Reason::AppletNotAllowed`], [`Reason::ChipStateForbids`].
    pub(super) fn judge(
        &self,
        chip: ChipId,
        challenge: &[u8],
        proof: &Proof<'_>,
        now_s: u64,
    ) -> Result<Serial, Reason> {
        let certificate = proof.certificate()?;
        let line = self.header.authority.clone();
        if !certificate.names_as_issuer(&line) {
            return Err(Reason::CertificateOfAnotherIssuer);
        }
        let chain = [certificate, line];
        verify_chain(&chain, &self.maker.root, now_s).map_err(reason_of)?;
        let [certificate, _] = chain;
        self.stands(Some(certificate.serial()), now_s)?;
        let is_of_this_chip = certificate.common_name() == Some(&*chip.to_string())
            && certificate.unit() == Some(self.header.model.as_str())
            && key_hash(certificate.key()) == self.key_hash;
        let attestation = Attestation::decode(proof.attestation).map_err(|_| Reason::ChipNotGenuine)?;
        let mut statement = [0; MAX_STATEMENT_BYTES];
        let statement = attestation.statement(challenge, &mut statement).map_err(|_| Reason::ChipNotGenuine)?;
        let key = certificate.key();
        // The scheme it names is part of the statement: another than the key's makes it another statement.
        let is_signed = key.has_signed(statement, attestation.signature);
        if !is_of_this_chip || *attestation.chip_id != chip.0 || !is_signed {
            return Err(Reason::ChipNotGenuine);
        }
        let versions = attestation.versions;
        let applet = AppletVersion([versions.major, versions.minor, versions.patch]);
        if !self.model.as_ref().is_some_and(|model| model.applets.contains(&applet)) {
            return Err(Reason::AppletNotAllowed);
        }
        match attestation.lifecycle {
            Lifecycle::Ready | Lifecycle::Bound => Ok(certificate.serial().to_vec()),
            Lifecycle::Blank | Lifecycle::Suspended | Lifecycle::Terminated => Err(Reason::ChipStateForbids),
        }
    }
}

/// Whether a chip without an origin may be bound.
///
/// # Errors
/// [`Reason::ChipUncertified`].
pub(super) fn may_be_uncertified(origin: Option<Origin>, settings: &crate::Settings) -> Result<(), Reason> {
    if origin.is_none() && !settings.uncertified_chips { Err(Reason::ChipUncertified) } else { Ok(()) }
}

/// The commands that ask a chip for its proof, and whether the script goes on when one is refused: a chain has fewer parts
/// than a chip has room for.
pub(super) fn questions(challenge: &[u8]) -> Vec<(Vec<u8>, bool)> {
    let parts = CertificatePart::all().take(ASKED_PARTS).map(|part| DataObject::Certificate(part).command());
    let parts = parts.map(|command| (encoded(&command), true));
    core::iter::once((encoded(&applet::attest(challenge)), false)).chain(parts).collect()
}

/// A chip's answers to [`questions`].
pub(super) struct Proof<'a> {
    attestation: &'a [u8],
    chain: Vec<u8>,
}

impl<'a> Proof<'a> {
    /// Reads the answers, in the order they were asked for.
    ///
    /// # Errors
    /// [`Reason::ChipAttestsNothing`] where the chip has refused to attest or has no certificate; [`Reason::ChipSilent`]
    /// where an answer was lost.
    pub(super) fn read(answers: &'a [Vec<u8>]) -> Result<Self, Reason> {
        let (attestation, parts) = answers.split_first().ok_or(Reason::ChipSilent)?;
        let attestation = answer(attestation)?.ok_or(Reason::ChipAttestsNothing)?;
        let mut chain = Vec::new();
        for (part, bytes) in CertificatePart::all().take(ASKED_PARTS).zip(parts) {
            let Some(bytes) = answer(bytes)? else { break };
            let part = decode_certificate_part(part, bytes).map_err(|_| Reason::CertificateMalformed)?;
            chain.extend_from_slice(part);
        }
        if chain.is_empty() { Err(Reason::ChipAttestsNothing) } else { Ok(Self { attestation, chain }) }
    }

    /// The chip's own certificate: the first of the chain. What follows is its maker's, and known from elsewhere.
    fn certificate(&self) -> Result<Certificate, Reason> {
        pki::first_of_chain(&self.chain).map_err(reason_of)
    }
}

/// The data of an answer; nothing where it is a refusal.
fn answer(answer: &[u8]) -> Result<Option<&[u8]>, Reason> {
    let answer = Response::parse(answer).map_err(|_| Reason::ChipSilent)?;
    Ok(answer.status.is_ok().then_some(answer.data))
}

#[cfg(test)]
#[path = "provenance_cases.rs"]
pub(super) mod tests;
