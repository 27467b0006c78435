//! What a text that people read may hold: the names of persons, shops and makers, references, reasons.
//!
//! Such a text is shown where its writer is not: on a watch, a phone, in the trail that an operator reads in a terminal. So it
//! holds nothing that shows nothing, or that changes how what stands around it is shown. What a database, a page or a
//! spreadsheet would take for more than text is text here and stays it: values are bound, never pasted, and answers are JSON.

use core::ops::RangeInclusive;

/// Characters beyond the control characters (Unicode category Cc) that show nothing themselves: they turn writing round, stand for nothing
/// with no width, break lines, or are no characters at all. From the Unicode Character Database: `Default_Ignorable_Code_Point`
/// without the variation selectors and joiners, `Bidi_Control`, categories Zl and Zp; and the interlinear annotation marks.
const HIDDEN: [RangeInclusive<u32>; 18] = [
    0x00AD..=0x00AD,
    0x034F..=0x034F,
    0x061C..=0x061C,
    0x115F..=0x1160,
    0x17B4..=0x17B5,
    0x180B..=0x180F,
    0x200B..=0x200B,
    0x200E..=0x200F,
    0x2028..=0x202E,
    0x2060..=0x206F,
    0x3164..=0x3164,
    0xFDD0..=0xFDEF,
    0xFEFF..=0xFEFF,
    0xFFA0..=0xFFA0,
    0xFFF0..=0xFFFB,
    0x1BCA0..=0x1BCA3,
    0x1D173..=0x1D17A,
    0xE0000..=0xE0FFF,
];
/// Arabic and the scripts of India and its neighbours: there a joiner changes how the letters beside it are written.
const JOINED_SCRIPTS: RangeInclusive<u32> = 0x0600..=0x109F;
/// Zero width non-joiner and joiner.
const JOINERS: RangeInclusive<u32> = 0x200C..=0x200D;

/// Whether a character shows nothing, or changes how others are shown: a control character, or one of those above. The two
/// joiners count as hidden; where they are letters' business, [`is_readable`] lets them pass.
pub fn is_hidden(character: char) -> bool {
    let number = u32::from(character);
    // The last two of each plane are no characters, for ever.
    let is_none = number & 0xFFFE == 0xFFFE;
    character.is_control() || is_none || JOINERS.contains(&number) || HIDDEN.iter().any(|range| range.contains(&number))
}

/// Whether a text holds nothing hidden. Joiners are allowed between two letters of scripts that are written with them.
pub fn is_readable(text: &str) -> bool {
    let joins = |letter: Option<char>| letter.is_some_and(|letter| JOINED_SCRIPTS.contains(&u32::from(letter)));
    let mut before = None;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let is_joiner = JOINERS.contains(&u32::from(character));
        let is_allowed =
            if is_joiner { joins(before) && joins(characters.peek().copied()) } else { !is_hidden(character) };
        if !is_allowed {
            return false;
        }
        before = Some(character);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_world_are_readable() {
        for name in
            ["Li Wei", "李伟", "Zoë O'Brien-Łuć", "محمد", "می‌خواهم", "क्‍ष", "Café 24/7 & Co. =^.^=", "☕ Tea", "บริษัท"]
        {
            assert!(is_readable(name), "{name}");
        }
    }

    #[test]
    fn what_shows_nothing_or_turns_the_rest_round_is_found_wherever_it_stands() {
        let numbers = (0x00..=0x1F).chain(0x7F..=0x9F).chain(JOINERS).chain(HIDDEN.iter().cloned().flatten());
        let mut looked_at = 0;
        for hidden in numbers.chain([0xFFFE, 0xFFFF, 0x1FFFE, 0x10FFFF]).filter_map(char::from_u32) {
            for text in [format!("{hidden}Tea"), format!("T{hidden}ea"), format!("Tea{hidden}"), hidden.to_string()] {
                assert!(!is_readable(&text), "{text:?}");
            }
            assert!(is_hidden(hidden), "{hidden:?}");
            looked_at += 1;
        }
        assert!(looked_at > 4_000, "{looked_at}");
        // Named one by one, so that no line of the table can be lost.
        for hidden in
            "\u{ad}\u{34f}\u{61c}\u{1160}\u{17b4}\u{180e}\u{200b}\u{200d}\u{200f}\u{2028}\u{2029}\u{202a}\u{202b}\
                       \u{202c}\u{202d}\u{202e}\u{2060}\u{2066}\u{2067}\u{2068}\u{2069}\u{3164}\u{fdd0}\u{feff}\u{ffa0}\
                       \u{fff9}\u{1bca0}\u{1d173}\u{e0041}\u{e0100}"
                .chars()
        {
            assert!(is_hidden(hidden), "{hidden:?}");
        }
    }

    #[test]
    fn a_joiner_stands_between_letters_that_join_and_nowhere_else() {
        assert!(is_readable("می\u{200c}خ") && is_readable("क्\u{200d}ष"));
        for text in ["L\u{200d}i", "می\u{200c}", "\u{200c}می", "م\u{200c}\u{200c}ی", "م\u{200c}i"] {
            assert!(!is_readable(text), "{text:?}");
        }
    }
}
