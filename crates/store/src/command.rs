//! What can be asked of a store: a command, what it may use besides the tables, and why it may end without an answer.

use std::sync::{Arc, PoisonError, RwLock};

use paycode::MaskKey;
use platform::risk::RuleSet;
use platform::{KeyVault, Refusal, Settings, VaultError};

use crate::homes::Homes;
use crate::key::Key;
use crate::owners::Owners;
use crate::{Store, StoreError, Tables};

/// What every command may use besides the tables.
#[derive(Clone)]
pub struct Env {
    /// Where keys come from.
    pub vault: Arc<dyn KeyVault>,
    /// The operator's choices.
    pub settings: Arc<Settings>,
    masks: Arc<RwLock<HeldMasks>>,
    /// The risk rules in force.
    pub rules: Arc<CurrentRules>,
    /// Whose tokens are, of the format that codes have.
    pub owners: Arc<Owners>,
}

/// The risk rules in force at one server. They are put here when they are set, and by whoever looks for versions that
/// other servers have set.
#[derive(Debug)]
pub struct CurrentRules(RwLock<Arc<RuleSet>>);

impl CurrentRules {
    /// These rules.
    pub fn new(rules: RuleSet) -> Self {
        Self(RwLock::new(Arc::new(rules)))
    }

    /// The rules in force.
    pub fn get(&self) -> Arc<RuleSet> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts a version in force, unless a newer one is.
    pub fn put(&self, rules: RuleSet) {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if rules.version > current.version {
            *current = Arc::new(rules);
        }
    }
}

/// Mask keys, and the generation of the vault they are of. Held, because every code is unmasked with them; they hide
/// token numbers and protect no money. As many as the vault has in force.
struct HeldMasks {
    generation: u64,
    masks: Arc<Vec<(u8, MaskKey)>>,
}

impl HeldMasks {
    fn of(vault: &dyn KeyVault, settings: &Settings) -> Result<Self, VaultError> {
        // Before the keys: those of a change in between are read again by the next who asks.
        let generation = vault.generation();
        let codes = &settings.codes;
        let masks = Arc::new(platform::mask_keys(vault, &codes.format, codes.suite)?);
        Ok(Self { generation, masks })
    }
}

impl Env {
    /// Everything a command needs.
    ///
    /// # Errors
    /// [`VaultError`] where the vault does not answer.
    pub fn new(vault: Arc<dyn KeyVault>, settings: Arc<Settings>) -> Result<Self, VaultError> {
        let masks = Arc::new(RwLock::new(HeldMasks::of(vault.as_ref(), &settings)?));
        let rules = Arc::new(CurrentRules::new(RuleSet::built_in(&settings)));
        Ok(Self { vault, settings, masks, rules, owners: Arc::default() })
    }

    /// The mask keys a code may be under now, the current one first.
    ///
    /// # Errors
    /// [`VaultError`] where the vault has changed and does not answer.
    pub fn masks(&self) -> Result<Arc<Vec<(u8, MaskKey)>>, VaultError> {
        {
            let held = self.masks.read().unwrap_or_else(PoisonError::into_inner);
            if held.generation == self.vault.generation() {
                return Ok(Arc::clone(&held.masks));
            }
        }
        let fresh = HeldMasks::of(self.vault.as_ref(), &self.settings)?;
        let masks = Arc::clone(&fresh.masks);
        *self.masks.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(masks)
    }
}

/// Why a command ended without an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// A rule refused it: nothing was changed, the transaction goes on.
    Refused(Refusal),
    /// The engine failed: the command was undone.
    Store(StoreError),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<platform::Reason> for Failure {
    fn from(reason: platform::Reason) -> Self {
        Self::Refused(reason.into())
    }
}

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Something asked of the platform that may change what is stored.
///
/// `run` must change only after its rule has decided: a refusal leaves no trace. It may be run again, on rows read anew,
/// where another server changed one of them meanwhile.
pub trait Command: Send + 'static {
    /// What comes back.
    type Answer: Send + 'static;

    /// Whether it may run in any of several partitions: it is frequent, and changes rows of one wearer or order. What
    /// changes a row that all of its kind change runs in one, where it meets the others in a batch instead of a conflict.
    const IS_SPREAD: bool = false;

    /// The home whose rows it changes, where rows have several. What changes rows of many homes, which is rare, runs in
    /// the first.
    fn home(&self, _homes: Homes) -> u16 {
        0
    }

    /// Carries it out where rows have several homes. What belongs to two of them is done in two steps, each a
    /// transaction of its own: what the first has done tells whoever comes later how to finish.
    ///
    /// # Errors
    /// Those of [`Command::run`].
    fn carry_out(self, store: &Store) -> impl Future<Output = Result<Self::Answer, Failure>> + Send
    where
        Self: Sized,
    {
        let home = self.home(store.homes());
        store.in_home(home, self)
    }

    /// Rows that `run` will ask for, as far as can be told from those known already. A hint: without it they are read
    /// one by one.
    ///
    /// # Errors
    /// Those of rows that cannot be read.
    fn wants(&self, _known: &Tables<'_>, _env: &Env) -> Result<Vec<Key>, StoreError> {
        Ok(Vec::new())
    }

    /// Rows that `run` will ask for, as far as the command itself tells. A hint, as [`Command::wants`] is: an engine that
    /// waits for its disk begins to look for them while the command waits.
    fn expects(&self) -> Vec<Key> {
        Vec::new()
    }

    /// Loads, decides, changes.
    ///
    /// # Errors
    /// [`Failure`].
    fn run(&self, tables: &mut Tables<'_>, env: &Env) -> Result<Self::Answer, Failure>;
}
