//! Choices made from bytes, so that a fuzzer's input and a random test's lead to the same cases.

/// Bytes that are used up choice by choice. Once they are, the first is chosen of everything.
#[derive(Debug)]
pub(super) struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    pub(super) fn from(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// A number below `end`, which is at most 256.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        usize::from(*first) % end
    }

    pub(super) fn number(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.below(256).try_into().expect("it is below 256")
    }

    /// True once in so many times.
    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == times - 1
    }

    pub(super) fn of<T: Copy>(&mut self, options: &[T]) -> T {
        options[self.below(options.len())]
    }

    /// So many of what `one` makes: `least`, and at most `more` on top.
    pub(super) fn several<T>(
        &mut self,
        least: usize,
        more: usize,
        mut one: impl FnMut(&mut Self) -> T,
    ) -> Vec<T> {
        let count = least + self.below(more + 1);
        (0..count).map(|_| one(self)).collect()
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}
