//! The real world's time and randomness, read in one place and handed to the platform with each request.

use std::time::{SystemTime, UNIX_EPOCH};

use platform::UnixMs;

use crate::error::ApiError;

/// The present Unix time, milliseconds.
pub(crate) fn now_ms() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // 64 bits of milliseconds are 584 million years.
    since.as_millis() as UnixMs
}

/// Fresh random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], ApiError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(ApiError::internal)?;
    Ok(bytes)
}

/// A fresh API key: its kind, then 256 random bits in hex.
pub(crate) fn fresh_key(kind: &str) -> Result<String, ApiError> {
    Ok(format!("{kind}{}", hex::encode(random::<32>()?)))
}
