//! How much each of many holders has of something that must not all go to one of them.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts what each holder has, and lets none have more than a share.
///
/// Whoever has nothing is forgotten: strangers make up names without end.
#[derive(Debug)]
pub struct Shares<K: Eq + Hash> {
    max: usize,
    held: Mutex<HashMap<K, usize>>,
}

/// One of the things that a holder has. Dropping it gives it back at once.
#[derive(Debug)]
#[must_use = "what is not kept is given back"]
pub struct Share<K: Eq + Hash> {
    shares: Arc<Shares<K>>,
    holder: K,
}

impl<K: Eq + Hash + Clone> Shares<K> {
    /// Shares of `max` things for each holder.
    #[must_use]
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, held: Mutex::default() })
    }

    /// Takes one more for `holder`; `None` if its share is used up.
    pub fn take(self: &Arc<Self>, holder: &K) -> Option<Share<K>> {
        let mut held = self.held();
        let has = held.get(holder).copied().unwrap_or(0);
        if has >= self.max {
            return None;
        }
        held.insert(holder.clone(), has + 1);
        Some(Share { shares: Arc::clone(self), holder: holder.clone() })
    }

    /// How many holders have anything.
    #[must_use]
    pub fn holders(&self) -> usize {
        self.held().len()
    }
}

impl<K: Eq + Hash> Shares<K> {
    /// Nothing panics while it holds this mutex, so a poisoned one is as good as any.
    fn held(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut held = self.shares.held();
        match held.get_mut(&self.holder) {
            Some(has) if *has > 1 => *has -= 1,
            _ => {
                held.remove(&self.holder);
            }
        }
    }
}

/// The address that stands for all that one host may come from: a host has a whole /64 of IPv6,
/// and an address of IPv4 may be written as one of IPv6.
#[must_use]
pub fn host_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_more_than_a_share_and_nobody_is_remembered() {
        let shares = Shares::new(2);
        for stranger in 0..10_000 {
            let (one, two) = (shares.take(&stranger), shares.take(&stranger));
            assert!(one.is_some() && two.is_some());
            assert!(shares.take(&stranger).is_none());
            drop(one);
            assert!(shares.take(&stranger).is_some());
            assert_eq!(shares.holders(), 1);
        }
        assert_eq!(shares.holders(), 0);
        assert!(Shares::new(0).take(&"somebody").is_none());
    }

    #[test]
    fn a_host_is_one_however_its_address_is_written() {
        let host = |text: &str| host_of(text.parse().unwrap());
        assert_eq!(host("192.0.2.1"), host("::ffff:192.0.2.1"));
        assert_eq!(host("2001:db8::1"), host("2001:db8::ffff:2"));
        assert_ne!(host("2001:db8::1"), host("2001:db8:0:1::1"));
        assert_ne!(host("192.0.2.1"), host("192.0.2.2"));
    }
}
