//! How long to wait before something is tried again.

use std::time::Duration;

/// A pause that doubles each time, from `first` up to `most`, times 0.5 to 1.5 at random, so that those who failed
/// together do not come back together. `before` counts the pauses that went before it.
pub(super) fn pause(first: Duration, most: Duration, before: u32) -> Duration {
    let doubled = first.saturating_mul(2_u32.saturating_pow(before));
    doubled.min(most).mul_f64(rand::random_range(0.5..1.5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_most_and_vary() {
        let (first, most) = (Duration::from_millis(50), Duration::from_millis(300));
        for (before, middle) in [
            (0, 50),
            (1, 100),
            (2, 200),
            (3, 300),
            (4, 300),
            (u32::MAX, 300),
        ] {
            let middle = Duration::from_millis(middle);
            let pauses: Vec<_> = (0..1000).map(|_| pause(first, most, before)).collect();
            assert!(
                pauses
                    .iter()
                    .all(|pause| (middle / 2..=middle * 3 / 2).contains(pause)),
                "{before}"
            );
            let shorter = pauses.iter().filter(|pause| **pause < middle).count();
            assert!(
                (300..=700).contains(&shorter),
                "{before}: {shorter} of 1000 are below the middle"
            );
        }
    }
}
