//! Turns: those that are compared do a part of their work each, one after the other, until all is done. The machine's speed
//! changes within seconds, and less than that happens between two parts.

/// In how many parts the work is done.
pub(crate) const PARTS: u32 = 10;

/// Lets them take turns, always in this order. Who fails at a part is out.
pub(crate) fn take<T>(all: &mut Vec<T>, mut succeeds: impl FnMut(&mut T) -> bool) {
    for _ in 0..PARTS {
        all.retain_mut(&mut succeeds);
    }
}
