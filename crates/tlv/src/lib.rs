//! BER-TLV (ISO/IEC 7816-4, EMV Book 3 Annex B): read and write, without a heap.

#![no_std]
