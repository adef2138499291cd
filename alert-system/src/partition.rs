use crate::engine::Engine;

/// One partition of the quotes topic that the group gave to this instance.
#[derive(Debug)]
pub(crate) enum Slot {
    /// Its state is being read; its quotes are paused.
    Restoring {
        /// Which restore works on it: one that was cancelled may still have it done.
        job: u64,
        /// The first quote that came before the pause took hold and was dropped: reading goes back to it.
        dropped: Option<i64>,
    },
    /// Its quotes are evaluated.
    Ready(Box<Partition>),
}

/// A partition whose quotes are evaluated.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) engine: Engine,
    /// Offset of the next record of the rules topic.
    pub(crate) next_rule: i64,
    /// Offset of the next quote, once one was handled.
    pub(crate) next_quote: Option<i64>,
    /// Offset of the first quote: where the last owner stopped.
    pub(crate) first_quote: i64,
    /// Where the tickers topic ended when it was read.
    pub(crate) tickers_end: i64,
    /// Something was handled since the last checkpoint.
    pub(crate) uncommitted: bool,
}

/// This instance's partitions, by number: looked up for every quote.
#[derive(Debug, Default)]
pub(crate) struct Partitions {
    slots: Vec<Option<Slot>>,
}

impl Partitions {
    pub(crate) fn insert(&mut self, number: i32, slot: Slot) {
        let Ok(index) = usize::try_from(number) else {
            return;
        };
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        self.slots[index] = Some(slot);
    }

    pub(crate) fn remove(&mut self, number: i32) -> Option<Slot> {
        self.slots.get_mut(usize::try_from(number).ok()?)?.take()
    }

    pub(crate) fn get_mut(&mut self, number: i32) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(number).ok()?)?.as_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (i32, &Slot)> {
        (0..)
            .zip(&self.slots)
            .filter_map(|(number, slot)| Some((number, slot.as_ref()?)))
    }

    pub(crate) fn ready(&self) -> impl Iterator<Item = (i32, &Partition)> {
        self.iter().filter_map(|(number, slot)| match slot {
            Slot::Ready(partition) => Some((number, partition.as_ref())),
            Slot::Restoring { .. } => None,
        })
    }

    pub(crate) fn ready_mut(&mut self) -> impl Iterator<Item = (i32, &mut Partition)> {
        (0..)
            .zip(&mut self.slots)
            .filter_map(|(number, slot)| match slot {
                Some(Slot::Ready(partition)) => Some((number, partition.as_mut())),
                Some(Slot::Restoring { .. }) | None => None,
            })
    }
}
