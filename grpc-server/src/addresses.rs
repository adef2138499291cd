//! What is counted by where it comes from.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::proxies::{mask, wide};
use crate::rates::Rates;
use crate::slots::{Full, Slot, Slots};

/// How much more than one network of 64 bits the one of 48 bits around it may have, which one customer may have to
/// themselves: else they were 65,536 callers.
const OF_A_CUSTOMER: u32 = 4;

/// What is counted as one address: of IPv6 the network of 64 bits, which one household has to itself, and with a larger share
/// that of 48 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Source {
    household: u128,
    customer: u128,
}

impl Source {
    pub(crate) fn of(address: IpAddr) -> Self {
        let whole = wide(address);
        let (household, customer) = match address.to_canonical() {
            IpAddr::V4(_) => (whole, whole),
            IpAddr::V6(_) => (whole & mask(64), whole & mask(48)),
        };
        Self { household, customer }
    }
}

/// As `Slots`, by source.
#[derive(Debug)]
pub(crate) struct SlotsOfSources {
    households: Slots<u128>,
    customers: Slots<u128>,
}

/// A place, given back when dropped.
#[derive(Debug)]
pub(crate) struct SlotOfSource {
    _household: Slot<u128>,
    _customer: Slot<u128>,
}

impl SlotsOfSources {
    pub(crate) fn new(most: usize, most_of_one: usize) -> Self {
        let most_of_customer = most_of_one.saturating_mul(OF_A_CUSTOMER as usize);
        Self {
            households: Slots::new(most, most_of_one),
            customers: Slots::new(most, most_of_customer),
        }
    }

    /// # Errors
    /// If there is no place.
    pub(crate) fn take(&self, source: Source) -> Result<SlotOfSource, Full> {
        Ok(SlotOfSource {
            _household: self.households.take(source.household)?,
            _customer: self.customers.take(source.customer)?,
        })
    }
}

/// As `Rates`, by source.
#[derive(Debug)]
pub(crate) struct RatesOfSources {
    households: Rates<u128>,
    customers: Rates<u128>,
}

impl RatesOfSources {
    pub(crate) fn new(count: u32, period: Duration, burst: u32) -> Self {
        let (of_customer, burst_of_customer) = (
            count.saturating_mul(OF_A_CUSTOMER),
            burst.saturating_mul(OF_A_CUSTOMER),
        );
        Self {
            households: Rates::new(count, period, burst),
            customers: Rates::new(of_customer, period, burst_of_customer),
        }
    }

    /// Whether one would be allowed.
    ///
    /// # Errors
    /// How long to wait before it would be.
    pub(crate) fn look(&self, source: Source, now: Instant) -> Result<(), Duration> {
        self.households.look(&source.household, now)?;
        self.customers.look(&source.customer, now)
    }

    /// Counts one. What is refused is not counted.
    ///
    /// # Errors
    /// How long to wait before it would be allowed.
    pub(crate) fn take(&self, source: Source, now: Instant) -> Result<(), Duration> {
        self.customers.look(&source.customer, now)?;
        self.households.take(source.household, now)?;
        self.customers.take(source.customer, now)
    }

    /// Counts so many more, allowed or not.
    pub(crate) fn charge(&self, source: Source, count: u32, now: Instant) {
        self.households.charge(source.household, count, now);
        self.customers.charge(source.customer, count, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(address: &str) -> Source {
        Source::of(address.parse().unwrap())
    }

    #[test]
    fn one_household_is_one_address() {
        assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff::9"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        assert_ne!(source("10.0.0.1"), source("10.0.0.2"));
        assert_eq!(source("10.0.0.1"), source("::ffff:10.0.0.1"));
    }

    #[test]
    fn a_customer_with_many_networks_has_four_shares_and_not_more() {
        let slots = SlotsOfSources::new(1_000, 3);
        let rates = RatesOfSources::new(1, Duration::from_secs(60), 3);
        let now = Instant::now();
        let (mut taken, mut allowed) = (Vec::new(), 0);
        for network in 0..100 {
            for host in 0..5 {
                let caller = source(&format!("2001:db8:7:{network:x}::{host:x}"));
                taken.extend(slots.take(caller));
                allowed += u32::from(rates.look(caller, now).is_ok() && rates.take(caller, now).is_ok());
            }
        }
        assert_eq!((taken.len(), allowed), (12, 12));
        let neighbour = source("2001:db8:8::1");
        assert!(slots.take(neighbour).is_ok() && rates.take(neighbour, now).is_ok());
        // Places come back, and IPv4 has no such customers.
        drop(taken);
        assert!(slots.take(source("2001:db8:7:99::1")).is_ok());
        let held: Vec<_> = (0..5).flat_map(|_| slots.take(source("10.0.0.1"))).collect();
        assert_eq!(held.len(), 3);
    }
}
