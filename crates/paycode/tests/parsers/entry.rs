//! One entry for whatever bytes a scanner or an attacker sends: nothing panics, and what is accepted
//! is written back as the very same bytes. The fuzz target and the bounded test both call it.

use paycode::{
    Code, CodeFormat, MaskKey, Suite,
    emv::{IssuerData, MAX_ISSUER_DATA_BYTES, MAX_PAYLOAD_BYTES, MAX_PAYMENT_TEXT, Payload, Payment},
    unmask,
};

/// Feeds `data` to every parser of the crate.
pub(crate) fn parse_everything(data: &[u8]) {
    if let Ok(issuer_data) = IssuerData::parse(data) {
        assert_eq!(issuer_data.encode(&mut [0; MAX_ISSUER_DATA_BYTES]), data);
    }
    if let Ok(payload) = Payload::from_bytes(data) {
        walk(&payload);
    }
    let Ok(text) = core::str::from_utf8(data) else { return };
    code(text);
    let mut buffer = [0; MAX_PAYLOAD_BYTES];
    if let Ok(payload) = Payload::parse(text, &mut buffer) {
        walk(&payload);
        if let Ok(payment) = Payment::from_payload(&payload) {
            let mut written = [0; MAX_PAYMENT_TEXT];
            assert_eq!(payment.encode(&mut written), Ok(text));
        }
    }
}

fn walk(payload: &Payload<'_>) {
    assert!(payload.applications().count() >= 1);
    for template in payload.applications().chain(payload.common()) {
        let inner = template.transparent().map_or(0, |transparent| transparent.iter().count());
        assert!(template.iter().count() + inner <= MAX_PAYLOAD_BYTES);
    }
}

fn code(text: &str) {
    if let Some((total, prefix)) = text.as_bytes().split_last()
        && let Ok(prefix) = core::str::from_utf8(prefix)
        && let Ok(format) = CodeFormat::new(prefix, *total)
    {
        assert_eq!(format.prefix_str(), prefix);
    }
    let Ok(code) = Code::parse(text) else { return };
    assert_eq!(code.as_str(), text);
    let mask_key = MaskKey::new(Suite::International, &[7; 16]);
    let format = CodeFormat::DEFAULT;
    assert_eq!(unmask(&format, &mask_key, &code).is_ok(), format.parse(text).is_ok());
}
