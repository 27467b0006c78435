//! The cloud's decisions: accounts, merchants, chips, binding, tokens, payments.
