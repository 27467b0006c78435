//! The decisions of a binding: what starts it, and what each message from the chip leads to.

use protocol::applet::{self, Grant, InstallToken, Order, Slot};
use protocol::scp03::{KeySet, Level};
use zeroize::Zeroizing;

use super::provenance::{self, Proof, Provenance, QUESTIONS};
use super::{Binding, BindingState, MAX_ASKED_AGAIN, MAX_ATTEMPTS, MAX_WEARABLES, Offer};
use crate::accounts::Account;
use crate::chips::Chip;
use crate::relays::{self, Head, Opening, Results, Sealed, encoded, judge_opening};
use crate::tokens::{Token, TokenState};
use crate::{AccountId, BindingId, Caller, Change, Event, KeyVersions, Reason, Refusal, Settings, TokenId, UnixMs};

/// The longest order, bytes.
const ORDER_BYTES: usize = 300;

/// What starting a binding needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartRequest {
    /// A fresh id.
    pub id: BindingId,
    /// A fresh id for the token.
    pub token: TokenId,
    /// The account to bind to.
    pub account: AccountId,
    /// What the wearable showed.
    pub offer: Offer,
    /// Fresh random bytes.
    pub host_challenge: [u8; 8],
    /// The present time.
    pub now_ms: UnixMs,
}

/// What is known when a binding starts.
pub struct StartFacts {
    /// The chip of the offer, if it is registered.
    pub chip: Option<Chip>,
    /// Where it comes from, if it came in a shipment.
    pub provenance: Option<Provenance>,
    /// The chip's token that is not revoked, if it has one.
    pub living: Option<Token>,
    /// The binding that began with this very offer, if one did.
    pub before: Option<RelayFacts>,
    /// The next free token number.
    pub next_index: u64,
    /// The key versions for new tokens.
    pub versions: KeyVersions,
    /// What the account has bound and begun to bind before.
    pub of_account: OfAccount,
}

/// What an account has bound and begun to bind before.
#[derive(Debug, Clone, Default)]
pub struct OfAccount {
    /// Bindings it has begun on this day.
    pub begun_today: u8,
    /// Its tokens that are neither pending nor revoked.
    pub wearables: usize,
    /// The pending token that gives way to a new one, where [`super::MAX_UNDER_WAY`] are pending, that of this chip not counted.
    pub gives_way: Option<Token>,
}

impl OfAccount {
    /// Whether it may begin one more.
    fn may_begin(&self, settings: &Settings) -> Result<(), Reason> {
        if self.wearables >= MAX_WEARABLES {
            return Err(Reason::TooManyWearables);
        }
        if self.begun_today >= settings.bindings_a_day { Err(Reason::TooManyBindings) } else { Ok(()) }
    }
}

/// The state of a binding and the message its wearable gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayAnswer {
    /// The binding, after the message.
    pub binding: Binding,
    /// For the wearable.
    pub message: Vec<u8>,
}

/// Starts a binding. The same offer again, from the same account, returns the same binding and the script that is
/// due: a phone that lost everything goes on from there, and gets its receipt if only that was lost.
///
/// # Errors
/// [`Reason::ChipNotFound`], [`Reason::ChipBound`], [`Reason::OfferUsed`], [`Reason::TokensExhausted`];
/// [`Reason::TooManyBindings`], [`Reason::TooManyWearables`]; [`Reason::ChipUncertified`], and those of a maker, model or line that stands no more.
pub fn start(
    request: &StartRequest,
    facts: StartFacts,
    settings: &Settings,
) -> Result<(RelayAnswer, Vec<Change>), Refusal> {
    let at_offer = |reason| Refusal::at(reason, "offer");
    let chip = facts.chip.ok_or(at_offer(Reason::ChipNotFound))?;
    if let Some(before) = facts.before {
        return begun_before(request, before).ok_or(at_offer(Reason::OfferUsed)).and_then(|answer| answer);
    }
    provenance::may_be_uncertified(chip.origin, settings).map_err(at_offer)?;
    if let Some(provenance) = &facts.provenance {
        provenance.stands(None, request.now_ms / 1_000).map_err(at_offer)?;
    }
    let mut changes = Vec::new();
    let token = match facts.living {
        Some(living) if living.state != TokenState::Pending => return Err(Refusal::at(Reason::ChipBound, "offer")),
        // An earlier binding was left half way. It ends here: every binding has a token of its own, so a late
        // message of one can never touch the token of another.
        living => {
            facts.of_account.may_begin(settings)?;
            let ended = living.into_iter().chain(facts.of_account.gives_way);
            changes.extend(ended.map(|pending| Change::PutToken(Token { state: TokenState::Revoked, ..pending })));
            let token = new_token(request, &chip, facts.next_index, facts.versions, settings)?;
            changes.push(Change::PutToken(token.clone()));
            token
        }
    };
    let binding = Binding {
        id: request.id,
        account: request.account,
        chip: chip.id,
        nonce: request.offer.nonce,
        token: token.id,
        host_challenge: request.host_challenge,
        script: 1,
        card_answer: None,
        anchor_s: 0,
        offline_allowance_s: settings.codes.offline_allowance_s,
        code_budget: settings.codes.budget,
        state: BindingState::Opening,
        created_ms: request.now_ms,
        certificate: None,
        channels: 0,
        failure: None,
    };
    changes.push(Change::CountBegunBinding { account: request.account, day: settings.day_of(request.now_ms) });
    changes.push(Change::PutBinding(binding.clone()));
    let message = opening_script(&binding, chip.key_version, facts.provenance.is_some());
    Ok((RelayAnswer { binding, message }, changes))
}

/// What the same offer gets again; nothing where it is used up.
fn begun_before(request: &StartRequest, before: RelayFacts) -> Option<Result<(RelayAnswer, Vec<Change>), Refusal>> {
    if before.binding.account != request.account {
        return None;
    }
    match before.binding.state {
        // One that has given way to a newer one gets no further.
        BindingState::Opening | BindingState::Installing if before.token.state == TokenState::Pending => {
            let message = due_script(&before);
            Some(message.map(|message| (RelayAnswer { binding: before.binding, message }, Vec::new())))
        }
        // The receipt of a binding that stands; of one whose token was ended since there is nothing to show.
        BindingState::Done if before.token.state != TokenState::Revoked => {
            Some(Ok((done_answer(before.binding, &before.account), Vec::new())))
        }
        _ => None,
    }
}

fn new_token(
    request: &StartRequest,
    chip: &Chip,
    next_index: u64,
    versions: KeyVersions,
    settings: &Settings,
) -> Result<Token, Refusal> {
    let format = settings.codes.format;
    let fits = u32::try_from(format.index_digits()).is_ok_and(|digits| next_index < 10_u64.pow(digits));
    let index = paycode::TokenIndex::new(next_index).ok().filter(|_| fits).ok_or(Reason::TokensExhausted)?;
    Ok(Token {
        id: request.token,
        account: request.account,
        chip: chip.id,
        format,
        suite: settings.codes.suite,
        index,
        pay_key_version: versions.pay,
        mask_key_version: versions.mask,
        state: TokenState::Pending,
        last_stamp: None,
        last_counter: None,
        guesses: Default::default(),
        spent: Default::default(),
        expires_ms: Some(request.now_ms.saturating_add(settings.token_lifetime_ms)),
        created_ms: request.now_ms,
    })
}

/// The keys a binding puts to use. They leave this process only inside the secure channel.
pub struct BindingKeys {
    /// The chip's static keys.
    pub chip: KeySet,
    /// The token's pay key.
    pub pay: Zeroizing<[u8; 32]>,
    /// The mask key of the token's format.
    pub mask: Zeroizing<[u8; 16]>,
}

/// What is known when a message arrives.
pub struct RelayFacts {
    /// The binding.
    pub binding: Binding,
    /// Its token.
    pub token: Token,
    /// Its account.
    pub account: Account,
    /// Where its chip comes from, if it came in a shipment.
    pub provenance: Option<Provenance>,
    /// The keys.
    pub keys: BindingKeys,
}

impl RelayFacts {
    /// What the chip still has to prove, where it has to prove anything.
    fn unproved(&self) -> Option<&Provenance> {
        self.provenance.as_ref().filter(|_| self.binding.certificate.is_none())
    }
}

/// Decides what a message from the wearable leads to. `host_challenge` is fresh, for a channel that must be opened
/// anew.
///
/// # Errors
/// [`Reason::BindingNotFound`] for a caller it does not belong to, [`Reason::MessageMalformed`]. Everything the
/// chip itself says wrong ends or restarts the binding instead, and is an answer.
pub fn relay(
    caller: Caller,
    facts: RelayFacts,
    message: &[u8],
    host_challenge: [u8; 8],
    settings: &Settings,
    now_ms: UnixMs,
) -> Result<(RelayAnswer, Vec<Change>), Refusal> {
    if !caller.may_act_for(facts.binding.account) {
        return Err(Reason::BindingNotFound.into());
    }
    let results = relays::read_results(message)?;
    if results.session != facts.binding.id.0 {
        return Err(Refusal::at(Reason::MessageMalformed, "message"));
    }
    match facts.binding.state {
        BindingState::Done => return Ok((done_answer(facts.binding, &facts.account), Vec::new())),
        BindingState::Failed => return Ok((failed_answer(facts.binding), Vec::new())),
        BindingState::Opening | BindingState::Installing => {}
    }
    // Revoked meanwhile, or given up for a newer binding of the same chip: nothing can come of this one.
    if facts.token.state != TokenState::Pending {
        return Ok(fail(facts, now_ms, Reason::BindingSuperseded));
    }
    // A chip that has the keys may confirm late, when its phone is back; one that has not may not begin late.
    let lifetime_ms = match facts.binding.state {
        BindingState::Opening => settings.binding_lifetime_ms,
        _ => settings.confirmation_lifetime_ms,
    };
    if now_ms > facts.binding.created_ms.saturating_add(lifetime_ms) {
        return Ok(fail(facts, now_ms, Reason::BindingExpired));
    }
    if results.number != u16::from(facts.binding.script) {
        // A repeat of something answered before: say again what is due now.
        let message = due_script(&facts)?;
        return Ok((RelayAnswer { binding: facts.binding, message }, Vec::new()));
    }
    match facts.binding.state {
        BindingState::Opening => opened(facts, &results, host_challenge, now_ms),
        _ => installed(facts, &results, host_challenge, now_ms),
    }
}

/// What is due for the wearable now: a script, or the last word. It changes nothing.
///
/// # Errors
/// [`Reason::BindingNotFound`] for a caller it does not belong to.
pub fn due(caller: Caller, facts: RelayFacts) -> Result<RelayAnswer, Refusal> {
    if !caller.may_act_for(facts.binding.account) {
        return Err(Reason::BindingNotFound.into());
    }
    Ok(match facts.binding.state {
        BindingState::Done => done_answer(facts.binding, &facts.account),
        BindingState::Failed => failed_answer(facts.binding),
        BindingState::Opening | BindingState::Installing => {
            let message = due_script(&facts)?;
            RelayAnswer { binding: facts.binding, message }
        }
    })
}

/// The chip has answered the opening: check that it is the chip its maker shipped, and the one that has the keys, and send
/// it the token.
fn opened(
    facts: RelayFacts,
    results: &Results,
    host_challenge: [u8; 8],
    now_ms: UnixMs,
) -> Result<(RelayAnswer, Vec<Change>), Refusal> {
    // The first is SELECT's.
    let mut answers = results.answers.get(1..).unwrap_or_default();
    let certificate = match facts.unproved() {
        None => facts.binding.certificate.clone(),
        Some(provenance) => {
            let (proof, rest) = answers.split_at(QUESTIONS.min(answers.len()));
            answers = rest;
            let challenge = attestation_challenge(&facts.binding);
            let judge = |proof| provenance.judge(facts.binding.chip, &challenge, &proof, now_ms / 1_000);
            match Proof::read(proof).and_then(judge) {
                Ok(certificate) => Some(certificate),
                Err(reason) => return Ok(fail(facts, now_ms, reason)),
            }
        }
    };
    let facts = RelayFacts { binding: Binding { certificate, ..facts.binding }, ..facts };
    let card_answer = match judge_opening(&facts.keys.chip, &facts.binding.host_challenge, answers.first()) {
        Opening::Opened(answer) => answer,
        Opening::HeldBack if facts.binding.script < MAX_ASKED_AGAIN => return Ok(reopen(facts, host_challenge)),
        Opening::HeldBack => return Ok(fail(facts, now_ms, Reason::ChipRefusedChannel)),
        Opening::Refused(reason) => return Ok(fail(facts, now_ms, reason)),
    };
    let binding = Binding {
        script: facts.binding.script.saturating_add(1),
        channels: facts.binding.channels.saturating_add(1),
        card_answer: Some(card_answer),
        anchor_s: now_ms / 1_000,
        state: BindingState::Installing,
        ..facts.binding
    };
    let facts = RelayFacts { binding, ..facts };
    let message = due_script(&facts)?;
    let changes = vec![Change::PutBinding(facts.binding.clone())];
    Ok((RelayAnswer { binding: facts.binding, message }, changes))
}

/// What the chip signs: this binding, and the challenge of its present channel.
fn attestation_challenge(binding: &Binding) -> [u8; 24] {
    let mut challenge = [0; 24];
    let bytes = binding.id.0.iter().chain(&binding.host_challenge);
    challenge.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    challenge
}

/// The chip has answered the installation: only its own authentic confirmation makes the token pay.
fn installed(
    facts: RelayFacts,
    results: &Results,
    host_challenge: [u8; 8],
    now_ms: UnixMs,
) -> Result<(RelayAnswer, Vec<Change>), Refusal> {
    if confirmed(&facts, results)? {
        // Its maker may have been withdrawn, or its certificate ended, since the chip has proved its origin.
        let certificate = facts.binding.certificate.as_deref();
        let stands = facts.provenance.as_ref().map_or(Ok(()), |from| from.stands(certificate, now_ms / 1_000));
        if let Err(reason) = stands {
            return Ok(fail(facts, now_ms, reason));
        }
        let binding = Binding { state: BindingState::Done, ..facts.binding };
        let token = Token { state: TokenState::Active, ..facts.token };
        let changes = vec![
            Change::PutBinding(binding.clone()),
            Change::PutToken(token.clone()),
            Change::AddEvent(Event::about_token(token.id, now_ms, "bound", Caller::Wearer(binding.account))),
        ];
        return Ok((done_answer(binding, &facts.account), changes));
    }
    if facts.binding.channels >= MAX_ATTEMPTS {
        return Ok(fail(facts, now_ms, Reason::BindingFailed));
    }
    Ok(reopen(facts, host_challenge))
}

/// Whether the last answer is the chip's own, under the channel's MAC, that the token is installed.
fn confirmed(facts: &RelayFacts, results: &Results) -> Result<bool, Refusal> {
    Ok(matches!(installation(facts)?.read(&results.answers).as_slice(), [Some(_)]))
}

/// The installation, in the channel it is for.
fn installation(facts: &RelayFacts) -> Result<Sealed, Refusal> {
    let card_answer = facts.binding.card_answer.as_deref().unwrap_or_default();
    let mut order = Zeroizing::new([0; ORDER_BYTES]);
    let label = facts.account.masked_name();
    let order = Order::InstallToken(InstallToken {
        slot: Slot::FIRST,
        token_id: &facts.token.id.0,
        prefix: facts.token.format.prefix_str(),
        total_digits: u8::try_from(facts.token.format.total_digits()).unwrap_or(0),
        suite: facts.token.suite.id(),
        token_index: facts.token.index.get(),
        pay_key: &facts.keys.pay,
        pay_key_version: facts.token.pay_key_version,
        mask_key: &facts.keys.mask,
        mask_key_version: facts.token.mask_key_version,
        account_label: &label,
        grant: Grant {
            time_anchor_unix_seconds: facts.binding.anchor_s,
            offline_allowance_seconds: facts.binding.offline_allowance_s,
            code_budget: facts.binding.code_budget,
        },
    })
    .encode(&mut *order)
    .map_err(|_| Reason::BindingFailed)?;
    let install = [applet::store_data(order)];
    relays::seal(&facts.keys.chip, Level::Full, &facts.binding.host_challenge, card_answer, &install)
        .map_err(|_| Reason::BindingFailed.into())
}

fn due_script(facts: &RelayFacts) -> Result<Vec<u8>, Refusal> {
    if facts.binding.state == BindingState::Opening {
        return Ok(opening_script(&facts.binding, facts.keys.chip.version(), facts.unproved().is_some()));
    }
    let commands = installation(facts)?.commands.into_iter().map(|command| (command, false));
    Ok(relays::script(head(&facts.binding), &commands.collect::<Vec<_>>()))
}

fn head(binding: &Binding) -> Head {
    Head { session: binding.id.0, number: binding.script, progress: binding.state.progress_once_run() }
}

/// SELECT, the questions after the chip's origin where it has still to prove it, INITIALIZE UPDATE.
fn opening_script(binding: &Binding, key_version: u8, proves_origin: bool) -> Vec<u8> {
    let mut commands = vec![(encoded(&applet::select()), false)];
    if proves_origin {
        commands.extend(provenance::questions(&attestation_challenge(binding)));
    }
    commands.push((encoded(&applet::initialize_update(key_version, &binding.host_challenge)), false));
    relays::script(head(binding), &commands)
}

/// The same binding with a new channel.
fn reopen(facts: RelayFacts, host_challenge: [u8; 8]) -> (RelayAnswer, Vec<Change>) {
    let script = facts.binding.script.saturating_add(1);
    let binding = Binding { script, host_challenge, card_answer: None, state: BindingState::Opening, ..facts.binding };
    let message = opening_script(
        &binding,
        facts.keys.chip.version(),
        facts.provenance.is_some() && binding.certificate.is_none(),
    );
    let changes = vec![Change::PutBinding(binding.clone())];
    (RelayAnswer { binding, message }, changes)
}

/// Ends the binding: its own token, where it still waits, never pays, and the chip can be bound anew.
fn fail(facts: RelayFacts, now_ms: UnixMs, why: Reason) -> (RelayAnswer, Vec<Change>) {
    let binding = Binding { state: BindingState::Failed, failure: Some(why), ..facts.binding };
    let event = Event::about_token(facts.token.id, now_ms, why.code(), Caller::Wearer(binding.account));
    let mut changes = vec![Change::PutBinding(binding.clone()), Change::AddEvent(event)];
    if facts.token.state == TokenState::Pending {
        changes.push(Change::PutToken(Token { state: TokenState::Revoked, ..facts.token }));
    }
    (failed_answer(binding), changes)
}

fn failed_answer(binding: Binding) -> RelayAnswer {
    let reason = binding.failure.unwrap_or(Reason::BindingFailed);
    RelayAnswer { message: relays::failed(binding.id.0, reason), binding }
}

fn done_answer(binding: Binding, account: &Account) -> RelayAnswer {
    RelayAnswer { message: relays::done(binding.id.0, &account.masked_name()), binding }
}

#[cfg(test)]
#[path = "cases.rs"]
mod tests;
