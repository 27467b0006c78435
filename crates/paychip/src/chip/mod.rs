//! `paychip chip`: a chip somewhere, by itself, without a watch around it.

mod card;

pub use card::{ANSWER_BYTES, Card, Reply, send};
