//! Exponential backoff with jitter.

use std::time::Duration;

/// A pause that doubles with each failure in a row, from `first` up to `longest`, times 0.5 to 1.5 at random, so
/// that calls that failed together do not come back together. `earlier` is the number of pauses before it.
pub(super) fn pause(first: Duration, longest: Duration, earlier: u32) -> Duration {
    let doubled = first.saturating_mul(2_u32.saturating_pow(earlier));
    doubled.min(longest).mul_f64(rand::random_range(0.5..1.5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_vary() {
        let (first, longest) = (Duration::from_millis(50), Duration::from_millis(300));
        for (earlier, middle) in [
            (0, 50),
            (1, 100),
            (2, 200),
            (3, 300),
            (4, 300),
            (u32::MAX, 300),
        ] {
            let middle = Duration::from_millis(middle);
            let pauses: Vec<_> = (0..1000).map(|_| pause(first, longest, earlier)).collect();
            let range = middle / 2..=middle * 3 / 2;
            assert!(
                pauses.iter().all(|pause| range.contains(pause)),
                "{earlier}"
            );
            let shorter = pauses.iter().filter(|pause| **pause < middle).count();
            assert!(
                (300..=700).contains(&shorter),
                "{earlier}: {shorter} of 1000 are below the middle"
            );
        }
    }
}
