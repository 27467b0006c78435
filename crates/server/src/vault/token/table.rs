//! `vault.pkcs11`: which key of the token is which version, and what it is used for. JSON; nothing in it is secret.
//!
//! It is authenticated with AES-CMAC under the current version's key, in the token: who can write files but not use the
//! token cannot bring a retired version back. Each key's answer to a fixed question is in it too, so that another key under
//! the same identifier is noticed before a wrong code is blamed on a wearer.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::{KeyId, TOKEN_CHECK, Token, TokenFault, TokenKey};
use crate::vault::VaultFault;
use crate::vault::ring::{CHECK_VALUE_BYTES, KeyRing, MasterKey, MasterKeyState, Material};

const FORMAT: u64 = 1;
/// The largest file that is read: 127 versions fit.
pub(crate) const MAX_FILE_BYTES: usize = 64 * 1024;
/// Begins what is authenticated; nothing derived begins like it ([`TOKEN_CHECK`] says why).
const AUTHENTICATED: &[u8] = b"paychip vault.pkcs11";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    format: u64,
    versions: Vec<Row>,
    mac: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    version: u8,
    state: String,
    created_ms: u64,
    was_open: bool,
    key_id: String,
    check_value: String,
    token_check: String,
}

/// What tells a token's key from another under the same identifier.
pub(crate) fn token_check(token: &Token, id: &KeyId) -> Result<[u8; CHECK_VALUE_BYTES], TokenFault> {
    token.cmac(id, TOKEN_CHECK).map(|check| *check)
}

/// The file of a ring whose keys are in a token.
///
/// # Errors
/// [`VaultFault`].
pub(crate) fn write(ring: &KeyRing) -> Result<Vec<u8>, VaultFault> {
    let mut versions = Vec::new();
    for key in ring.keys() {
        let Material::InToken(in_token) = &key.key else { return Err(VaultFault::NotInToken) };
        versions.push(Row {
            version: key.version,
            state: key.state.name().to_owned(),
            created_ms: key.created_ms,
            was_open: key.was_open,
            key_id: hex::encode(in_token.id),
            check_value: hex::encode(in_token.check_value),
            token_check: hex::encode(in_token.token_check),
        });
    }
    let table = Table { format: FORMAT, versions, mac: hex::encode(mac(ring)?) };
    let mut bytes = serde_json::to_vec_pretty(&table).map_err(|_| VaultFault::Altered)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The ring in a file, every key of it found in the token and known again.
///
/// # Errors
/// [`VaultFault`].
pub(crate) fn open(file: &[u8], token: &Arc<Token>) -> Result<KeyRing, VaultFault> {
    if file.len() > MAX_FILE_BYTES {
        return Err(VaultFault::Altered);
    }
    let document: serde_json::Value = serde_json::from_slice(file).map_err(|_| VaultFault::Altered)?;
    match document["format"].as_u64() {
        Some(FORMAT) => {}
        Some(format) if format > FORMAT => return Err(VaultFault::Newer(u16::try_from(format).unwrap_or(u16::MAX))),
        _ => return Err(VaultFault::NotAVault),
    }
    let table: Table = serde_json::from_value(document).map_err(|_| VaultFault::Altered)?;
    let mut keys = Vec::new();
    for row in &table.versions {
        let key = key(row, token).ok_or(VaultFault::Altered)?;
        if let Material::InToken(in_token) = &key.key {
            token.must_keep(&in_token.id)?;
            if token_check(token, &in_token.id)? != in_token.token_check {
                return Err(TokenFault::KeyOther(row.key_id.clone()).into());
            }
        }
        keys.push(key);
    }
    let ring = KeyRing::of(keys).ok_or(VaultFault::Altered)?;
    let told: [u8; 16] = fixed(&table.mac).ok_or(VaultFault::Altered)?;
    if !bool::from(told.ct_eq(&mac(&ring)?)) {
        return Err(VaultFault::Altered);
    }
    Ok(ring)
}

fn key(row: &Row, token: &Arc<Token>) -> Option<MasterKey> {
    let in_token = TokenKey {
        id: fixed(&row.key_id)?,
        check_value: fixed(&row.check_value)?,
        token_check: fixed(&row.token_check)?,
        token: Arc::clone(token),
    };
    Some(MasterKey {
        version: row.version,
        state: MasterKeyState::ALL.into_iter().find(|state| state.name() == row.state)?,
        created_ms: row.created_ms,
        was_open: row.was_open,
        key: Material::InToken(in_token),
    })
}

fn fixed<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(digits, &mut bytes).ok().map(|()| bytes)
}

/// The MAC over everything in the table, under the current version's key.
fn mac(ring: &KeyRing) -> Result<[u8; 16], VaultFault> {
    let mut message = AUTHENTICATED.to_vec();
    message.extend_from_slice(&FORMAT.to_be_bytes());
    for key in ring.keys() {
        let Material::InToken(in_token) = &key.key else { return Err(VaultFault::NotInToken) };
        // All of fixed size but the word for the state, which ends with a zero byte.
        message.extend_from_slice(&[key.version, u8::from(key.was_open)]);
        message.extend_from_slice(&key.created_ms.to_be_bytes());
        message.extend_from_slice(key.state.name().as_bytes());
        message.push(0);
        for field in [&in_token.id, &in_token.check_value, &in_token.token_check] {
            message.extend_from_slice(field);
        }
    }
    match ring.get(ring.current()).map(|key| &key.key) {
        Some(Material::InToken(current)) => Ok(*current.cmac(&[&message])?),
        _ => Err(VaultFault::NotInToken),
    }
}
