//! Which slot reads which partition: a pure function, so that every node computes the same answer.

/// The partitions that belong to `slot` of `slots`: those whose number modulo `slots` is the slot.
///
/// Stable: a partition keeps its slot when others are added.
pub fn partitions_of(slot: u32, slots: u32, partitions: &[i32]) -> Vec<i32> {
    if slots == 0 {
        return Vec::new();
    }
    let owner = |partition: i32| i64::from(partition).rem_euclid(i64::from(slots));
    partitions.iter().copied().filter(|p| owner(*p) == i64::from(slot)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn without_slots_nobody_reads() {
        assert!(partitions_of(0, 0, &[0, 1]).is_empty());
    }

    proptest! {
        #[test]
        fn every_partition_has_exactly_one_slot(slots in 1u32..9, count in 0i32..40) {
            let partitions: Vec<i32> = (0..count).collect();
            let mut all: Vec<i32> =
                (0..slots).flat_map(|slot| partitions_of(slot, slots, &partitions)).collect();
            all.sort_unstable();
            prop_assert_eq!(all, partitions);
        }

        #[test]
        fn a_partition_keeps_its_slot_when_others_are_added(
            slots in 1u32..9, count in 1i32..40, more in 0i32..40,
        ) {
            let before: Vec<i32> = (0..count).collect();
            let after: Vec<i32> = (0..count + more).collect();
            for slot in 0..slots {
                let kept = partitions_of(slot, slots, &after);
                let had = partitions_of(slot, slots, &before);
                prop_assert!(had.iter().all(|p| kept.contains(p)));
            }
        }
    }
}
