//! How many keys a payment asks of the vault: one. In a hardware module each takes its time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ledger::{Amount, Currency};
use paycode::{CodeFormat, TokenIndex};
use platform::makers::BatchId;
use platform::payments::{MerchantNumber, PaymentState};
use platform::{ChipId, KeyVault, KeyVersions, Settings, VaultError};
use protocol::scp03::KeySet;
use store::commands::{NewPayment, Paid, Pay};
use store::{Env, Store};
use support::{Home, NOW_MS, SHOP, TestVault, World, code};
use zeroize::Zeroizing;

/// Counts what it is asked.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Counting {
    fn one(&self) -> TestVault {
        self.0.fetch_add(1, Ordering::Relaxed);
        TestVault
    }
}

impl KeyVault for Counting {
    fn chip_keys(&self, chip: ChipId, version: u8) -> Result<KeySet, VaultError> {
        self.one().chip_keys(chip, version)
    }

    fn batch_key(&self, batch: BatchId, version: u8) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        self.one().batch_key(batch, version)
    }

    fn pay_key(&self, format: &CodeFormat, index: TokenIndex, version: u8) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        self.one().pay_key(format, index, version)
    }

    fn mask_key(&self, format: &CodeFormat, version: u8) -> Result<Zeroizing<[u8; 16]>, VaultError> {
        self.one().mask_key(format, version)
    }

    fn versions(&self) -> KeyVersions {
        // The version before is in force as well, as after a rotation.
        KeyVersions { chip: 1, pay: 1, mask: 1 }
    }

    fn masks_in_force(&self) -> Vec<u8> {
        vec![1, 2]
    }
}

#[tokio::test]
async fn a_payment_asks_the_vault_for_one_key() {
    let home = World::with_money(Home::sqlite(), 100_000).await.close();
    let (engines, _queries) = home.open();
    let vault = Arc::new(Counting::default());
    let env = Env::new(vault.clone(), Arc::new(Settings::default())).unwrap();
    let (store, writer) = Store::start_all(engines, env.clone()).unwrap();
    let asked = || vault.0.swap(0, Ordering::Relaxed);
    assert_eq!(asked(), 2, "both mask keys, once");
    let pay = |order: &str, code: String| {
        let new = NewPayment {
            merchant: SHOP,
            order: MerchantNumber::parse(order, "order").unwrap(),
            code: Zeroizing::new(code),
            amount: Amount::new(100, Currency::CNY).unwrap(),
            now_ms: NOW_MS,
        };
        Pay::new(new, &env).unwrap()
    };
    for sequence in 0..4 {
        let paid = store.execute(pay(&format!("o-{sequence}"), code(0, sequence))).await.unwrap();
        assert!(matches!(paid, Paid::Payment(payment) if payment.state == PaymentState::Succeeded));
        assert_eq!(asked(), 1, "a payment under the current version");
    }
    // A repeat of the order asks for it again, and no more.
    store.execute(pay("o-0", code(0, 0))).await.unwrap();
    assert_eq!(asked(), 1, "a repeat");
    // A code that fits nowhere is tried under each version in force: as many keys as there are, and no token's row more.
    let mut wrong = code(1, 0);
    wrong.replace_range(19..20, if wrong.ends_with('0') { "1" } else { "0" });
    store.execute(pay("o-9", wrong)).await.unwrap();
    assert!(asked() <= 2, "a wrong code");
    drop(store);
    writer.join().unwrap();
}
