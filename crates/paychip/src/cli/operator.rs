//! What is asked of a cloud: accounts, merchants, tokens, risk rules.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Open an account.
    New {
        /// The holder's name.
        name: String,
        /// ISO 4217 code.
        #[arg(long, default_value = "CNY")]
        currency: String,
    },
    /// Put money into an account.
    TopUp {
        /// How much, such as 100 or 12.50.
        amount: String,
        /// Whose, by name; the newest when absent.
        #[arg(long, value_name = "NAME")]
        account: Option<String>,
        /// Your reference: the same one again tops up once.
        #[arg(long)]
        reference: Option<String>,
    },
    /// Show balance and book.
    Show {
        /// Whose, by name; the newest when absent.
        #[arg(long, value_name = "NAME")]
        account: Option<String>,
    },
    /// Show the payments that wait to be confirmed.
    Waiting {
        /// Whose, by name; the newest when absent.
        #[arg(long, value_name = "NAME")]
        account: Option<String>,
    },
    /// Confirm a payment, as on the phone.
    Confirm {
        /// The payment's id; the oldest that waits when absent.
        payment: Option<String>,
        /// Whose, by name; the newest when absent.
        #[arg(long, value_name = "NAME")]
        account: Option<String>,
    },
    /// Refuse a payment, as on the phone.
    Refuse {
        /// The payment's id; the oldest that waits when absent.
        payment: Option<String>,
        /// Whose, by name; the newest when absent.
        #[arg(long, value_name = "NAME")]
        account: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum MerchantCommand {
    /// Take a shop on.
    New {
        /// Its name.
        name: String,
        /// ISO 4217 code.
        #[arg(long, default_value = "CNY")]
        currency: String,
        /// What it sells: the four digits of its merchant category code, such as 5411 for a grocery.
        #[arg(long, value_name = "DIGITS")]
        category: Option<String>,
        /// Where its tills stand: degrees north and east, such as 31.2304,121.4737.
        #[arg(long, value_name = "LATITUDE,LONGITUDE", allow_hyphen_values = true)]
        position: Option<String>,
    },
    /// Take no payments of a shop any more.
    Suspend(OneMerchant),
    /// Take payments of a suspended shop again.
    Reinstate(OneMerchant),
    /// Show what was done to a shop, and when it was told to wait for its wrong codes.
    Events {
        /// Which, by name; the newest when absent.
        #[arg(long, value_name = "NAME")]
        merchant: Option<String>,
    },
    /// Show what it is owed, and its book.
    Show {
        /// Which, by name; the newest when absent.
        #[arg(long, value_name = "NAME")]
        merchant: Option<String>,
    },
}

/// A shop, and why something is done to it.
#[derive(Debug, Args)]
pub(crate) struct OneMerchant {
    /// Which, by name; the newest when absent.
    #[arg(long, value_name = "NAME")]
    pub(crate) merchant: Option<String>,
    /// Why, for the audit trail.
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub(crate) why: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// List what an account can pay with.
    List {
        /// Whose, by name; the newest when absent.
        #[arg(long, value_name = "NAME")]
        account: Option<String>,
    },
    /// Show a token and everything that was done to it.
    Show(OneToken),
    /// Stop a token at once.
    Freeze(OneToken),
    /// Let a frozen or lost token pay again.
    Resume(OneToken),
    /// Report a token lost: only the operator brings it back.
    Lost(OneToken),
    /// End a token for ever.
    Revoke(OneToken),
    /// Give a token another lifetime.
    Renew(OneToken),
}

/// A token, and in whose name something is done to it.
#[derive(Debug, Args)]
pub(crate) struct OneToken {
    /// The token's id.
    pub(crate) token: String,
    /// Why, for the audit trail.
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub(crate) why: String,
    /// Do it as this wearer, by name, as on the phone; as the operator when absent.
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RiskCommand {
    /// Show the rules in force, or those of a version.
    Show {
        /// Which version; the newest when absent.
        #[arg(long, value_name = "N")]
        version: Option<u32>,
    },
    /// List the versions: when each was set, by whom and why.
    Versions,
    /// Look for mistakes in a file of rules; sets nothing.
    Check {
        /// The rules, as JSON.
        file: PathBuf,
    },
    /// Set the rules in a file: another version, beside all before it.
    Set {
        /// The rules, as JSON.
        file: PathBuf,
        /// Why, for the audit trail.
        #[arg(long, default_value = "", value_name = "TEXT")]
        why: String,
        /// Only if this is the newest version: so that nobody writes over what he has not seen.
        #[arg(long, value_name = "N")]
        after: Option<u32>,
    },
    /// Run the rules in a file over stored payments and show which would have been decided otherwise; sets nothing.
    DryRun {
        /// The rules, as JSON.
        file: PathBuf,
        /// Payments from then on: a date, a date and time, or how long ago, such as 7d or 12h; 7d when absent.
        #[arg(long, value_name = "WHEN")]
        since: Option<String>,
    },
    /// Tell under which version of the rules a payment was decided, which rule fired, and why.
    Explain {
        /// The payment's id.
        payment: String,
    },
}
