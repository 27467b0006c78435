//! A PKCS#11 token in use: a few sessions, one login, keys made and used. The library is loaded while the program runs;
//! nothing is linked.
//!
//! A session that fails is not used again. Where the token itself is gone (removed, restarted, its network cut) it is
//! looked for again, by whoever needs a key: a bounded number of times, and not more often than [`REOPEN_PAUSE`] allows, so
//! that payments are refused at once meanwhile instead of queueing up. PKCS#11 has no timeouts of its own: how long a call
//! may hang is for the library's own settings.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::RawAuthPin;
use zeroize::Zeroizing;

use super::{KeyId, TokenFault, TokenUri};
use crate::vault::VaultFault;
use crate::vault::passphrase::Passphrase;
use crate::vault::ring::KEY_BYTES;

/// Sessions with the token at the same time; as many keys are derived at once, and further ones wait.
const MAX_SESSIONS: usize = 8;
/// The longest wait for a session.
const SESSION_WAIT: Duration = Duration::from_secs(2);
/// How often one answer is tried; before each but the first the token is opened anew.
const MAX_TRIES: usize = 3;
/// How long nobody looks for a token again that was not to be had.
const REOPEN_PAUSE: Duration = Duration::from_millis(500);

/// A token that is open, or was.
pub(crate) struct Token {
    uri: TokenUri,
    pin: Passphrase,
    live: RwLock<Live>,
    sessions: Mutex<Sessions>,
    returned: Condvar,
}

/// The token as it was last opened. Held for reading while a session is in use: whoever opens it anew is alone with it.
struct Live {
    client: Pkcs11,
    slot: Slot,
    /// Grows with each opening.
    epoch: u64,
    /// Keys found since. As many as there are versions.
    handles: Mutex<HashMap<KeyId, ObjectHandle>>,
    /// When it was looked for in vain, and why.
    refused: Option<(Instant, TokenFault)>,
}

#[derive(Default)]
struct Sessions {
    idle: Vec<Session>,
    lent: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Token {
    /// Loads the library, finds the one token that is meant, and logs in.
    ///
    /// # Errors
    /// [`TokenFault`].
    pub(crate) fn open(uri: &TokenUri, pin: &Passphrase) -> Result<Self, TokenFault> {
        let module = |error: &Error| TokenFault::Module { path: uri.module.clone(), reason: error.to_string() };
        let client = Pkcs11::new(&uri.module).map_err(|error| module(&error))?;
        start(&client).map_err(|error| module(&error))?;
        let (slot, session) = enter(&client, uri, pin)?;
        let live = Live { client, slot, epoch: 0, handles: Mutex::default(), refused: None };
        let sessions = Mutex::new(Sessions { idle: vec![session], lent: 0 });
        Ok(Self { uri: uri.clone(), pin: pin.clone(), live: RwLock::new(live), sessions, returned: Condvar::new() })
    }

    /// AES-CMAC of a message under a key of the token.
    ///
    /// # Errors
    /// [`TokenFault`].
    pub(crate) fn cmac(&self, id: &KeyId, message: &[u8]) -> Result<Zeroizing<[u8; 16]>, TokenFault> {
        self.with_session(|session, live| {
            let key = live.key(session, id)?;
            let mac = session.sign(&Mechanism::AesCMac, key, message).map_err(|error| failed(&error))?;
            let mac = Zeroizing::new(mac);
            let mut block = Zeroizing::new([0; 16]);
            if mac.len() != block.len() {
                return Err(TokenFault::Mechanism);
            }
            block.copy_from_slice(&mac);
            Ok(block)
        })
    }

    /// That the token has the key and gives it to nobody.
    ///
    /// # Errors
    /// [`TokenFault::KeyMissing`], [`TokenFault::KeyOpen`], and failures.
    pub(crate) fn must_keep(&self, id: &KeyId) -> Result<(), TokenFault> {
        self.with_session(|session, live| {
            let key = live.key(session, id)?;
            let asked = [AttributeType::Sensitive, AttributeType::Extractable];
            let told = session.get_attributes(key, &asked).map_err(|error| failed(&error))?;
            let is_kept = told.contains(&Attribute::Sensitive(true)) && told.contains(&Attribute::Extractable(false));
            if is_kept { Ok(()) } else { Err(TokenFault::KeyOpen(hex::encode(id))) }
        })
    }

    /// Makes a key of 256 bits in the token.
    ///
    /// # Errors
    /// [`TokenFault`].
    pub(crate) fn generate(&self, id: &KeyId, label: &str) -> Result<(), TokenFault> {
        let mut template = template(id, label);
        template.push(Attribute::ValueLen((KEY_BYTES as u64).into()));
        self.with_writing_session(|session| session.generate_key(&Mechanism::AesKeyGen, &template))?;
        self.must_keep(id)
    }

    /// Puts a key into the token that was elsewhere before.
    ///
    /// # Errors
    /// [`TokenFault`].
    pub(crate) fn import(&self, id: &KeyId, label: &str, key: &[u8; KEY_BYTES]) -> Result<(), TokenFault> {
        let mut template = template(id, label);
        template.push(Attribute::Value(key.to_vec()));
        let made = self.with_writing_session(|session| session.create_object(&template));
        if let Some(Attribute::Value(copy)) = template.last_mut() {
            zeroize::Zeroize::zeroize(copy);
        }
        made?;
        self.must_keep(id)
    }

    /// A session that may write is opened for the one call, and never tried again: a key might be made twice.
    fn with_writing_session(
        &self,
        work: impl FnOnce(&Session) -> cryptoki::error::Result<ObjectHandle>,
    ) -> Result<(), TokenFault> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        let session = live.client.open_rw_session(live.slot).map_err(|error| failed(&error))?;
        work(&session).map(drop).map_err(|error| failed(&error))
    }

    fn with_session<T>(&self, work: impl Fn(&Session, &Live) -> Result<T, TokenFault>) -> Result<T, TokenFault> {
        let mut tries = 1;
        loop {
            let (seen, fault) = {
                let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
                let mut lent = self.lend(&live)?;
                match lent.session().and_then(|session| work(session, &live)) {
                    Ok(done) => return Ok(done),
                    Err(fault) => {
                        lent.is_good = !fault.is_loss();
                        (live.epoch, fault)
                    }
                }
            };
            if !fault.is_loss() || tries >= MAX_TRIES {
                return Err(fault);
            }
            tries += 1;
            self.reopen(seen, &fault)?;
        }
    }

    fn lend<'a>(&'a self, live: &Live) -> Result<Lent<'a>, TokenFault> {
        let until = Instant::now() + SESSION_WAIT;
        let mut sessions = lock(&self.sessions);
        loop {
            if let Some(session) = sessions.idle.pop() {
                sessions.lent += 1;
                return Ok(Lent { token: self, session: Some(session), is_good: true });
            }
            if sessions.lent < MAX_SESSIONS {
                sessions.lent += 1;
                drop(sessions);
                let mut lent = Lent { token: self, session: None, is_good: true };
                // One that can't be opened shows as a loss to whoever uses it.
                lent.session = live.client.open_ro_session(live.slot).ok();
                return Ok(lent);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(TokenFault::Busy);
            }
            let waited = self.returned.wait_timeout(sessions, left);
            sessions = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Opens the token anew, unless another thread has since it was seen.
    fn reopen(&self, seen: u64, why: &TokenFault) -> Result<(), TokenFault> {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        if live.epoch != seen {
            return Ok(());
        }
        match &live.refused {
            Some((_, fault)) if fault.is_final() => return Err(fault.clone()),
            Some((at, fault)) if at.elapsed() < REOPEN_PAUSE => return Err(fault.clone()),
            Some(_) => {}
            None => tracing::error!(code = why.code(), fault = %why, "the PKCS#11 token is lost; it is opened anew"),
        }
        // Nobody else has one: each is in use only while `live` is read.
        lock(&self.sessions).idle.clear();
        let entered = enter(&live.client, &self.uri, &self.pin).or_else(|fault| {
            if fault.is_final() {
                return Err(fault);
            }
            // Some libraries see a token that came back only after they have been started anew.
            if let Err(error) = live.client.clone().finalize() {
                tracing::debug!(%error, "the PKCS#11 library was not running");
            }
            start(&live.client).map_err(|error| failed(&error))?;
            enter(&live.client, &self.uri, &self.pin)
        });
        match entered {
            Ok((slot, session)) => {
                live.slot = slot;
                live.epoch += 1;
                live.refused = None;
                lock(&live.handles).clear();
                lock(&self.sessions).idle.push(session);
                tracing::info!("the PKCS#11 token is open again");
                Ok(())
            }
            Err(fault) => {
                if live.refused.is_none() || fault.is_final() {
                    tracing::error!(code = fault.code(), %fault, "the PKCS#11 token can't be opened");
                }
                live.refused = Some((Instant::now(), fault.clone()));
                Err(fault)
            }
        }
    }
}

impl TokenFault {
    /// Whether the token may do better after it has been opened anew.
    const fn is_loss(&self) -> bool {
        matches!(self, Self::Failed { lost: true, .. })
    }

    /// Whether a further try could do harm: a few wrong PINs lock a token.
    const fn is_final(&self) -> bool {
        matches!(self, Self::Pin | Self::PinLocked)
    }
}

impl Live {
    /// The key with this identifier.
    fn key(&self, session: &Session, id: &KeyId) -> Result<ObjectHandle, TokenFault> {
        if let Some(known) = lock(&self.handles).get(id) {
            return Ok(*known);
        }
        let wanted = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Token(true),
            Attribute::Id(id.to_vec()),
        ];
        let found = session.find_objects(&wanted).map_err(|error| failed(&error))?;
        let [key] = found[..] else {
            let id = hex::encode(id);
            return Err(if found.is_empty() { TokenFault::KeyMissing(id) } else { TokenFault::KeyAmbiguous(id) });
        };
        lock(&self.handles).insert(*id, key);
        Ok(key)
    }
}

/// A session in use; it goes back when dropped, unless it failed.
struct Lent<'a> {
    token: &'a Token,
    session: Option<Session>,
    is_good: bool,
}

impl Lent<'_> {
    fn session(&self) -> Result<&Session, TokenFault> {
        self.session.as_ref().ok_or_else(|| TokenFault::Failed {
            call: "C_OpenSession".to_owned(),
            reason: "no further session can be opened".to_owned(),
            lost: true,
        })
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let session = self.session.take().filter(|_| self.is_good);
        let mut sessions = lock(&self.token.sessions);
        sessions.lent -= 1;
        sessions.idle.extend(session);
        drop(sessions);
        self.token.returned.notify_one();
    }
}

/// Starts the library, unless it runs.
fn start(client: &Pkcs11) -> Result<(), Error> {
    match client.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        started => started,
    }
}

/// Finds the token, opens a first session with it and logs in.
fn enter(client: &Pkcs11, uri: &TokenUri, pin: &Passphrase) -> Result<(Slot, Session), TokenFault> {
    let mut slots = Vec::new();
    for slot in client.get_slots_with_initialized_token().map_err(|error| failed(&error))? {
        let Ok(info) = client.get_token_info(slot) else { continue };
        let is = |wanted: &Option<String>, told: &str| wanted.as_ref().is_none_or(|wanted| wanted == told.trim_end());
        let is_meant = is(&uri.label, info.label())
            && is(&uri.manufacturer, info.manufacturer_id())
            && is(&uri.model, info.model())
            && is(&uri.serial, info.serial_number())
            && uri.slot.is_none_or(|wanted| wanted == slot.id());
        slots.extend(is_meant.then_some(slot));
    }
    let [slot] = slots[..] else {
        return Err(if slots.is_empty() { TokenFault::Missing } else { TokenFault::Ambiguous(slots.len()) });
    };
    client.get_mechanism_info(slot, MechanismType::AES_CMAC).map_err(|_| TokenFault::Mechanism)?;
    let session = client.open_ro_session(slot).map_err(|error| failed(&error))?;
    let pin = pin.bytes().map_err(|fault| match fault {
        VaultFault::PassphraseMalformed => TokenFault::PinMalformed,
        other => TokenFault::PinUnread { code: other.code(), reason: other.to_string() },
    })?;
    match session.login_with_raw(UserType::User, &RawAuthPin::new(Box::new(pin.to_vec()))) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok((slot, session)),
        Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _)) => {
            Err(TokenFault::Pin)
        }
        Err(Error::Pkcs11(RvError::PinLocked, _)) => Err(TokenFault::PinLocked),
        Err(error) => Err(failed(&error)),
    }
}

/// What every master key in the token is: AES with 256 bits, for MACs alone, kept in it for ever.
fn template(id: &KeyId, label: &str) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::Verify(false),
        Attribute::Encrypt(false),
        Attribute::Decrypt(false),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
        Attribute::Id(id.to_vec()),
        Attribute::Label(label.as_bytes().to_vec()),
    ]
}

/// An answer of the library as a fault. What is wrong with the question stays wrong; anything else may pass.
fn failed(error: &Error) -> TokenFault {
    let (call, reason, lost) = match error {
        Error::Pkcs11(value, function) => {
            let is_lasting = matches!(
                value,
                RvError::MechanismInvalid
                    | RvError::MechanismParamInvalid
                    | RvError::KeyTypeInconsistent
                    | RvError::KeySizeRange
                    | RvError::KeyFunctionNotPermitted
                    | RvError::AttributeReadOnly
                    | RvError::AttributeTypeInvalid
                    | RvError::AttributeValueInvalid
                    | RvError::TemplateIncomplete
                    | RvError::TemplateInconsistent
                    | RvError::TokenWriteProtected
                    | RvError::ArgumentsBad
                    | RvError::FunctionNotSupported
            );
            (format!("C_{function:?}"), format!("{value:?}"), !is_lasting)
        }
        other => ("the library".to_owned(), other.to_string(), false),
    };
    TokenFault::Failed { call, reason, lost }
}
