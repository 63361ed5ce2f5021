//! Recognizes invisible characters. Text with some of them inside reads like the text without, and the API may treat the
//! two alike.

use icu_properties::{CodePointSetData, props::DefaultIgnorableCodePoint};

/// Whether the character is a control character, or has Unicode's `Default_Ignorable_Code_Point` property, as those have
/// that change how their neighbours are shown. White space that is no control character does not count.
pub(crate) fn is_invisible(c: char) -> bool {
    c.is_control() || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}
