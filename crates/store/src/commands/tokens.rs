//! What is done to a token: frozen, resumed, reported lost, revoked, renewed.

use platform::tokens::{self, ActRequest, Token};
use platform::{Caller, OnDay, Reason, TokenId};

use crate::{Command, Env, Failure, Tables};

/// Does something to a token. It holds from the very next payment on, at every server: a payment stands on the same row.
pub struct ActOnToken {
    /// Which token.
    pub token: TokenId,
    /// Who asks, what, why.
    pub request: ActRequest,
}

impl Command for ActOnToken {
    type Answer = Token;

    fn run(&self, tables: &mut Tables<'_>, env: &Env) -> Result<Token, Failure> {
        let token = tables.token(self.token)?.ok_or(Reason::TokenNotFound)?;
        // Whose token it is comes before anything else of its account.
        let resumed = match self.request.caller {
            Caller::Wearer(account) if account == token.account => tables.present_purse(account)?.resumes,
            _ => OnDay::default(),
        };
        let resumed_today = resumed.on(env.settings.day_of(self.request.now_ms)).count;
        let (token, changes) = tokens::act(&self.request, token, resumed_today, &env.settings)?;
        tables.apply_all(&changes)?;
        Ok(token)
    }
}
