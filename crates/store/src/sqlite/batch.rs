//! How many commands are decided together.

/// Commands decided together at least, where as many wait.
const FEW: usize = 8;
/// Of those that wait, so many parts are decided one after the other while the disk keeps up.
const PARTS: usize = 4;
/// Transactions ahead of what is durable up to which it does: one that is being synced, one that waits, one just appended.
const KEEPS_UP: usize = 3;

/// How many of the commands that wait are best decided together when so many transactions are ahead of what is durable.
///
/// A part of them while the disk keeps up: it, and whoever is answered, then has something to do while the rest is decided.
/// All of them once it is behind: one sync then serves them all (docs/decisions/0032).
pub(super) fn most_at_once(waiting: usize, ahead: usize) -> usize {
    if ahead > KEEPS_UP { waiting } else { waiting.div_ceil(PARTS).max(FEW) }
}

#[cfg(test)]
mod tests {
    use super::super::pending::UNSYNCED;
    use super::*;

    #[test]
    fn a_part_is_decided_while_the_disk_keeps_up_and_all_before_the_writer_has_to_wait_for_it() {
        let sizes = |waiting| (0..UNSYNCED).map(|ahead| most_at_once(waiting, ahead)).collect::<Vec<_>>();
        assert_eq!(sizes(512), [128, 128, 128, 128, 512, 512, 512, 512]);
        assert_eq!(sizes(33), [9, 9, 9, 9, 33, 33, 33, 33]);
        assert_eq!(sizes(5), [8, 8, 8, 8, 5, 5, 5, 5], "at least as many as there are");
        assert_eq!(sizes(1)[UNSYNCED - 1], 1, "never none");
    }
}
