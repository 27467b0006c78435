//! What travels between cloud and chip: APDUs, SCP03 for both ends, scripts, links.

#![no_std]
