//! The messages of `spec/relay.md`, as owned values.
use super::Binding;
pub(super) struct Results {
    pub(super) session: [u8; 16],
    pub(super) number: u16,
    pub(super) answers: Vec<Vec<u8>>,
}
pub(super) fn read_results(_: &[u8]) -> Option<Results> {
    None
}
pub(super) fn script(_: &Binding, _: u16, _: &[Vec<u8>]) -> Vec<u8> {
    Vec::new()
}
pub(super) fn failed(_: &Binding) -> Vec<u8> {
    Vec::new()
}
pub(super) fn done(_: &Binding, _: &str) -> Vec<u8> {
    Vec::new()
}
