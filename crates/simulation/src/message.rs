//! What is asked of a server, and what it answers.

use ledger::Amount;
use platform::accounts::TopUp;
use platform::merchants::Merchant;
use platform::payments::confirm::Answer;
use platform::payments::{MerchantNumber, Payment, Refund};
use platform::risk::RuleSet;
use platform::tokens::{Token, TokenAction};
use platform::{AccountId, MerchantId, PaymentId, TokenId};
use store::Failure;
use store::commands::{Paid, PostPart};

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    Pay {
        merchant: MerchantId,
        order: MerchantNumber,
        code: String,
        amount: Amount,
    },
    Cancel {
        merchant: MerchantId,
        order: MerchantNumber,
    },
    Refund {
        merchant: MerchantId,
        payment: PaymentId,
        number: MerchantNumber,
        amount_minor: u64,
    },
    TopUp {
        account: AccountId,
        reference: String,
        amount: Amount,
    },
    /// A wearer answers a payment that waits; `caller` is not always whose money it is.
    Answer {
        payment: PaymentId,
        owner: AccountId,
        caller: AccountId,
        answer: Answer,
    },
    Act {
        token: TokenId,
        account: AccountId,
        action: TokenAction,
        by_operator: bool,
    },
    /// The operator takes payments of a merchant again.
    Reinstate {
        merchant: MerchantId,
    },
    /// The operator sets risk rules: those of a number ([`crate::plan::rules`]).
    SetRules {
        number: u64,
    },
    Sweep,
    Post,
    /// A part of a posting that was added up beside the writer.
    PostPart(Box<PostPart>),
}

/// What comes back.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Paid(Result<Paid, Failure>),
    Cancelled(Result<Payment, Failure>),
    Refunded(Result<Refund, Failure>),
    ToppedUp(Result<TopUp, Failure>),
    Acted(Result<Token, Failure>),
    Reinstated(Result<Merchant, Failure>),
    RulesSet(Result<RuleSet, Failure>),
    Confirmed(Result<Payment, Failure>),
    Swept(Result<Vec<Payment>, Failure>),
    Posted(Result<usize, Failure>),
    PostedPart(Result<Option<usize>, Failure>),
}

impl Reply {
    /// Whether it says what became of the request. A store that failed says nothing of it: ask again.
    pub(crate) fn is_definite(&self) -> bool {
        let failure = match self {
            Self::Paid(Ok(Paid::Wait { .. })) => return false,
            Self::Paid(answer) => answer.as_ref().err(),
            Self::Cancelled(answer) => answer.as_ref().err(),
            Self::Refunded(answer) => answer.as_ref().err(),
            Self::ToppedUp(answer) => answer.as_ref().err(),
            Self::Acted(answer) => answer.as_ref().err(),
            Self::RulesSet(answer) => answer.as_ref().err(),
            Self::Reinstated(answer) => answer.as_ref().err(),
            Self::Confirmed(answer) => answer.as_ref().err(),
            Self::Swept(answer) => answer.as_ref().err(),
            Self::Posted(answer) => answer.as_ref().err(),
            Self::PostedPart(answer) => answer.as_ref().err(),
        };
        !matches!(failure, Some(Failure::Store(_)))
    }
}

/// What had been told when a request reached a server: no answer may know less.
#[derive(Debug, Clone, Default)]
pub(crate) struct ToldBefore {
    pub(crate) id: Option<PaymentId>,
    /// How far the payment was: see [`crate::truth::rank`].
    pub(crate) rank: u8,
    pub(crate) refunded_minor: u64,
    /// For a freeze: how often a resume of the token had come to a server or left it.
    pub(crate) resumes: u64,
}

/// A request that has reached a server.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    /// Which exchange of which client; `None` for the server's own.
    pub(crate) exchange: Option<usize>,
    pub(crate) request: Request,
    pub(crate) told_before: ToldBefore,
}
