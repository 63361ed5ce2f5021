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

#[cfg(test)]
mod tests {
    use super::*;

    /// Characters, each with its code (RFC 7541, appendix B): those that are replaced, what they become, and the first and
    /// the last of each length.
    const CODES: [(char, &str); 21] = [
        ('/', "011000"),
        ('%', "010101"),
        (' ', "010100"),
        ('3', "011001"),
        ('.', "010111"),
        ('-', "010110"),
        ('0', "00000"),
        ('t', "01001"),
        ('u', "101101"),
        (':', "1011100"),
        ('z', "1111011"),
        ('&', "11111000"),
        ('Z', "11111101"),
        ('!', "1111111000"),
        ('?', "1111111100"),
        ('\'', "11111111010"),
        ('+', "11111111011"),
        ('#', "111111111010"),
        ('>', "111111111011"),
        ('$', "1111111111001"),
        ('~', "1111111111101"),
    ];

    /// The text in Huffman's code. Its last byte is filled up with ones.
    fn coded(text: &str) -> Vec<u8> {
        let code = |c| {
            CODES
                .iter()
                .find(|(character, _)| *character == c)
                .unwrap()
                .1
        };
        let bits = text.chars().map(code).collect::<String>() + "1111111";
        let byte = |bits: &[u8]| bits.iter().fold(0, |byte, bit| byte << 1 | (bit & 1));
        bits.as_bytes().chunks_exact(8).map(byte).collect()
    }

    fn rewritten(mut bytes: Vec<u8>) -> Vec<u8> {
        let mut character = Character::default();
        bytes.iter_mut().for_each(|byte| character.rewrite(byte));
        bytes
    }

    #[test]
    fn characters_are_replaced_after_any_others() {
        for (first, _) in CODES {
            for (second, _) in CODES {
                let text = format!("/{first}%{second}/{first}{second}% ");
                let expected = text.replace('/', "3").replace('%', ".").replace(' ', "-");
                assert_eq!(rewritten(coded(&text)), coded(&expected), "{text}");
            }
        }
    }

    #[test]
    fn what_is_longer_than_a_character_of_an_authority_passes_unchanged() {
        // After so many bits, 101100 looks like the beginning of a "/".
        let bytes = vec![0xff, 0xff, 0xff, 0, 0, 0b1011_0000];
        assert_eq!(rewritten(bytes.clone()), bytes);
    }
}
