//! The payment code on the screen: digits, EMV QR, one-time password; making and checking.

#![no_std]
