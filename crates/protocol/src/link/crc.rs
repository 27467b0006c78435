//! CRC-16 with the CCITT polynomial. Computed bit by bit: messages are short and a table would cost 512 bytes.

/// CRC-16/IBM-3740 (often called CRC-16/CCITT-FALSE): polynomial 1021, initial value FFFF, not reflected.
/// Of "123456789" it is 29B1.
#[must_use]
pub fn crc16(message: &[u8]) -> u16 {
    message.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| if crc & 0x8000 != 0 { crc << 1 ^ 0x1021 } else { crc << 1 })
    })
}
