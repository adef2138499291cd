//! How many rows a statement takes. Few sizes, so that there are few different statements for a connection to keep
//! prepared: it keeps a hundred, and to close one costs MySQL a delayed acknowledgement (40 ms).

use sqlx::{Any, QueryBuilder};

/// The most rows of one statement that writes: sixteen values each stay below every database's limit on values.
const LARGE: usize = 512;

/// The largest of the ordinary sizes, which are the powers of two up to it.
pub(crate) const BATCH: usize = 64;

/// The items in portions of few different sizes.
pub(crate) fn portions<T>(mut items: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = match items.len() {
            0 => return None,
            count if count >= LARGE => LARGE,
            count if count >= BATCH => BATCH,
            count => 1 << count.ilog2(),
        };
        let (portion, rest) = items.split_at(size);
        items = rest;
        Some(portion)
    })
}

/// `in (?, ?, ...)`; of nothing: `in (null)`, which no row is. Filled up with nulls to a power of two, so that there are
/// few different statements to prepare: MySQL is slow to forget one.
pub(crate) fn push_in(query: &mut QueryBuilder<Any>, values: impl IntoIterator<Item = String>) {
    query.push("in (null");
    let mut count: usize = 0;
    for value in values {
        query.push(", ").push_bind(value);
        count += 1;
    }
    for _ in count..count.next_power_of_two() {
        query.push(", ").push_bind(None::<String>);
    }
    query.push(")");
}

/// The items, filled up with repeats to a power of two: where a repeat changes nothing.
pub(crate) fn filled_up<T>(items: &[T]) -> impl Iterator<Item = &T> {
    items.iter().cycle().take(items.len().next_power_of_two())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn portions_are_all_items_in_their_order_in_few_sizes() {
        let mut sizes = BTreeSet::new();
        for count in 0..2_000 {
            let items: Vec<_> = (0..count).collect();
            let portions: Vec<_> = portions(&items).collect();
            assert_eq!(portions.concat(), items);
            sizes.extend(portions.iter().map(|portion| portion.len()));
        }
        assert_eq!(Vec::from_iter(sizes), [1, 2, 4, 8, 16, 32, 64, 512]);
    }

    #[test]
    fn filled_up_items_are_a_power_of_two_and_no_others() {
        assert_eq!(Vec::from_iter(filled_up(&[1, 2, 3])), [&1, &2, &3, &1]);
        assert_eq!(Vec::from_iter(filled_up(&[1, 2])), [&1, &2]);
        assert_eq!(filled_up::<u32>(&[]).count(), 0);
    }
}
