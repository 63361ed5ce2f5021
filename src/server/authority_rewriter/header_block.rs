//! Rewrites the value of `:authority` in a header block (HPACK, RFC 7541): `/` and `%` become `-`.

use super::huffman::Character;

const AUTHORITY: &[u8; 10] = b":authority";
/// The index of `:authority` in the static table.
const AUTHORITY_INDEX: u8 = 1;
/// In the first byte of a string: it is Huffman-coded. In a number that is longer than a byte: it goes on.
const TOP_BIT: u8 = 0x80;

/// Reads one header block, from its first byte to its last.
///
/// It keeps no dynamic table. A reference to a whole entry does not need one: the value was rewritten before it became
/// the entry, and no length changes, so that the server evicts what the client evicts. A new value whose name is an entry
/// of the dynamic table does need one and passes unchanged, and so does one whose name is spelled in Huffman's code. h2
/// then refuses that call alone. Libraries take this name from the static table, or spell it without a code.
#[derive(Debug, Default)]
pub(super) struct HeaderBlock {
    next: Part,
    /// How many strings the field still has: its name and its value, its value, or none.
    strings: u8,
    /// Whether the field is `:authority`, as far as it is known.
    is_authority: bool,
    /// Whether the string is Huffman-coded.
    is_huffman_coded: bool,
    /// How many bytes of the string are still to come.
    left: usize,
    /// How many bits of the string's length are known, if it is longer than a byte.
    shift: u32,
    character: Character,
}

/// What the next byte belongs to.
#[derive(Debug, Default)]
enum Part {
    #[default]
    Field,
    Index,
    Length,
    LongLength,
    String,
}

impl HeaderBlock {
    /// Rewrites the bytes that come next.
    pub(super) fn rewrite(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            match self.next {
                Part::Field => self.begin_field(*byte),
                Part::Index if *byte & TOP_BIT != 0 => {}
                Part::Index => self.end_part(),
                Part::Length => self.begin_length(*byte),
                Part::LongLength => self.add_length(*byte),
                Part::String => self.rewrite_string(byte),
            }
        }
    }

    fn begin_field(&mut self, byte: u8) {
        let (mask, is_literal) = match byte {
            // An entry of a table.
            0x80.. => (0x7f, false),
            // A literal that becomes an entry.
            0x40.. => (0x3f, true),
            // The size of the dynamic table.
            0x20.. => (0x1f, false),
            // A literal that does not become one.
            _ => (0x0f, true),
        };
        let index = byte & mask;
        self.strings = u8::from(is_literal) + u8::from(is_literal && index == 0);
        self.is_authority = index == AUTHORITY_INDEX;
        if index == mask {
            self.next = Part::Index;
        } else {
            self.end_part();
        }
    }

    fn begin_length(&mut self, byte: u8) {
        const LONG: u8 = 0x7f;
        self.is_huffman_coded = byte & TOP_BIT != 0;
        self.left = usize::from(byte & LONG);
        self.shift = 0;
        if byte & LONG == LONG {
            self.next = Part::LongLength;
        } else {
            self.begin_string();
        }
    }

    fn add_length(&mut self, byte: u8) {
        // At a longer number h2 ends the connection. What still comes passes unchanged.
        const MAX_SHIFT: u32 = 21;
        if self.shift > MAX_SHIFT {
            return;
        }
        self.left += usize::from(byte & !TOP_BIT) << self.shift;
        self.shift += 7;
        if byte & TOP_BIT == 0 {
            self.begin_string();
        }
    }

    fn begin_string(&mut self) {
        self.next = Part::String;
        self.character = Character::default();
        if self.is_name() {
            self.is_authority = !self.is_huffman_coded && self.left == AUTHORITY.len();
        }
        if self.left == 0 {
            self.end_string();
        }
    }

    fn rewrite_string(&mut self, byte: &mut u8) {
        if self.is_authority {
            self.rewrite_authority(byte);
        }
        self.left -= 1;
        if self.left == 0 {
            self.end_string();
        }
    }

    fn rewrite_authority(&mut self, byte: &mut u8) {
        if self.is_name() {
            self.is_authority = *byte == AUTHORITY[AUTHORITY.len() - self.left];
        } else if self.is_huffman_coded {
            self.character.rewrite(byte);
        } else if matches!(byte, b'/' | b'%') {
            *byte = b'-';
        }
    }

    fn is_name(&self) -> bool {
        self.strings == 2
    }

    fn end_string(&mut self) {
        self.strings -= 1;
        self.end_part();
    }

    fn end_part(&mut self) {
        self.next = match self.strings {
            0 => Part::Field,
            _ => Part::Length,
        };
    }
}
