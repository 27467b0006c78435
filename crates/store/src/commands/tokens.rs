//! Freezing, resuming and revoking a token.

use platform::tokens::{self, Token, TokenAction};
use platform::{Caller, Reason, TokenId, UnixMs};

use crate::{Command, Env, Failure, Tables};

/// Does something to a token. It holds from the very next payment on.
pub struct ActOnToken {
    /// Who asks.
    pub caller: Caller,
    /// Which token.
    pub token: TokenId,
    /// What to do.
    pub action: TokenAction,
    /// The present time.
    pub now_ms: UnixMs,
}

impl Command for ActOnToken {
    type Answer = Token;

    fn run(&self, tables: &mut Tables<'_>, _: &Env) -> Result<Token, Failure> {
        let token = tables.token(self.token)?.ok_or(Reason::TokenNotFound)?;
        let (token, changes) = tokens::act(self.caller, self.action, token, self.now_ms)?;
        tables.apply_all(&changes)?;
        Ok(token)
    }
}
