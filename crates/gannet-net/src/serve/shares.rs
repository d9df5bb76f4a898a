//! How much each of many holders has of something that must not all go to one of them.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places of which there are so many in all, and so many for each address.
#[derive(Debug)]
pub struct Places {
    in_all: Arc<Semaphore>,
    by_address: Arc<Shares<IpAddr>>,
}

/// One of them. Dropping it frees it at once.
#[derive(Debug)]
#[must_use = "what is not kept is given back"]
pub struct Place {
    _in_all: OwnedSemaphorePermit,
    _of_address: Option<Share<IpAddr>>,
}

/// Which places are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// All of them.
    InAll,
    /// Those that one address may have.
    ForThisAddress,
}

impl Places {
    /// So many in all, and for each address.
    #[must_use]
    pub fn new(in_all: usize, per_address: usize) -> Self {
        Self {
            in_all: Arc::new(Semaphore::new(in_all.min(Semaphore::MAX_PERMITS))),
            by_address: Shares::new(per_address),
        }
    }

    /// Takes one for whoever is at `address`.
    ///
    /// Whoever has no address, because it came through a unix socket, is not limited by it: one
    /// limit for all of them would protect nobody from the others.
    ///
    /// # Errors
    /// When none is free.
    pub fn take(&self, address: Option<IpAddr>) -> Result<Place, Full> {
        let in_all = Arc::clone(&self.in_all).try_acquire_owned().map_err(|_| Full::InAll)?;
        let of_address = match address {
            None => None,
            Some(address) => {
                Some(self.by_address.take(&host_of(address)).ok_or(Full::ForThisAddress)?)
            }
        };
        Ok(Place { _in_all: in_all, _of_address: of_address })
    }
}

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
