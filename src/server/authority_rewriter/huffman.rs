//! Replaces `/` and `%` in text that is in HPACK's Huffman code, as Go sends it.

/// The bits so far of a character, below a 1 that marks where they begin.
#[derive(Debug)]
pub(super) struct Character(u16);

impl Default for Character {
    fn default() -> Self {
        Self(1)
    }
}

impl Character {
    /// Rewrites the next eight bits: `/` (011000) becomes `3` (011001), and `%` (010101) becomes `.` (010111).
    ///
    /// Each replacement sets one bit, which is known from the bits before it. `-` (010110) would need two, and the first
    /// may have left in a byte before. A space (010100) becomes `-`; an authority may not have one either.
    pub(super) fn rewrite(&mut self, byte: &mut u8) {
        for mask in (0..8).rev().map(|position| 1 << position) {
            if matches!(self.0, 0b1_01100 | 0b1_0101) {
                *byte |= mask;
            }
            self.add(*byte & mask != 0);
        }
    }

    fn add(&mut self, bit: bool) {
        // An authority has no character of more than 13 bits. h2 refuses the call, and the rest passes unchanged.
        const TOO_LONG: u16 = 1 << 14;
        if self.0 < TOO_LONG {
            self.0 = self.0 << 1 | u16::from(bit);
        }
        if self.is_complete() {
            *self = Self::default();
        }
    }

    /// Among as many bits, the lower numbers are characters, and the higher ones begin longer characters.
    fn is_complete(&self) -> bool {
        matches!(
            self.0,
            0x20..0x2a
                | 0x40..0x6e
                | 0x80..0xfc
                | 0x100..0x1fe
                | 0x400..0x7fd
                | 0x800..0xffd
                | 0x1000..0x1ffc
                | 0x2000..0x3ffe
        )
    }
}
