//! How many connections each address has, so that one client cannot take them all.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The connections of each address that has one.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    most: usize,
    live: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One of an address' connections, as long as it is there.
#[derive(Debug)]
pub(super) struct Counted {
    address: IpAddr,
    all: Addresses,
}

impl Addresses {
    pub(super) fn new(most: usize) -> Self {
        Self { most, live: Arc::default() }
    }

    /// One more, unless the address has as many as it may.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Counted> {
        let address = network(address);
        let mut live = self.live();
        let count = live.entry(address).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        drop(live);
        Some(Counted { address, all: self.clone() })
    }

    fn live(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.all.live().entry(self.address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// What stands for one client: of IPv6 the /64 that a single host is given (RFC 6177), of an IPv4 address in IPv6's clothes that one.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => Ipv6Addr::from_bits(six.to_bits() >> 64 << 64).into(),
        four @ IpAddr::V4(_) => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_no_more_and_nothing_is_kept_of_it_afterwards() {
        let addresses = Addresses::new(2);
        let enter = |text: &str| addresses.enter(text.parse().unwrap());
        let (first, second) = (enter("10.0.0.1"), enter("::ffff:10.0.0.1"));
        assert!(first.is_some() && second.is_some() && enter("10.0.0.1").is_none());
        let other = enter("10.0.0.2");
        assert!(other.is_some());
        drop(first);
        assert!(enter("10.0.0.1").is_some());
        drop((second, other));
        assert!(addresses.live().is_empty());
    }

    #[test]
    fn a_host_does_not_become_many_by_ipv6() {
        let addresses = Addresses::new(1);
        let enter = |text: &str| addresses.enter(text.parse().unwrap());
        let first = enter("2001:db8:0:1::1");
        assert!(
            first.is_some() && enter("2001:db8:0:1:ffff::2").is_none() && enter("2001:db8:0:2::1").is_some()
        );
    }
}
