//! The SDK in the wearable's own processor: bind, pay, show.

#![no_std]
