//! Opening accounts, topping them up, taking on merchants, registering chips.

use ledger::posting;
use platform::accounts::{self, Account, TopUp};
use platform::chips::{self, Chip};
use platform::merchants::{self, Merchant, MerchantAction};
use platform::{MerchantId, Reason, UnixMs};

use crate::homes::Homes;
use crate::key::Key;
use crate::{Command, Env, Failure, StoreError, Tables};

/// Opens a wearer's account.
pub struct OpenAccount(pub accounts::OpenAccount);

impl Command for OpenAccount {
    type Answer = Account;

    fn home(&self, homes: Homes) -> u16 {
        homes.of_number(self.0.id.number())
    }

    fn run(&self, tables: &mut Tables<'_>, env: &Env) -> Result<Account, Failure> {
        env.settings.offers(self.0.currency)?;
        let (account, changes) = accounts::open(self.0.clone())?;
        tables.apply_all(&changes)?;
        Ok(account)
    }
}

/// Puts money into an account.
pub struct TopUpAccount(pub TopUp);

impl Command for TopUpAccount {
    type Answer = TopUp;

    fn home(&self, homes: Homes) -> u16 {
        homes.of_number(self.0.account.number())
    }

    fn wants(&self, known: &Tables<'_>, _: &Env) -> Result<Vec<Key>, StoreError> {
        let (account, funding) = (self.0.account, posting::funding(self.0.amount.currency()));
        let top_up = Key::top_up(account, &self.0.reference);
        Ok(vec![Key::account(account), Key::purse(account), top_up, known.balance_key(&funding)])
    }

    fn run(&self, tables: &mut Tables<'_>, _: &Env) -> Result<TopUp, Failure> {
        let request = self.0.clone();
        let account = tables.account(request.account)?.ok_or(Reason::AccountNotFound)?;
        let before = tables.top_up(request.account, &request.reference)?;
        let currency = request.amount.currency();
        let touched = [posting::funding(currency), posting::wallet(account.id.0, currency)];
        let balances = tables.balances(&touched)?;
        let (top_up, changes) = accounts::top_up(request, &account, before, &balances)?;
        tables.apply_all(&changes)?;
        Ok(top_up)
    }
}

/// Takes a merchant on.
pub struct TakeOnMerchant(pub merchants::TakeOn);

impl Command for TakeOnMerchant {
    type Answer = Merchant;

    fn home(&self, homes: Homes) -> u16 {
        homes.of_number(self.0.id.number())
    }

    fn run(&self, tables: &mut Tables<'_>, env: &Env) -> Result<Merchant, Failure> {
        env.settings.offers(self.0.currency)?;
        let (merchant, changes) = merchants::take_on(self.0.clone())?;
        tables.apply_all(&changes)?;
        Ok(merchant)
    }
}

/// Suspends or reinstates a merchant. It holds from the very next payment on, at every server.
pub struct ActOnMerchant {
    /// Which.
    pub merchant: MerchantId,
    /// What.
    pub action: MerchantAction,
    /// Why, for the audit trail.
    pub why: String,
    /// The present time.
    pub now_ms: UnixMs,
}

impl Command for ActOnMerchant {
    type Answer = Merchant;

    fn home(&self, homes: Homes) -> u16 {
        homes.of_number(self.merchant.number())
    }

    fn run(&self, tables: &mut Tables<'_>, _: &Env) -> Result<Merchant, Failure> {
        let merchant = tables.merchant(self.merchant)?.ok_or(Reason::MerchantNotFound)?;
        let (merchant, changes) = merchants::act(self.action, merchant, &self.why, self.now_ms)?;
        tables.apply_all(&changes)?;
        Ok(merchant)
    }
}

/// Registers a chip of the factory line.
pub struct RegisterChip(pub Chip);

impl Command for RegisterChip {
    type Answer = Chip;

    fn run(&self, tables: &mut Tables<'_>, env: &Env) -> Result<Chip, Failure> {
        let before = tables.chip(self.0.id)?;
        let (chip, changes) = chips::register(self.0.clone(), before.as_ref(), &env.settings)?;
        tables.apply_all(&changes)?;
        Ok(chip)
    }
}
