/// Stops reading quotes while too many alerts wait for their acknowledgement, so that a slow broker costs time and not
/// memory. Rules, rebalances and acknowledgements go on.
#[derive(Debug, Default)]
pub(crate) struct Pressure {
    paused: bool,
}

/// What is to be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// No more quotes.
    Pause,
    /// Quotes again.
    Resume,
}

impl Pressure {
    /// Reading stops at more alerts than this, about 10 MB, and goes on at half.
    const MOST: usize = 50_000;

    pub(crate) const fn is_paused(&self) -> bool {
        self.paused
    }

    /// What to do with so many alerts on their way, if anything.
    pub(crate) fn observe(&mut self, outstanding: usize) -> Option<Change> {
        if self.paused && outstanding <= Self::MOST / 2 {
            self.paused = false;
            Some(Change::Resume)
        } else if !self.paused && outstanding > Self::MOST {
            self.paused = true;
            Some(Change::Pause)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_stops_above_the_limit_and_goes_on_at_half() {
        let mut pressure = Pressure::default();
        assert_eq!(pressure.observe(Pressure::MOST), None);
        assert_eq!(pressure.observe(Pressure::MOST + 1), Some(Change::Pause));
        assert_eq!(pressure.observe(Pressure::MOST), None);
        assert_eq!(pressure.observe(Pressure::MOST / 2 + 1), None);
        assert!(pressure.is_paused());
        assert_eq!(pressure.observe(Pressure::MOST / 2), Some(Change::Resume));
        assert_eq!(pressure.observe(Pressure::MOST / 2), None);
    }
}
