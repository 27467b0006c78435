//! Changes as rows: what each [`Change`] of a decision does to the working set.

use ledger::journal::Record;
use ledger::{AccountKind, LedgerAccount};
use platform::payments::MerchantNumber;
use platform::postings::Unposted;
use platform::tokens::{Token, TokenState};
use platform::{AccountId, Booking, Change, MerchantId, PaymentId};

use crate::key::{Key, List, Numbered};
use crate::rows::{self, Balance, Purse, SPAN, Spend};
use crate::{EventLine, StoreError, Tables, owners};

impl Tables<'_> {
    /// Makes the changes of one decision.
    ///
    /// # Errors
    /// Those of the engine, and [`StoreError::Corrupt`] for a change no rule would make; the command must then be
    /// undone.
    pub fn apply_all(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        changes.iter().try_for_each(|change| self.apply(change))
    }

    /// Makes one change.
    ///
    /// # Errors
    /// Those of [`Tables::apply_all`].
    pub fn apply(&mut self, change: &Change) -> Result<(), StoreError> {
        match change {
            Change::PutAccount(row) => {
                self.put_new_name(Key::wallet_key(row.wallet_key), row.id.0)?;
                if self.purse(row.id)?.is_none() {
                    self.put_purse(row.id, Purse::empty(row.currency));
                }
                self.put_owned(Key::account(row.id), row.id.0, rows::put_account(row))
            }
            Change::PutTopUp(row) => self.put(Key::top_up(row.account, &row.reference), Some(rows::put_top_up(row))),
            Change::PutMerchant(row) => {
                // Its counts change often, its key hardly ever.
                if self.merchant(row.id)?.is_none_or(|known| known.api_key != row.api_key) {
                    self.put_new_name(Key::api_key(row.api_key), row.id.0)?;
                }
                self.put_owned(Key::merchant(row.id), row.id.0, rows::put_merchant(row))
            }
            Change::PutChip(row) => self.put(Key::chip(row.id), Some(rows::put_chip(row))),
            Change::PutToken(row) => self.put_token(row),
            Change::PutBinding(row) => {
                self.put_new_name(Key::offer(row.chip, row.nonce), row.id.0)?;
                self.put_owned(Key::Number(Numbered::Bindings, row.id.number()), row.id.0, rows::put_binding(row))
            }
            Change::PutSync(row) => {
                self.put_owned(Key::Number(Numbered::Syncs, row.token.number()), row.token.0, rows::put_sync(row))
            }
            Change::PutPayment(row) => {
                let place = Key::Number(Numbered::Payments, row.id.number());
                // It has its order number from its beginning; where there are several homes, from a reservation in that
                // of the merchant.
                if self.homes().is_one() && self.fields(&place)?.is_none() {
                    self.name_order(row.merchant, &row.order, row.id)?;
                }
                self.put_owned(place, row.id.0, rows::put_payment(row))
            }
            Change::PutRefund(row) => {
                let place = Key::Number(Numbered::Refunds, row.id.number());
                let is_new = if self.homes().is_one() {
                    self.put_new_name(Key::refund_number(row.merchant, &row.number), row.id.0)?
                } else {
                    self.fields(&place)?.is_none()
                };
                if is_new {
                    self.enlist(List::PaymentRefunds, &row.payment.0, row.id.0);
                }
                self.put_owned(place, row.id.0, rows::put_refund(row))
            }
            Change::PutDayUse(row) => self.change_purse(row.account, |purse| {
                purse.day = row.day;
                purse.day_total_minor = row.total_minor;
                purse.day_unverified_minor = row.unverified_minor;
            }),
            Change::PutHistory(history) => self.change_purse(history.account, |purse| purse.put_history(history)),
            Change::KeepUsedCode { account, token, used } => {
                self.change_purse(*account, |purse| purse.keep_used_code(*token, *used))
            }
            Change::CountBegunBinding { account, day } => self.change_purse(*account, |purse| {
                purse.begun_bindings = purse.begun_bindings.one_more(*day, u8::MAX).unwrap_or(purse.begun_bindings);
            }),
            Change::CountResume { account, day } => self.change_purse(*account, |purse| {
                purse.resumes = purse.resumes.one_more(*day, u8::MAX).unwrap_or(purse.resumes);
            }),
            Change::SetPending { payment, account, until_ms, waits } => {
                self.change_purse(*account, |purse| {
                    purse.waiting.retain(|waiting| waiting != payment);
                    purse.waiting.extend(waits.then_some(*payment));
                })?;
                self.put(Key::pending(*until_ms, *payment), waits.then(|| rows::put_id(payment.0)))
            }
            Change::SetWaiting(Unposted { merchant, currency, net_minor }) => {
                let waiting = (*net_minor != 0).then(|| rows::put_number(*net_minor));
                self.put(Key::waiting(self.partition(), *merchant, *currency), waiting)
            }
            Change::PostedUpTo(number) => {
                self.set_posted(*number);
                Ok(())
            }
            Change::Book(booking) => self.book(booking),
            Change::AddEvent(event) => {
                self.add_event(&EventLine {
                    at_ms: event.at_ms,
                    subject: event.subject.clone(),
                    name: event.name.to_owned(),
                    actor: event.actor.clone(),
                    why: event.why.clone(),
                });
                Ok(())
            }
            Change::PutMaker(row) => self.put(Key::maker(&row.code), Some(rows::put_maker(row))),
            Change::PutChipModel(row) => {
                self.put(Key::chip_model(&row.maker, &row.name), Some(rows::put_chip_model(row)))
            }
            Change::PutDeviceModel(row) => {
                self.put(Key::device_model(&row.maker, &row.name), Some(rows::put_device_model(row)))
            }
            Change::PutBatch(row) => self.put(Key::batch(row.id), Some(rows::put_batch(row))),
            Change::PutShipment(row) => {
                // A refused shipment's number goes to the one that comes in its place.
                let number = Key::shipment_number(&row.header.maker, &row.header.shipment);
                self.put(number, Some(rows::put_id(row.id.0)))?;
                self.put(Key::shipment(row.id), Some(rows::put_shipment(row)))
            }
            Change::PutRevokedList(row) => {
                self.put(Key::revocation_list(&row.authority), Some(rows::put_revoked_list(row)))
            }
        }
    }

    /// Gives a payment its merchant's order number.
    pub(crate) fn name_order(
        &mut self,
        merchant: MerchantId,
        order: &MerchantNumber,
        id: PaymentId,
    ) -> Result<(), StoreError> {
        if self.put_new_name(Key::order(merchant, order), id.0)? {
            self.enlist(List::MerchantPayments, &merchant.0, id.0);
        }
        Ok(())
    }

    /// Puts a row under its number; a number that another id has already is refused, for the row would be lost.
    fn put_owned(&mut self, key: Key, id: [u8; 16], fields: Vec<u8>) -> Result<(), StoreError> {
        // Every row under a number begins with its form and its id.
        let taken = self.fields(&key)?.is_some_and(|row| row.get(1..17) != Some(&id[..]));
        if taken { Err(StoreError::Taken(key.place().0)) } else { self.put(key, Some(fields)) }
    }

    /// Gives an id a name; says whether it is new. A name that another id has is refused: it must be unique.
    pub(crate) fn put_new_name(&mut self, name: Key, id: [u8; 16]) -> Result<bool, StoreError> {
        match self.id_under(&name)? {
            None => self.put(name, Some(rows::put_id(id))).map(|()| true),
            Some(known) if known == id => Ok(false),
            Some(_) => Err(StoreError::Taken(name.place().0)),
        }
    }

    /// A token is two rows: one that hardly ever changes, and its part of the account's purse. While it lives, its chip has
    /// no other.
    fn put_token(&mut self, token: &Token) -> Result<(), StoreError> {
        let homes = self.homes();
        if homes.of_number(token.index.get()) != homes.of_number(token.account.number()) {
            return Err(StoreError::Engine("a token's number must fall to the home of its account".to_owned()));
        }
        let name = Key::token_number(&token.format, token.index);
        let known = self.token_by_index(&token.format, token.index, Some(token.account.number()))?;
        if known.as_ref().is_some_and(|known| known.id != token.id) {
            return Err(StoreError::Taken("token_numbers"));
        }
        // Whether its chip has another is asked where it begins to live or ends, not with every payment.
        let was_living = known.as_ref().is_some_and(|known| known.state != TokenState::Revoked);
        if was_living != (token.state != TokenState::Revoked) {
            self.put_living(token)?;
        }
        match known {
            // Only the mask key of its chip changes there, now and then.
            Some(known) if known.mask_key_version == token.mask_key_version => {}
            Some(_) => self.put(name, Some(rows::put_token(token)))?,
            None => {
                self.put(name, Some(rows::put_token(token)))?;
                let place = Key::Number(Numbered::Tokens, token.id.number());
                self.put_owned(place, token.id.0, rows::put_token_place(token))?;
                self.enlist(List::AccountTokens, &token.account.0, token.id.0);
                self.raise_last_token_number(token)?;
                self.note_owner(token)?;
            }
        }
        self.change_purse(token.account, |purse| purse.put_spend(Spend::of(token)))
    }

    /// Says which token a chip has, while one of its tokens lives. A chip that has another is refused.
    fn put_living(&mut self, token: &Token) -> Result<(), StoreError> {
        let living = Key::living_token(token.chip);
        let holder = self.id_under(&living)?;
        match (token.state, holder) {
            (TokenState::Revoked, Some(id)) if id == token.id.0 => self.put(living, None),
            (TokenState::Revoked, _) => Ok(()),
            (_, None) => self.put(living, Some(rows::put_id(token.id.0))),
            (_, Some(id)) if id == token.id.0 => Ok(()),
            (_, Some(_)) => Err(StoreError::Taken("living_tokens")),
        }
    }

    /// Keeps whose token this is beside its neighbours. Where rows have several homes, neighbours have not the same.
    fn note_owner(&mut self, token: &Token) -> Result<(), StoreError> {
        if !self.homes().is_one() {
            return Ok(());
        }
        let (_, slot) = owners::place(token.index);
        let key = Key::token_owners(&token.format, token.index);
        let mut row = self.fields(&key)?.map_or(Ok([None; SPAN]), rows::owners)?;
        if let Some(owner) = row.get_mut(slot) {
            *owner = Some(token.account.number());
        }
        self.put(key, Some(rows::put_owners(&row)))
    }

    fn raise_last_token_number(&mut self, token: &Token) -> Result<(), StoreError> {
        if token.index.get() < self.next_token_index(&token.format, token.account)? {
            return Ok(());
        }
        // An index has at most ten digits.
        let last = rows::put_number(token.index.get().cast_signed());
        let homes = self.homes();
        self.put(homes.last_token_number(&token.format, homes.of_number(token.index.get())), Some(last))
    }

    /// Appends the entry to the journal and moves its balances.
    fn book(&mut self, booking: &Booking) -> Result<(), StoreError> {
        let number = self.next_record();
        let elsewhere = |account: &LedgerAccount| {
            account.kind == AccountKind::Wallet
                && self.homes().of_number(AccountId(account.owner.0).number()) != self.home()
        };
        if booking.balances.keys().any(elsewhere) {
            return Err(StoreError::Engine("money is booked in the home of its wearer alone".to_owned()));
        }
        let mut before = Vec::with_capacity(booking.balances.len());
        for account in booking.balances.keys() {
            before.push((*account, self.stored_balance(account)?));
        }
        let record = Record::of(&booking.entry, |account| {
            let previous = before.iter().find(|(known, _)| known == account).map_or(0, |(_, b)| b.last_record);
            (booking.balances.get(account).copied().unwrap_or(0), previous)
        });
        self.append(&record);
        for (account, minor) in &booking.balances {
            self.put_stored_balance(account, Balance { minor: *minor, last_record: number })?;
        }
        Ok(())
    }
}
