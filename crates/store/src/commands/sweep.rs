//! What was reserved and not booked, because a server ended between the two, gets its end; what is booked needs its
//! reservation no longer.

use platform::payments::refund::RefundRequest;
use platform::payments::reserved::{self, FINISH_WITHIN_MS};
use platform::{PaymentId, RefundId, UnixMs};

use super::reserve::BookRefund;
use crate::key::{Key, Named, Numbered};
use crate::rows::codec::unseal;
use crate::rows::{Asked, Reservation};
use crate::{Command, Env, Failure, Store, StoreError, Tables};

/// Reservations looked at in one home by one sweep; the rest wait for the next.
const MAX_LOOKED_AT: usize = 512;

/// Finishes what was reserved longer ago than a repeat may finish it. Where rows have one home nothing is ever
/// reserved, and this finds nothing.
pub struct FinishReserved {
    /// The present time.
    pub now_ms: UnixMs,
}

impl Command for FinishReserved {
    /// How many payments and refunds got their end.
    type Answer = usize;

    /// One that fails is left for the next sweep and holds up no other, in this home or another.
    async fn carry_out(self, store: &Store) -> Result<usize, Failure> {
        let (mut finished, mut failed) = (0, None);
        for home in store.reached() {
            let open = match store.in_home(home, ForgetBooked { now_ms: self.now_ms }).await {
                Ok(open) => open,
                Err(failure) => {
                    failed = Some(failure);
                    continue;
                }
            };
            for (id, reservation) in open {
                match finish(id, reservation, self.now_ms, store).await {
                    Ok(()) => finished += 1,
                    Err(failure) => failed = Some(failure),
                }
            }
        }
        failed.map_or(Ok(finished), Err)
    }

    fn run(&self, _: &mut Tables<'_>, _: &Env) -> Result<usize, Failure> {
        Ok(0)
    }
}

async fn finish(id: [u8; 16], reservation: Reservation, now_ms: UnixMs, store: &Store) -> Result<(), Failure> {
    let home = store.homes().of_number(PaymentId(id).number());
    let Reservation { merchant, number, amount, asked } = reservation;
    match asked {
        Asked::Payment(fingerprint) => {
            let id = PaymentId(id);
            let reserved =
                reserved::Reserved { id, merchant, order: number, fingerprint, amount, asked_ms: asked_ms(&id.0) };
            store.in_home(home, GiveUp(reserved)).await
        }
        Asked::Refund(payment) => {
            let request = RefundRequest { id: RefundId(id), number, amount_minor: amount.minor(), now_ms };
            match store.in_home(home, BookRefund { merchant, payment, request }).await {
                Ok(_) => Ok(()),
                // It was asked for and is not given: nobody was told that it would be.
                Err(Failure::Refused(refusal)) => {
                    tracing::warn!(refund = %RefundId(id), reason = refusal.reason.code(), "a reserved refund is refused");
                    store.in_home(store.homes().of_number(merchant.number()), Forget(id)).await
                }
                Err(error) => Err(error),
            }
        }
    }
}

/// When an id was made.
fn asked_ms(id: &[u8; 16]) -> UnixMs {
    id.iter().take(6).fold(0, |ms, byte| ms << 8 | u64::from(*byte))
}

/// Removes the reservations of what is booked, and tells of what is not, of those that are old enough.
struct ForgetBooked {
    now_ms: UnixMs,
}

impl Command for ForgetBooked {
    type Answer = Vec<([u8; 16], Reservation)>;

    fn run(&self, tables: &mut Tables<'_>, _: &Env) -> Result<Self::Answer, Failure> {
        let before_ms = self.now_ms.saturating_sub(FINISH_WITHIN_MS);
        let from = tables.home().to_be_bytes();
        let mut old = Vec::new();
        for (name, row) in tables.engine().scan_names(Named::Reservations, &from, MAX_LOOKED_AT)? {
            let key = Key::Name(Named::Reservations, name.as_slice().into());
            let id: [u8; 16] = name.get(2..).and_then(|id| id.try_into().ok()).ok_or(corrupt())?;
            if !name.starts_with(&from) || asked_ms(&id) >= before_ms {
                break;
            }
            let reservation = Reservation::from_row(unseal(&key, &row)?)?;
            let table = match reservation.asked {
                Asked::Payment(_) => Numbered::Payments,
                Asked::Refund(_) => Numbered::Refunds,
            };
            old.push((key, id, reservation, Key::Number(table, PaymentId(id).number())));
        }
        tables
            .read_ahead(|_| Ok(old.iter().flat_map(|(key, _, _, booked)| [key.clone(), booked.clone()]).collect()))?;
        let mut open = Vec::new();
        for (key, id, reservation, booked) in old {
            if tables.fields(&booked)?.is_some() {
                tables.put(key, None)?;
            } else {
                open.push((id, reservation));
            }
        }
        Ok(open)
    }
}

fn corrupt() -> StoreError {
    StoreError::Corrupt(Named::Reservations.name())
}

/// Removes a reservation that nothing will come of.
struct Forget([u8; 16]);

impl Command for Forget {
    type Answer = ();

    fn run(&self, tables: &mut Tables<'_>, _: &Env) -> Result<(), Failure> {
        Ok(tables.put(Key::reservation(tables.home(), self.0), None)?)
    }
}

/// Gives a payment that nobody repeated its end.
struct GiveUp(reserved::Reserved);

impl Command for GiveUp {
    type Answer = ();

    fn run(&self, tables: &mut Tables<'_>, _: &Env) -> Result<(), Failure> {
        if tables.payment(self.0.id)?.is_some() {
            return Ok(());
        }
        let (_, changes) = reserved::give_up(self.0.clone());
        Ok(tables.apply_all(&changes)?)
    }
}
