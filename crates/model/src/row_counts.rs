//! How many rows statements have written, by what they did to them.

use std::ops::AddAssign;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowCounts {
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
}

impl RowCounts {
    pub fn of_inserted(inserted: u64) -> RowCounts {
        RowCounts { inserted, ..RowCounts::default() }
    }

    pub fn total(self) -> u64 {
        self.inserted + self.updated + self.deleted
    }

    /// The same for each of them.
    #[must_use]
    pub fn each(self, f: impl Fn(u64) -> u64) -> RowCounts {
        RowCounts { inserted: f(self.inserted), updated: f(self.updated), deleted: f(self.deleted) }
    }
}

impl AddAssign for RowCounts {
    fn add_assign(&mut self, other: RowCounts) {
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.deleted += other.deleted;
    }
}

/// Shares rows out by weights, without remainder: each share is what is due so far less what was given before.
pub struct SharedOut {
    rows: RowCounts,
    weights: u64,
    seen: u64,
    given: RowCounts,
}

impl SharedOut {
    /// Of shares whose weights have this sum.
    pub fn new(rows: RowCounts, weights: u64) -> SharedOut {
        SharedOut { rows, weights: weights.max(1), seen: 0, given: RowCounts::default() }
    }

    /// The share of this weight.
    pub fn next(&mut self, weight: u64) -> RowCounts {
        self.seen += weight;
        let (seen, weights) = (u128::from(self.seen), u128::from(self.weights));
        let due = self.rows.each(|rows| (u128::from(rows) * seen / weights) as u64);
        let share = RowCounts {
            inserted: due.inserted - self.given.inserted,
            updated: due.updated - self.given.updated,
            deleted: due.deleted - self.given.deleted,
        };
        self.given = due;
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rows_are_shared_out_by_weight() {
        let mut shares = SharedOut::new(RowCounts { inserted: 14, updated: 3, deleted: 0 }, 14);
        let given = [9, 5, 0, 0].map(|weight| shares.next(weight));
        assert_eq!(given.map(|rows| rows.inserted), [9, 5, 0, 0]);
        assert_eq!(given.map(|rows| rows.updated).iter().sum::<u64>(), 3);
        assert_eq!(SharedOut::new(RowCounts::default(), 0).next(0), RowCounts::default());
    }

    proptest! {
        #[test]
        fn nothing_is_left_over(rows: u32, weights in prop::collection::vec(0..1000u64, 1..20)) {
            let sum: u64 = weights.iter().sum();
            prop_assume!(sum > 0);
            let mut shares = SharedOut::new(RowCounts::of_inserted(rows.into()), sum);
            let given: u64 = weights.iter().map(|weight| shares.next(*weight).total()).sum();
            prop_assert_eq!(given, u64::from(rows));
        }
    }
}
