//! Normalizes user names, so that all spellings of a name count as one user, and their events are joined.

use unicode_normalization::UnicodeNormalization;

use crate::invisible::is_invisible;

/// The characters of a name, the same for all spellings that differ only in case, width, blanks or invisible characters.
pub(crate) fn normalized(name: &str) -> impl Iterator<Item = char> {
    name.nfkc()
        .filter(|c| !c.is_whitespace() && !is_invisible(*c))
        .flat_map(char::to_lowercase)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Spellings of `robert.zak`.
    pub(crate) const SPELLINGS: [&str; 7] = [
        "Robert.Zak",
        " robert.zak\t",
        "\u{a0}ROBERT.ZAK",
        "ｒｏｂｅｒｔ．ｚａｋ",
        "robert.zak\u{200b}",
        "rob\u{ad}ert.zak\0",
        "robert. zak",
    ];

    #[test]
    fn spellings_of_a_user_name_are_one_name() {
        let text = |name| normalized(name).collect::<String>();
        for name in SPELLINGS {
            assert_eq!(text(name), "robert.zak", "{name:?}");
        }
        assert_eq!(text("robertzak"), "robertzak");
    }
}
