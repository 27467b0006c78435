//! Tokens: one account's right to pay from one chip, and how it is stopped.

use paycode::{CodeFormat, Stamp, Suite, TokenIndex};

use crate::{AccountId, Caller, Change, ChipId, Event, Reason, Refusal, TokenId, UnixMs};

/// Where a token is in its life. The number is what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum TokenState {
    /// Made for a chip whose confirmation has not come back yet: pays nothing.
    Pending = 1,
    /// Pays.
    Active = 2,
    /// Stopped by the wearer or the operator; can be resumed by either.
    Frozen = 3,
    /// Stopped by a risk rule; only the operator resumes it.
    FrozenByRisk = 4,
    /// Over for ever.
    Revoked = 5,
}

impl TokenState {
    /// The state with this stored number.
    pub fn from_number(number: u8) -> Option<Self> {
        use TokenState::{Active, Frozen, FrozenByRisk, Pending, Revoked};
        [Pending, Active, Frozen, FrozenByRisk, Revoked].into_iter().find(|state| *state as u8 == number)
    }

    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Frozen => "frozen",
            Self::FrozenByRisk => "frozen_by_risk",
            Self::Revoked => "revoked",
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
    /// Wrong passwords in a row.
    pub misses: u32,
    /// When it was made.
    pub created_ms: UnixMs,
}

/// What can be done to a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenAction {
    /// Stop it, at once.
    Freeze,
    /// Let it pay again.
    Resume,
    /// End it for ever.
    Revoke,
}

impl TokenAction {
    /// The name in the API and in the audit trail.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Freeze => "freeze",
            Self::Resume => "resume",
            Self::Revoke => "revoke",
        }
    }
}

/// Freezes, resumes or revokes a token. Doing twice what is done already changes nothing.
///
/// # Errors
/// [`Reason::TokenNotFound`] for a caller it does not belong to, [`Reason::TokenStateForbids`] for a step its
/// state does not allow: nothing leads out of `revoked`, and only the operator lifts a freeze set by risk.
pub fn act(caller: Caller, action: TokenAction, token: Token, now_ms: UnixMs) -> Result<(Token, Vec<Change>), Refusal> {
    use TokenState::{Active, Frozen, FrozenByRisk, Pending, Revoked};
    if !caller.may_act_for(token.account) {
        return Err(Reason::TokenNotFound.into());
    }
    let is_operator = caller == Caller::Operator;
    let state = match (action, token.state) {
        (TokenAction::Freeze, Active | Frozen) => Frozen,
        (TokenAction::Freeze, FrozenByRisk) => FrozenByRisk,
        (TokenAction::Resume, Frozen | Active) => Active,
        (TokenAction::Resume, FrozenByRisk) if is_operator => Active,
        (TokenAction::Revoke, _) => Revoked,
        (TokenAction::Freeze, Pending | Revoked) | (TokenAction::Resume, Pending | FrozenByRisk | Revoked) => {
            return Err(Reason::TokenStateForbids.into());
        }
    };
    if state == token.state {
        return Ok((token, Vec::new()));
    }
    // A token lifted out of a freeze starts its count of wrong passwords anew.
    let token = Token { state, misses: 0, ..token };
    let event = Event::about_token(token.id, now_ms, action.name(), caller);
    Ok((token.clone(), vec![Change::PutToken(token), Change::AddEvent(event)]))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn token(state: TokenState) -> Token {
        Token {
            id: TokenId([3; 16]),
            account: AccountId([1; 16]),
            chip: ChipId([4; 16]),
            format: CodeFormat::DEFAULT,
            suite: Suite::International,
            index: TokenIndex::new(42).unwrap(),
            pay_key_version: 1,
            mask_key_version: 1,
            state,
            last_stamp: None,
            last_counter: None,
            misses: 3,
            created_ms: 0,
        }
    }

    #[test]
    fn the_table_of_token_states() {
        use TokenAction::{Freeze, Resume, Revoke};
        use TokenState::{Active, Frozen, FrozenByRisk, Pending, Revoked};
        let wearer = Caller::Wearer(AccountId([1; 16]));
        let stranger = Caller::Wearer(AccountId([9; 16]));
        let shop = Caller::Merchant(crate::MerchantId([9; 16]));
        let forbidden = Err(Reason::TokenStateForbids);
        for (caller, action, from, expected) in [
            (wearer, Freeze, Active, Ok(Frozen)),
            (wearer, Freeze, Frozen, Ok(Frozen)),
            (wearer, Freeze, FrozenByRisk, Ok(FrozenByRisk)),
            (wearer, Freeze, Pending, forbidden),
            (wearer, Freeze, Revoked, forbidden),
            (wearer, Resume, Frozen, Ok(Active)),
            (wearer, Resume, FrozenByRisk, forbidden),
            (Caller::Operator, Resume, FrozenByRisk, Ok(Active)),
            (wearer, Resume, Revoked, forbidden),
            (Caller::Operator, Resume, Revoked, forbidden),
            (wearer, Resume, Pending, forbidden),
            (wearer, Revoke, Active, Ok(Revoked)),
            (wearer, Revoke, Revoked, Ok(Revoked)),
            (stranger, Freeze, Active, Err(Reason::TokenNotFound)),
            (shop, Freeze, Active, Err(Reason::TokenNotFound)),
        ] {
            let outcome = act(caller, action, token(from), 7).map(|(token, _)| token.state).map_err(|r| r.reason);
            assert_eq!(outcome, expected, "{caller:?} {action:?} {from:?}");
        }
    }

    #[test]
    fn a_repeated_freeze_leaves_no_second_event() {
        let (frozen, changes) = act(Caller::Operator, TokenAction::Freeze, token(TokenState::Active), 7).unwrap();
        assert_eq!(changes.len(), 2);
        assert!(act(Caller::Operator, TokenAction::Freeze, frozen, 8).unwrap().1.is_empty());
    }
}
