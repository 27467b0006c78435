//! What was asked for and what the chips really hold: every row of the cloud is held against it.

use std::collections::BTreeMap;

use platform::bindings::{Binding, BindingState, StartRequest};
use platform::tokens::{Token, TokenState};
use platform::{ChipId, TokenId};
use store::Queries;

/// A token as far as it is known.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// Who confirmed what on the phone: the only way a token comes about.
    pub(super) request: StartRequest,
    /// The newest row, once there is one.
    pub(super) row: Option<Token>,
    binding: Option<BindingState>,
    /// Its pay key was seen in the flash of its chip.
    pub(super) installed: bool,
    /// It was a token that pays.
    pub(super) was_active: bool,
}

impl Known {
    /// Where the token stands, as far as the disk says; nothing before it has a row.
    pub(super) fn state(&self) -> Option<TokenState> {
        self.row.as_ref().map(|row| row.state)
    }

    fn is_living(&self) -> bool {
        self.state().is_some_and(|state| state != TokenState::Revoked)
    }
}

/// Every token that was ever asked for.
#[derive(Debug, Default)]
pub(super) struct Truth {
    pub(super) tokens: BTreeMap<TokenId, Known>,
}

impl Truth {
    /// Somebody is about to ask for a binding.
    pub(super) fn asked(&mut self, request: &StartRequest) {
        let known = Known { request: request.clone(), row: None, binding: None, installed: false, was_active: false };
        self.tokens.insert(request.token, known);
    }

    /// The tokens of this chip that have a row, oldest first.
    pub(super) fn of_chip(&self, chip: ChipId) -> impl Iterator<Item = (&TokenId, &Known)> {
        self.tokens.iter().filter(move |(_, known)| known.request.offer.chip == chip && known.row.is_some())
    }

    /// The chip's token that is not revoked.
    pub(super) fn living(&self, chip: ChipId) -> Option<&Token> {
        self.of_chip(chip).find(|(_, known)| known.is_living()).and_then(|(_, known)| known.row.as_ref())
    }

    /// Reads what the disk holds now, and says what should never have been.
    pub(super) fn look(&mut self, queries: &Queries) -> Result<(), String> {
        for (id, known) in &mut self.tokens {
            // Nothing leads out of this pair: it is looked at once more when the world has come to rest.
            let over = matches!(known.binding, Some(BindingState::Failed | BindingState::Done));
            if over && known.state() == Some(TokenState::Revoked) {
                continue;
            }
            known.look(*id, queries)?;
        }
        self.one_living_token_a_chip()
    }

    /// Reads everything anew, what is over as well.
    pub(super) fn look_at_all(&mut self, queries: &Queries) -> Result<(), String> {
        self.tokens.iter_mut().try_for_each(|(id, known)| known.look(*id, queries))?;
        self.one_living_token_a_chip()
    }

    fn one_living_token_a_chip(&self) -> Result<(), String> {
        let mut living = BTreeMap::new();
        for (id, known) in self.tokens.iter().filter(|(_, known)| known.is_living()) {
            if let Some(other) = living.insert(known.request.offer.chip.0, id) {
                return Err(format!("{} has two living tokens: {other} and {id}", known.request.offer.chip));
            }
        }
        Ok(())
    }
}

impl Known {
    fn look(&mut self, id: TokenId, queries: &Queries) -> Result<(), String> {
        let row = queries.token(id).map_err(|error| error.to_string())?;
        let binding = queries.binding(self.request.id).map_err(|error| error.to_string())?;
        match (row, binding) {
            (None, None) if self.row.is_none() => Ok(()),
            (Some(row), Some(binding)) => {
                self.compare(&row, &binding)?;
                self.was_active |= !matches!(row.state, TokenState::Pending | TokenState::Revoked);
                (self.row, self.binding) = (Some(row), Some(binding.state));
                Ok(())
            }
            (row, binding) => Err(format!("{id}: its row is {row:?} and that of its binding {binding:?}")),
        }
    }

    fn compare(&self, row: &Token, binding: &Binding) -> Result<(), String> {
        let asked = &self.request;
        if (row.account, row.chip) != (asked.account, asked.offer.chip) {
            return Err(format!("{} is not what its wearer confirmed: {row:?}", row.id));
        }
        if (binding.account, binding.chip, binding.nonce, binding.token)
            != (asked.account, asked.offer.chip, asked.offer.nonce, asked.token)
        {
            return Err(format!("{} is not what its wearer confirmed: {binding:?}", binding.id));
        }
        let pays = !matches!(row.state, TokenState::Pending | TokenState::Revoked);
        if pays && !self.installed {
            return Err(format!("{} is {} and its chip never had its keys", row.id, row.state.name()));
        }
        if pays != (binding.state == BindingState::Done) && row.state != TokenState::Revoked {
            return Err(format!(
                "half bound: {} is {}, its binding {}",
                row.id,
                row.state.name(),
                binding.state.name()
            ));
        }
        if binding.state == BindingState::Failed && row.state != TokenState::Revoked {
            return Err(format!("{} has failed, and its token is {}", binding.id, row.state.name()));
        }
        if self.state() == Some(TokenState::Revoked) && row.state != TokenState::Revoked {
            return Err(format!("{} came back from being revoked", row.id));
        }
        let over = matches!(self.binding, Some(BindingState::Done | BindingState::Failed));
        if over && self.binding != Some(binding.state) {
            return Err(format!("{} was {:?} and is {}", binding.id, self.binding, binding.state.name()));
        }
        Ok(())
    }
}
