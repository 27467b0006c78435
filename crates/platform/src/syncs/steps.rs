//! The decisions of a sync: what starts it, and what each message from the chip leads to.

use protocol::applet::{
    self, CodeStamp, DataObject, Grant, MaskKeyUpdate, Order, RemoveToken, Slot, SyncGrant, TokenStatuses,
};
use protocol::scp03::{KeySet, Level};
use zeroize::Zeroizing;

use super::results::{after, untold};
use super::{MAX_ASKED_AGAIN, MAX_CHANNELS, SyncState, TokenResult, TokenSync, Told, Work};
use crate::accounts::Account;
use crate::payments::Decline;
use crate::relays::{self, Head, Opening, Results, Sealed, encoded, judge_opening};
use crate::tokens::{Token, TokenState};
use crate::{Caller, Change, Event, OnDay, Reason, Refusal, Settings, TokenId, UnixMs};

/// The longest order, bytes.
const ORDER_BYTES: usize = 300;
/// How long a code lives.
const CODE_LIFE_MS: u64 = 120_000;

/// Asks for a sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartSync {
    /// Who asks.
    pub caller: Caller,
    /// Of which token.
    pub token: TokenId,
    /// 16 fresh random bytes.
    pub session: [u8; 16],
    /// Fresh random bytes.
    pub host_challenge: [u8; 8],
    /// The present time.
    pub now_ms: UnixMs,
}

/// What is known when a sync starts.
pub struct StartSyncFacts {
    /// The token.
    pub token: Token,
    /// The token of the same chip that is not revoked, where there is one.
    pub living: Option<TokenId>,
    /// The version of the chip's keys.
    pub chip_key_version: u8,
    /// The version of mask keys for new grants.
    pub mask_key_version: u8,
    /// Those of the token's syncs that its chip has confirmed.
    pub confirmed: OnDay,
    /// What the wearable was told of payments by the syncs before.
    pub told: Vec<Told>,
}

/// The state of a sync and the message its wearable gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncAnswer {
    /// The sync, after the message.
    pub sync: TokenSync,
    /// For the wearable.
    pub message: Vec<u8>,
}

/// Starts a sync; it takes the place of an earlier one of the same token. What it does follows from the token's state.
///
/// # Errors
/// [`Reason::TokenNotFound`] for a caller it does not belong to; [`Reason::TokenStateForbids`] for a token that neither
/// pays nor was revoked; [`Reason::ChipBound`] for a revoked one whose chip has another by now; [`Reason::TooManySyncs`] where
/// its chip has confirmed as many today as the settings say.
pub fn start(
    request: &StartSync,
    facts: &StartSyncFacts,
    settings: &Settings,
) -> Result<(SyncAnswer, Vec<Change>), Refusal> {
    let token = &facts.token;
    if !request.caller.may_act_for(token.account) {
        return Err(Reason::TokenNotFound.into());
    }
    let work = work_for(token, facts.living, request.now_ms)?;
    // Those that end otherwise leave nothing, and anybody with the id of a binding can begin one: they must not count.
    if facts.confirmed.on(settings.day_of(request.now_ms)).count >= settings.syncs_a_day {
        return Err(Reason::TooManySyncs.into());
    }
    let sync = TokenSync {
        token: token.id,
        session: request.session,
        work,
        host_challenge: request.host_challenge,
        script: 1,
        channels: 0,
        card_answer: None,
        anchor_s: 0,
        offline_allowance_s: settings.codes.offline_allowance_s,
        code_budget: settings.codes.budget,
        mask_key_version: facts.mask_key_version,
        counter_before: None,
        confirmed: facts.confirmed,
        told: facts.told.clone(),
        notices: Vec::new(),
        state: SyncState::Opening,
        failure: None,
        created_ms: request.now_ms,
    };
    let message = opening_script(&sync, facts.chip_key_version);
    Ok((SyncAnswer { sync: sync.clone(), message }, vec![Change::PutSync(sync)]))
}

/// What there is to do for a token.
fn work_for(token: &Token, living: Option<TokenId>, now_ms: UnixMs) -> Result<Work, Refusal> {
    match token.state_at(now_ms) {
        TokenState::Active => Ok(Work::Refill),
        TokenState::Revoked if living.is_some() => Err(Reason::ChipBound.into()),
        TokenState::Revoked => Ok(Work::Wipe),
        _ => Err(Reason::TokenStateForbids.into()),
    }
}

/// What is known when a message arrives.
pub struct SyncFacts {
    /// The sync.
    pub sync: TokenSync,
    /// Its token.
    pub token: Token,
    /// The token of the same chip that is not revoked, where there is one.
    pub living: Option<TokenId>,
    /// The token's account.
    pub account: Account,
    /// The chip's static keys.
    pub chip_keys: KeySet,
    /// The mask key of the sync's version.
    pub mask_key: Zeroizing<[u8; 16]>,
    /// What became of the token's last payments, newest first, at most [`super::MAX_RESULTS`].
    pub results: Vec<TokenResult>,
}

/// Decides what a message from the wearable leads to. `host_challenge` is fresh, for a channel that must be opened anew.
///
/// # Errors
/// [`Reason::TokenNotFound`] for a caller it does not belong to; [`Reason::MessageMalformed`]; [`Reason::SyncSuperseded`]
/// for a message of an earlier sync.
pub fn relay(
    caller: Caller,
    facts: SyncFacts,
    message: &[u8],
    host_challenge: [u8; 8],
    settings: &Settings,
    now_ms: UnixMs,
) -> Result<(SyncAnswer, Vec<Change>), Refusal> {
    if !caller.may_act_for(facts.token.account) {
        return Err(Reason::TokenNotFound.into());
    }
    let results = relays::read_results(message)?;
    if results.session != facts.sync.session {
        return Err(Refusal::at(Reason::SyncSuperseded, "message"));
    }
    match facts.sync.state {
        SyncState::Done => return Ok((done_answer(facts.sync, &facts.account), Vec::new())),
        SyncState::Failed => return Ok((failed_answer(facts.sync), Vec::new())),
        SyncState::Opening | SyncState::Ordering | SyncState::Announcing | SyncState::Telling => {}
    }
    // Frozen, ended or bound anew meanwhile: what was right to order is not right any more.
    if work_for(&facts.token, facts.living, now_ms) != Ok(facts.sync.work) {
        return Ok(end(facts, Reason::TokenStateForbids));
    }
    let lifetime_ms = match facts.sync.state {
        SyncState::Opening => settings.binding_lifetime_ms,
        _ => settings.confirmation_lifetime_ms,
    };
    if now_ms > facts.sync.created_ms.saturating_add(lifetime_ms) {
        return Ok(end(facts, Reason::SyncExpired));
    }
    if results.number != u16::from(facts.sync.script) {
        // A repeat of something answered before: say again what is due now.
        let message = due_script(&facts)?;
        return Ok((SyncAnswer { sync: facts.sync, message }, Vec::new()));
    }
    match facts.sync.state {
        SyncState::Opening => opened(facts, &results, host_challenge, now_ms),
        SyncState::Announcing => announced(facts, &results),
        SyncState::Telling => heard(facts, &results),
        _ => ordered(facts, &results, host_challenge, settings, now_ms),
    }
}

/// What is due for the wearable now: a script, or the last word. It changes nothing.
///
/// # Errors
/// [`Reason::TokenNotFound`] for a caller it does not belong to.
pub fn due(caller: Caller, facts: SyncFacts) -> Result<SyncAnswer, Refusal> {
    if !caller.may_act_for(facts.token.account) {
        return Err(Reason::TokenNotFound.into());
    }
    Ok(match facts.sync.state {
        SyncState::Done => done_answer(facts.sync, &facts.account),
        SyncState::Failed => failed_answer(facts.sync),
        SyncState::Opening | SyncState::Ordering | SyncState::Announcing | SyncState::Telling => {
            let message = due_script(&facts)?;
            SyncAnswer { sync: facts.sync, message }
        }
    })
}

/// The chip has answered INITIALIZE UPDATE: the order goes out.
fn opened(
    facts: SyncFacts,
    results: &Results,
    host_challenge: [u8; 8],
    now_ms: UnixMs,
) -> Result<(SyncAnswer, Vec<Change>), Refusal> {
    let card_answer = match judge_opening(&facts.chip_keys, &facts.sync.host_challenge, results.answers.get(1)) {
        Opening::Opened(answer) => answer,
        Opening::HeldBack if facts.sync.script < MAX_ASKED_AGAIN => return Ok(reopen(facts, host_challenge)),
        Opening::HeldBack => return Ok(fail(facts, Reason::ChipRefusedChannel)),
        Opening::Refused(reason) => return Ok(fail(facts, reason)),
    };
    let sync = TokenSync {
        script: facts.sync.script.saturating_add(1),
        channels: facts.sync.channels.saturating_add(1),
        card_answer: Some(card_answer),
        anchor_s: now_ms / 1_000,
        counter_before: facts.token.last_counter,
        state: SyncState::Ordering,
        ..facts.sync
    };
    let facts = SyncFacts { sync, ..facts };
    let message = due_script(&facts)?;
    let changes = vec![Change::PutSync(facts.sync.clone())];
    Ok((SyncAnswer { sync: facts.sync, message }, changes))
}

/// The chip has answered the order.
fn ordered(
    facts: SyncFacts,
    results: &Results,
    host_challenge: [u8; 8],
    settings: &Settings,
    now_ms: UnixMs,
) -> Result<(SyncAnswer, Vec<Change>), Refusal> {
    let mut read = order_script(&facts)?.read(&results.answers).into_iter();
    let held = read.next().flatten().and_then(|data| held(&data, facts.token.id));
    let is_confirmed = read.next().flatten().is_some();
    match (facts.sync.work, held, is_confirmed) {
        // Bound to something else, or wiped: nothing to refill.
        (Work::Refill, Some(None), _) => Ok(fail(facts, Reason::TokenNotInChip)),
        (Work::Refill, Some(Some(made)), _) if made.is_less_than_was_used(&facts) => Ok(cloned(facts, now_ms)),
        // It was not there any more, and the chip has said so itself: the order was carried out before, or never needed.
        (_, Some(_), true) | (Work::Wipe, Some(None), false) => Ok(confirmed(facts, host_challenge, settings, now_ms)),
        _ if facts.sync.channels >= MAX_CHANNELS => Ok(fail(facts, Reason::SyncFailed)),
        _ => Ok(reopen(facts, host_challenge)),
    }
}

/// What a chip has told of its tokens: nothing where it is unreadable, else what it has made with this one, where it holds it in the
/// slot that syncs are of.
fn held(data: &[u8], token: TokenId) -> Option<Option<Made>> {
    let mut tokens = TokenStatuses::decode(data).ok()?;
    let held = tokens.find(|held| held.slot == Slot::FIRST && *held.token_id == token.0);
    Some(held.map(|held| Made { counter: held.transaction_counter, last: held.last_stamp }))
}

/// The codes a chip has made with a token, as far as it tells.
struct Made {
    counter: u32,
    last: Option<CodeStamp>,
}

impl Made {
    /// Whether codes were used, before the order left, that this chip had not made when it carried the order out. By digits, which
    /// carry no counter, their stamps tell: a chip never makes a code for a time before its last one.
    fn is_less_than_was_used(&self, facts: &SyncFacts) -> bool {
        let age = |stamp: CodeStamp| (stamp.step(), stamp.sequence());
        // Another server's clock may have dated a payment; none is off by as long as a code lives.
        let order_left_ms = facts.sync.anchor_s.saturating_mul(1_000);
        let was_used_before =
            |used: &&TokenResult| used.payment.created_ms.saturating_add(CODE_LIFE_MS) < order_left_ms;
        let mut used = facts.results.iter().filter(was_used_before).filter_map(TokenResult::code);
        facts.sync.counter_before.is_some_and(|seen| seen > self.counter)
            || used.any(|stamp| self.last.is_none_or(|last| age(stamp) > age(last)))
    }
}

/// The order is carried out. After a refill the wearable is told what became of its payments, where that is news to it.
fn confirmed(
    facts: SyncFacts,
    host_challenge: [u8; 8],
    settings: &Settings,
    now_ms: UnixMs,
) -> (SyncAnswer, Vec<Change>) {
    let one_more = facts.sync.confirmed.one_more(settings.day_of(now_ms), u8::MAX).unwrap_or(facts.sync.confirmed);
    let notices = match facts.sync.work {
        Work::Refill => untold(&facts.results, &facts.sync.told),
        Work::Wipe => Vec::new(),
    };
    let sync = if notices.is_empty() {
        TokenSync { state: SyncState::Done, confirmed: one_more, ..facts.sync }
    } else {
        let script = facts.sync.script.saturating_add(1);
        let state = SyncState::Announcing;
        TokenSync { state, script, host_challenge, card_answer: None, notices, confirmed: one_more, ..facts.sync }
    };
    let event = Event::about_token(sync.token, now_ms, sync.work.event(), Caller::Wearer(facts.token.account));
    let mut changes = vec![Change::PutSync(sync.clone()), Change::AddEvent(event)];
    if sync.work == Work::Refill && facts.token.mask_key_version != sync.mask_key_version {
        changes.push(Change::PutToken(Token { mask_key_version: sync.mask_key_version, ..facts.token }));
    }
    if sync.state == SyncState::Done {
        return (done_answer(sync, &facts.account), changes);
    }
    let message = opening_script(&sync, facts.chip_keys.version());
    (SyncAnswer { sync, message }, changes)
}

/// The chip has answered the opening of the channel for notices: they go out. Where it has opened none, the sync is done.
fn announced(facts: SyncFacts, results: &Results) -> Result<(SyncAnswer, Vec<Change>), Refusal> {
    let opening = judge_opening(&facts.chip_keys, &facts.sync.host_challenge, results.answers.get(1));
    let Opening::Opened(card_answer) = opening else { return Ok(done(facts)) };
    let script = facts.sync.script.saturating_add(1);
    let sync = TokenSync { script, card_answer: Some(card_answer), state: SyncState::Telling, ..facts.sync };
    let facts = SyncFacts { sync, ..facts };
    let message = due_script(&facts)?;
    let changes = vec![Change::PutSync(facts.sync.clone())];
    Ok((SyncAnswer { sync: facts.sync, message }, changes))
}

/// The wearable has had its chip vouch for the notices: those it did vouch for, the wearable has been told.
fn heard(mut facts: SyncFacts, results: &Results) -> Result<(SyncAnswer, Vec<Change>), Refusal> {
    let vouched = notices_script(&facts)?.read(&results.answers);
    let told = facts.sync.notices.iter().zip(vouched).filter(|(_, answer)| answer.is_some());
    facts.sync.told = after(&facts.sync.told, told.map(|(notice, _)| notice.told), &facts.results);
    Ok(done(facts))
}

/// It is over: what was ordered is carried out, and what was to be told is told or is left to the next sync.
fn done(facts: SyncFacts) -> (SyncAnswer, Vec<Change>) {
    let sync = TokenSync { state: SyncState::Done, notices: Vec::new(), ..facts.sync };
    let change = Change::PutSync(sync.clone());
    (done_answer(sync, &facts.account), vec![change])
}

/// It can not go on: it has failed, unless the chip had carried the order out.
fn end(facts: SyncFacts, why: Reason) -> (SyncAnswer, Vec<Change>) {
    match facts.sync.state {
        SyncState::Announcing | SyncState::Telling => done(facts),
        _ => fail(facts, why),
    }
}

/// Codes had been used before the order left that the chip had not made when it carried it out: somebody else makes codes
/// with this token's keys.
fn cloned(facts: SyncFacts, now_ms: UnixMs) -> (SyncAnswer, Vec<Change>) {
    let event = Event::risk(facts.token.id, now_ms, Decline::ChipCloned.code());
    let frozen = Token { state: facts.token.state.frozen_by_risk(), ..facts.token.clone() };
    let (answer, mut changes) = fail(facts, Reason::ChipCloned);
    changes.extend([Change::PutToken(frozen), Change::AddEvent(event)]);
    (answer, changes)
}

fn due_script(facts: &SyncFacts) -> Result<Vec<u8>, Refusal> {
    let sealed = match facts.sync.state {
        SyncState::Opening | SyncState::Announcing => {
            return Ok(opening_script(&facts.sync, facts.chip_keys.version()));
        }
        SyncState::Telling => notices_script(facts)?,
        _ => order_script(facts)?,
    };
    let commands = sealed.commands.into_iter().map(|command| (command, false));
    Ok(relays::script(head(&facts.sync), &commands.collect::<Vec<_>>()))
}

fn head(sync: &TokenSync) -> Head {
    Head { session: sync.session, number: sync.script, progress: sync.state.progress_once_run() }
}

fn opening_script(sync: &TokenSync, key_version: u8) -> Vec<u8> {
    let commands = [applet::select(), applet::initialize_update(key_version, &sync.host_challenge)];
    relays::script(head(sync), &commands.map(|command| (encoded(&command), false)))
}

/// GET DATA of what the chip holds, and the order, in the channel they are for.
fn order_script(facts: &SyncFacts) -> Result<Sealed, Refusal> {
    let sync = &facts.sync;
    let order = match sync.work {
        Work::Refill => Order::Sync(SyncGrant {
            slot: Slot::FIRST,
            grant: Grant {
                time_anchor_unix_seconds: sync.anchor_s,
                offline_allowance_seconds: sync.offline_allowance_s,
                code_budget: sync.code_budget,
            },
            mask_key: Some(MaskKeyUpdate { key: &facts.mask_key, version: sync.mask_key_version }),
        }),
        Work::Wipe => Order::RemoveToken(RemoveToken { slot: Slot::FIRST }),
    };
    let mut buffer = Zeroizing::new([0; ORDER_BYTES]);
    let order = order.encode(&mut *buffer).map_err(|_| Reason::SyncFailed)?;
    let commands = [DataObject::TokenStatus.command(), applet::store_data(order)];
    let card_answer = sync.card_answer.as_deref().unwrap_or_default();
    relays::seal(&facts.chip_keys, Level::Full, &sync.host_challenge, card_answer, &commands)
        .map_err(|_| Reason::SyncFailed.into())
}

/// The notices in a channel that the wearable can read, and nobody write in. Nothing secret is ever in it.
fn notices_script(facts: &SyncFacts) -> Result<Sealed, Refusal> {
    let sync = &facts.sync;
    let commands: Vec<_> = sync.notices.iter().map(|notice| applet::vouch(Slot::FIRST, &notice.bytes)).collect();
    let card_answer = sync.card_answer.as_deref().unwrap_or_default();
    relays::seal(&facts.chip_keys, Level::CMacRMac, &sync.host_challenge, card_answer, &commands)
        .map_err(|_| Reason::SyncFailed.into())
}

/// The same sync with a new channel.
fn reopen(facts: SyncFacts, host_challenge: [u8; 8]) -> (SyncAnswer, Vec<Change>) {
    let script = facts.sync.script.saturating_add(1);
    let sync = TokenSync { script, host_challenge, card_answer: None, state: SyncState::Opening, ..facts.sync };
    let message = opening_script(&sync, facts.chip_keys.version());
    (SyncAnswer { sync: sync.clone(), message }, vec![Change::PutSync(sync)])
}

fn fail(facts: SyncFacts, why: Reason) -> (SyncAnswer, Vec<Change>) {
    let sync = TokenSync { state: SyncState::Failed, failure: Some(why), ..facts.sync };
    (failed_answer(sync.clone()), vec![Change::PutSync(sync)])
}

fn failed_answer(sync: TokenSync) -> SyncAnswer {
    SyncAnswer { message: relays::failed(sync.session, sync.failure.unwrap_or(Reason::SyncFailed)), sync }
}

fn done_answer(sync: TokenSync, account: &Account) -> SyncAnswer {
    let label = match sync.work {
        Work::Refill => account.masked_name(),
        Work::Wipe => String::new(),
    };
    SyncAnswer { message: relays::done(sync.session, &label), sync }
}

#[cfg(test)]
#[path = "cases.rs"]
mod tests;
