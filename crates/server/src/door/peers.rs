//! How many connections there are, of all and of each peer. What is kept of a peer goes with its last connection, so the
//! table is never larger than the number of connections.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::Connections;

/// Who is in.
#[derive(Default)]
struct Inside {
    all: usize,
    of_a_peer: HashMap<IpAddr, usize>,
}

/// Counts connections.
pub(super) struct Peers {
    connections: Connections,
    inside: Arc<Mutex<Inside>>,
}

/// Someone who is in; gone when it is dropped.
pub(super) struct Entrance {
    peer: IpAddr,
    inside: Arc<Mutex<Inside>>,
}

impl Peers {
    pub(super) fn new(connections: Connections) -> Self {
        Self { connections, inside: Arc::default() }
    }

    /// Lets one more connection of a peer in, where there is room.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Entrance> {
        let peer = one_of(address);
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let of_this = inside.of_a_peer.get(&peer).copied().unwrap_or(0);
        if inside.all >= self.connections.all || of_this >= self.connections.of_a_peer {
            return None;
        }
        inside.all += 1;
        inside.of_a_peer.insert(peer, of_this + 1);
        Some(Entrance { peer, inside: Arc::clone(&self.inside) })
    }
}

impl Drop for Entrance {
    fn drop(&mut self) {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.all -= 1;
        if let Some(left) = inside.of_a_peer.get_mut(&self.peer) {
            *left -= 1;
            if *left == 0 {
                inside.of_a_peer.remove(&self.peer);
            }
        }
    }
}

/// Whose address it is: one customer has a whole IPv6 network of 64 bits.
fn one_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    #[test]
    fn one_peer_cannot_take_the_room_of_all_and_who_leaves_makes_room() {
        let peers = Peers::new(Connections { all: 3, of_a_peer: 2 });
        let (a, b) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let first = peers.enter(a).unwrap();
        let _second = peers.enter("::ffff:192.0.2.1".parse().unwrap()).unwrap();
        assert!(peers.enter(a).is_none(), "a third of one peer");
        let _third = peers.enter(b).unwrap();
        assert!(peers.enter(b).is_none(), "a fourth of all");
        drop(first);
        let again = peers.enter(b).unwrap();
        assert!(peers.enter(a).is_none());
        drop((again, _second, _third));
        assert!(peers.inside.lock().unwrap().of_a_peer.is_empty(), "something is kept of who has left");
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_are_one_peer() {
        let peers = Peers::new(Connections { all: 9, of_a_peer: 1 });
        let _one = peers.enter("2001:db8:1:2::1".parse().unwrap()).unwrap();
        assert!(peers.enter("2001:db8:1:2:ffff::9".parse().unwrap()).is_none());
        assert!(peers.enter("2001:db8:1:3::1".parse().unwrap()).is_some());
    }
}
