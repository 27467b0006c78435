//! Money, accounts and double entry as pure rules.
