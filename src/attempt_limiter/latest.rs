//! A map of bounded size that forgets what has not been touched for the longest time, roughly: it keeps two generations,
//! and when the young one is full, the old one goes.

use std::{collections::HashMap, mem};

/// The latest entries, at most twice as many as a generation has.
#[derive(Debug)]
pub(super) struct Latest<V> {
    generation: usize,
    young: HashMap<u64, V>,
    old: HashMap<u64, V>,
}

impl<V: Copy> Latest<V> {
    /// Nothing yet, and at most `generation` entries in each of two generations.
    pub(super) fn new(generation: usize) -> Self {
        Self {
            generation,
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    /// The value of that key, which is young again.
    pub(super) fn touch(&mut self, key: u64) -> Option<V> {
        if let Some(value) = self.old.remove(&key) {
            self.put(key, value);
        }
        self.young.get(&key).copied()
    }

    /// Sets the value of a key.
    pub(super) fn put(&mut self, key: u64, value: V) {
        self.old.remove(&key);
        if self.young.len() >= self.generation && !self.young.contains_key(&key) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENERATION: usize = 100;

    impl<V> Latest<V> {
        pub(in crate::attempt_limiter) fn len(&self) -> usize {
            self.young.len() + self.old.len()
        }
    }

    #[test]
    fn it_never_grows_beyond_two_generations() {
        let mut map = Latest::new(GENERATION);
        for key in 0..20 * GENERATION as u64 {
            map.put(key, key);
            assert!(map.len() <= 2 * GENERATION);
        }
        assert!(map.len() > GENERATION);
    }

    #[test]
    fn what_is_touched_stays_and_what_is_not_goes() {
        let mut map = Latest::new(GENERATION);
        map.put(u64::MAX, 7);
        map.put(u64::MAX - 1, 8);
        for key in 0..20 * GENERATION as u64 {
            map.put(key, 0);
            assert_eq!(map.touch(u64::MAX), Some(7));
        }
        assert_eq!(map.touch(u64::MAX - 1), None);
    }

    #[test]
    fn the_last_value_counts_in_whichever_generation() {
        let mut map = Latest::new(1);
        map.put(1, 1);
        map.put(2, 2);
        map.put(1, 3);
        assert_eq!(
            (map.touch(1), map.touch(2), map.touch(1)),
            (Some(3), Some(2), Some(3))
        );
    }
}
