//! Tokens: one account's right to pay from one chip, how it is stopped, and who may let it pay again.
//!
//! ```text
//!  pending ──chip confirms──▶ active ──its time is over──▶ expired ──renew (operator)──▶ active
//!                             │  ▲
//!          freeze, lost, risk │  │ resume: the wearer lifts what the wearer froze, the operator lifts anything
//!                             ▼  │
//!        frozen by wearer · frozen by operator · frozen by risk · lost
//!
//!  any ──revoke──▶ revoked, for ever
//! ```
//!
//! Every change is a line of the audit trail: who, when, why.

use paycode::{CodeFormat, Stamp, Suite, TokenIndex};

use crate::accounts::display_name;
use crate::guesses::{Guesses, SpentMarks};
use crate::{AccountId, Caller, Change, ChipId, Event, Reason, Refusal, Settings, TokenId, UnixMs};

/// Where a token is in its life. The number is what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum TokenState {
    /// Made for a chip whose confirmation has not come back yet: pays nothing.
    Pending = 1,
    /// Pays.
    Active = 2,
    /// Stopped by its wearer; the wearer or the operator resumes it.
    FrozenByWearer = 3,
    /// Stopped by a risk rule; only the operator resumes it.
    FrozenByRisk = 4,
    /// Over for ever.
    Revoked = 5,
    /// Stopped by the operator; only the operator resumes it.
    FrozenByOperator = 6,
    /// Reported lost. Whoever holds the watch may hold the phone as well: only the operator resumes it.
    Lost = 7,
    /// Its time is over; the operator renews it.
    Expired = 8,
}

impl TokenState {
    /// Every state there is.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Active,
        Self::FrozenByWearer,
        Self::FrozenByRisk,
        Self::Revoked,
        Self::FrozenByOperator,
        Self::Lost,
        Self::Expired,
    ];

    /// The state with this stored number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as u8 == number)
    }

    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::FrozenByWearer => "frozen_by_wearer",
            Self::FrozenByRisk => "frozen_by_risk",
            Self::Revoked => "revoked",
            Self::FrozenByOperator => "frozen_by_operator",
            Self::Lost => "lost",
            Self::Expired => "expired",
        }
    }

    /// The state after a risk rule stopped the token: what pays or may pay again is frozen; what only the operator lifts
    /// anyway, or what never pays, stays.
    #[must_use]
    pub const fn frozen_by_risk(self) -> Self {
        match self {
            Self::Active | Self::FrozenByWearer | Self::FrozenByRisk | Self::Expired => Self::FrozenByRisk,
            Self::Pending | Self::Revoked | Self::FrozenByOperator | Self::Lost => self,
        }
    }
}

/// One account's right to pay from one chip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// Whose money it spends.
    pub account: AccountId,
    /// The only chip that holds its keys.
    pub chip: ChipId,
    /// How its codes look.
    pub format: CodeFormat,
    /// The primitives of its codes.
    pub suite: Suite,
    /// Its number under the prefix.
    pub index: TokenIndex,
    /// The version of its pay key.
    pub pay_key_version: u8,
    /// The version of the mask key its chip was given.
    pub mask_key_version: u8,
    /// Where it is in its life.
    pub state: TokenState,
    /// The newest code spent. Only strictly newer ones pay.
    pub last_stamp: Option<Stamp>,
    /// The highest transaction counter seen. Only higher ones are genuine.
    pub last_counter: Option<u32>,
    /// Wrong codes that named it since its last genuine one.
    pub guesses: Guesses,
    /// The codes spent last, to know one again that is long past its window.
    pub spent: SpentMarks,
    /// From when on it pays no more, unless it is renewed; `None` of a token made before tokens had an end.
    pub expires_ms: Option<UnixMs>,
    /// When it was made.
    pub created_ms: UnixMs,
}

impl Token {
    /// Where it is in its life at this moment: what was active until its time was over has expired, whether or not
    /// anybody has noticed.
    pub fn state_at(&self, now_ms: UnixMs) -> TokenState {
        let is_over = self.expires_ms.is_some_and(|expires_ms| now_ms >= expires_ms);
        if is_over && self.state == TokenState::Active { TokenState::Expired } else { self.state }
    }
}

/// What can be done to a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenAction {
    /// Stop it, at once.
    Freeze,
    /// Let it pay again.
    Resume,
    /// Report it lost: stopped, and its wearer alone does not lift that.
    Lost,
    /// End it for ever.
    Revoke,
    /// Give it another lifetime.
    Renew,
}

impl TokenAction {
    /// Everything that can be done.
    pub const ALL: [Self; 5] = [Self::Freeze, Self::Resume, Self::Lost, Self::Revoke, Self::Renew];

    /// The name in the API and in the audit trail.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Freeze => "freeze",
            Self::Resume => "resume",
            Self::Lost => "lost",
            Self::Revoke => "revoke",
            Self::Renew => "renew",
        }
    }
}

/// What somebody wants done to a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActRequest {
    /// Who asks.
    pub caller: Caller,
    /// What.
    pub action: TokenAction,
    /// Why, for the audit trail: up to 100 bytes, may be empty.
    pub why: String,
    /// The present time.
    pub now_ms: UnixMs,
}

/// Does something to a token. Doing twice what is done already changes nothing, but a renewal, which always counts from
/// now.
///
/// # Errors
/// [`Reason::TokenNotFound`] for a caller it does not belong to; [`Reason::OperatorOnly`] for a wearer who would renew it
/// or lift what the operator, a risk rule or a report of loss has stopped; [`Reason::TokenStateForbids`] for a step its
/// state does not allow: nothing leads out of `revoked`; [`Reason::FieldTooLong`] or [`Reason::FieldMalformed`] for `why`;
/// [`Reason::TooManyResumes`] where its wearer has resumed `resumed_today` times on this day, as often as the settings say. What
/// stops a token is never refused for a count.
pub fn act(
    request: &ActRequest,
    token: Token,
    resumed_today: u8,
    settings: &Settings,
) -> Result<(Token, Vec<Change>), Refusal> {
    let ActRequest { caller, action, now_ms, .. } = *request;
    if !caller.may_act_for(token.account) {
        return Err(Reason::TokenNotFound.into());
    }
    let why = match request.why.trim() {
        "" => String::new(),
        why => display_name(why, "why")?,
    };
    let before = token.state_at(now_ms);
    let state = next_state(action, before, caller == Caller::Operator)?;
    let expires_ms = match action {
        TokenAction::Renew => Some(now_ms.saturating_add(settings.token_lifetime_ms)),
        _ => token.expires_ms,
    };
    if state == token.state && expires_ms == token.expires_ms {
        return Ok((token, Vec::new()));
    }
    let is_counted = action == TokenAction::Resume && caller != Caller::Operator;
    if is_counted && resumed_today >= settings.resumes_a_day {
        return Err(Reason::TooManyResumes.into());
    }
    // A token lifted out of a freeze starts its count of wrong codes anew.
    let token = Token { state, expires_ms, guesses: Guesses::default(), ..token };
    let event = Event::about_token(token.id, now_ms, action.name(), caller).because(why);
    let mut changes = vec![Change::PutToken(token.clone()), Change::AddEvent(event)];
    if is_counted {
        changes.push(Change::CountResume { account: token.account, day: settings.day_of(now_ms) });
    }
    Ok((token, changes))
}

/// Where an action leads from a state, or why it leads nowhere.
fn next_state(action: TokenAction, from: TokenState, is_operator: bool) -> Result<TokenState, Refusal> {
    use TokenState::{Active, Expired, FrozenByOperator, FrozenByRisk, FrozenByWearer, Lost, Pending, Revoked};
    Ok(match (action, from) {
        (TokenAction::Revoke, _) => Revoked,
        (_, Pending | Revoked) | (TokenAction::Resume, Expired) => return Err(Reason::TokenStateForbids.into()),
        (TokenAction::Renew, _) if !is_operator => return Err(Reason::OperatorOnly.into()),
        (TokenAction::Renew, Expired) => Active,
        (TokenAction::Renew, state) => state,
        // What stops a token already is not weakened by a wearer's own freeze; the operator's takes its place.
        (TokenAction::Freeze, Lost) => Lost,
        (TokenAction::Freeze, _) if is_operator => FrozenByOperator,
        (TokenAction::Freeze, Active | Expired | FrozenByWearer) => FrozenByWearer,
        (TokenAction::Freeze, state) => state,
        (TokenAction::Lost, _) => Lost,
        (TokenAction::Resume, FrozenByOperator | FrozenByRisk | Lost) if !is_operator => {
            return Err(Reason::OperatorOnly.into());
        }
        (TokenAction::Resume, _) => Active,
    })
}

#[cfg(test)]
#[path = "tokens_cases.rs"]
pub(crate) mod tests;
