//! The commands: each loads what its rule needs, lets the rule decide, and writes the changes.

mod accounts;
mod bindings;
mod confirm;
mod makers;
mod payments;
mod postings;
mod reserve;
mod rules;
mod shipments;
mod sweep;
mod syncs;
mod tokens;

pub use accounts::{ActOnMerchant, OpenAccount, RegisterChip, TakeOnMerchant, TopUpAccount};
pub use bindings::{DueOfBinding, RelayBinding, StartBinding};
pub use confirm::{AnswerPayment, SweepOverdue};
pub use makers::{PutChipModel, PutDeviceModel, SetMakerStanding, TakeInList, TakeOnMaker};
pub use payments::{CancelOrder, NewPayment, Paid, Pay, RefundPayment};
pub use postings::{KeepPartition, PostClearing, PostPart};
pub use rules::{RULES_SUBJECT, SetRules};
pub use shipments::{BeginShipment, FinishShipment, GiveUpShipment, OpenBatch, TakeInChips};
pub use sweep::FinishReserved;
pub use syncs::{DueOfSync, RelaySync, StartTokenSync};
pub use tokens::ActOnToken;
