//! Letters, digits and icons as pen strokes. A stroke can be drawn at any size with soft edges, so one
//! table of 5 KB serves a 466-pixel watch and a 128-pixel band alike, which a bitmap font cannot.
//!
//! A glyph is its width and a path in the manner of SVG (`M` move, `L` line, `Q` quadratic curve, all
//! absolute). Capital letters and digits reach from y = 0 to the baseline at y = 28; small letters begin
//! at 9; descenders end at 37. Digits all have one width, so a countdown does not dance.

/// Height of a capital letter in glyph units.
pub(crate) const CAP: i32 = 28;
/// Space between two glyphs.
pub(crate) const SPACING: i32 = 7;

/// One letter: how wide, and the pen's way.
#[derive(Clone, Copy)]
pub(crate) struct Glyph {
    /// Width in glyph units, without the space to the next.
    pub(crate) width: i32,
    /// The pen's way.
    pub(crate) path: &'static str,
}

/// The glyph of a character. What the table does not hold (an embedded device has no room for every
/// script) becomes an upright box, one for each character, so that the length of a name stays visible.
pub(crate) fn glyph(character: char) -> Glyph {
    let (width, path) = match character {
        ' '..='~' => ASCII.get(character as usize - 0x20).copied().unwrap_or(SUBSTITUTE),
        '¥' | '￥' => (17, "M0 0L8 13L17 0M8 13L8 28M2 15L15 15M2 21L15 21"),
        '€' => (17, "M17 5Q15 0 10 0Q3 0 3 14Q3 28 10 28Q15 28 17 23M0 11L13 11M0 17L13 17"),
        '£' => (15, "M14 6Q13 0 8 0Q3 0 3 7Q3 10 4 14Q5 24 0 28L15 28M0 15L11 15"),
        '·' | '•' => (2, "M1 15L1 15"),
        '…' => (18, "M1 28L1 28M9 28L9 28M17 28L17 28"),
        _ => SUBSTITUTE,
    };
    Glyph { width, path }
}

const SUBSTITUTE: (i32, &str) = (14, "M2 2L12 2Q14 2 14 4L14 24Q14 26 12 26L2 26Q0 26 0 24L0 4Q0 2 2 2");

/// A padlock, shut: the lower limit applies.
pub(crate) const LOCK: Glyph =
    Glyph { width: 24, path: "M2 13L22 13L22 28L2 28L2 13M6 13L6 7Q6 0 12 0Q18 0 18 7L18 13M12 19L12 22" };
/// A shield with a tick: the wearer's passcode session is open.
pub(crate) const SHIELD: Glyph =
    Glyph { width: 24, path: "M12 -1Q17 3 23 3L23 13Q23 24 12 29Q1 24 1 13L1 3Q7 3 12 -1M7 13L11 18L17 9" };
/// A tick, for a disc.
pub(crate) const TICK: Glyph = Glyph { width: 28, path: "M3 15L11 23L25 6" };
/// An exclamation mark, for a disc.
pub(crate) const WARNING: Glyph = Glyph { width: 28, path: "M14 2L14 17M14 26L14 26" };
/// An hour-glass, for a disc.
pub(crate) const WAIT: Glyph = Glyph {
    width: 28,
    path: "M6 1L22 1M6 27L22 27M8 1L8 5Q8 9 14 14Q20 19 20 23L20 27M20 1L20 5Q20 9 14 14Q8 19 8 23L8 27",
};

#[rustfmt::skip]
const ASCII: [(i32, &str); 95] = [
    (7, ""),                                                                        // space
    (2, "M1 0L1 18M1 28L1 28"),                                                     // !
    (8, "M1 0L1 7M7 0L7 7"),                                                        // "
    (18, "M7 2L4 26M14 2L11 26M1 9L18 9M0 19L17 19"),                               // #
    (16, "M15 6Q13 1 8 1Q1 1 1 7Q1 13 8 14Q16 15 16 21Q16 27 8 27Q1 27 0 22M8 -3L8 31"), // $
    (22, "M20 0L2 28M4 1Q8 1 8 6Q8 11 4 11Q0 11 0 6Q0 1 4 1M18 17Q22 17 22 22Q22 27 18 27Q14 27 14 22Q14 17 18 17"), // %
    (20, "M20 28L6 10Q2 0 9 0Q15 0 14 6Q13 10 6 13Q0 16 0 21Q0 28 8 28Q16 28 18 16"), // &
    (2, "M1 0L1 7"),                                                                // '
    (6, "M6 -3Q0 3 0 14Q0 25 6 31"),                                                // (
    (6, "M0 -3Q6 3 6 14Q6 25 0 31"),                                                // )
    (14, "M7 8L7 20M2 11L12 17M12 11L2 17"),                                        // *
    (16, "M8 7L8 23M0 15L16 15"),                                                   // +
    (3, "M2 27L0 33"),                                                              // ,
    (9, "M0 16L9 16"),                                                              // -
    (2, "M1 28L1 28"),                                                              // .
    (11, "M11 -2L0 30"),                                                            // /
    (16, "M8 0Q16 0 16 9L16 19Q16 28 8 28Q0 28 0 19L0 9Q0 0 8 0"),                  // 0
    (16, "M3 6L10 0L10 28"),                                                        // 1
    (16, "M0 8Q0 0 8 0Q16 0 16 8Q16 12 12 16L0 28L16 28"),                          // 2
    (16, "M1 5Q3 0 8 0Q15 0 15 7Q15 13 8 13M6 13L8 13Q16 13 16 20Q16 28 8 28Q2 28 0 22"), // 3
    (16, "M12 28L12 0L0 20L16 20"),                                                 // 4
    (16, "M15 0L3 0L2 13Q4 10 8 10Q16 10 16 19Q16 28 8 28Q2 28 0 23"),              // 5
    (16, "M14 4Q12 0 8 0Q0 0 0 13L0 19Q0 28 8 28Q16 28 16 20Q16 11 8 11Q1 11 0 19"), // 6
    (16, "M0 0L16 0L6 28"),                                                         // 7
    (16, "M8 13Q1 13 1 6Q1 0 8 0Q15 0 15 6Q15 13 8 13Q16 13 16 20Q16 28 8 28Q0 28 0 20Q0 13 8 13"), // 8
    (16, "M2 24Q4 28 8 28Q16 28 16 15L16 9Q16 0 8 0Q0 0 0 8Q0 17 8 17Q15 17 16 9"), // 9
    (2, "M1 11L1 11M1 27L1 27"),                                                    // :
    (3, "M2 11L2 11M2 27L0 33"),                                                    // ;
    (14, "M14 6L0 15L14 24"),                                                       // <
    (16, "M0 10L16 10M0 19L16 19"),                                                 // =
    (14, "M0 6L14 15L0 24"),                                                        // >
    (14, "M0 6Q1 0 7 0Q14 0 14 7Q14 11 10 14Q7 16 7 19M7 28L7 28"),                 // ?
    (26, "M18 8L18 16Q18 21 22 21Q26 21 26 14Q26 0 13 0Q0 0 0 14Q0 28 13 28Q18 28 21 26M18 14Q18 7 13 7Q8 7 8 14Q8 21 13 21Q18 21 18 14"), // @
    (20, "M0 28L10 0L20 28M4 19L16 19"),                                            // A
    (17, "M0 0L0 28L9 28Q17 28 17 20Q17 13 9 13L0 13M0 0L8 0Q15 0 15 6Q15 13 8 13"), // B
    (18, "M18 6Q16 0 10 0Q0 0 0 14Q0 28 10 28Q16 28 18 22"),                        // C
    (18, "M0 0L0 28L7 28Q18 28 18 14Q18 0 7 0L0 0"),                                // D
    (14, "M14 0L0 0L0 28L14 28M0 13L12 13"),                                        // E
    (13, "M13 0L0 0L0 28M0 13L11 13"),                                              // F
    (19, "M18 6Q16 0 10 0Q0 0 0 14Q0 28 10 28Q19 28 19 16L11 16"),                  // G
    (18, "M0 0L0 28M18 0L18 28M0 13L18 13"),                                        // H
    (2, "M1 0L1 28"),                                                               // I
    (12, "M12 0L12 20Q12 28 6 28Q0 28 0 22"),                                       // J
    (17, "M0 0L0 28M16 0L0 17M6 11L17 28"),                                         // K
    (13, "M0 0L0 28L13 28"),                                                        // L
    (22, "M0 28L0 0L11 20L22 0L22 28"),                                             // M
    (18, "M0 28L0 0L18 28L18 0"),                                                   // N
    (20, "M10 0Q20 0 20 14Q20 28 10 28Q0 28 0 14Q0 0 10 0"),                        // O
    (16, "M0 28L0 0L8 0Q16 0 16 8Q16 16 8 16L0 16"),                                // P
    (20, "M10 0Q20 0 20 14Q20 28 10 28Q0 28 0 14Q0 0 10 0M13 21L20 30"),            // Q
    (17, "M0 28L0 0L8 0Q16 0 16 7Q16 15 8 15L0 15M8 15L17 28"),                     // R
    (16, "M15 5Q13 0 8 0Q1 0 1 7Q1 13 8 14Q16 15 16 21Q16 28 8 28Q1 28 0 22"),      // S
    (18, "M0 0L18 0M9 0L9 28"),                                                     // T
    (18, "M0 0L0 18Q0 28 9 28Q18 28 18 18L18 0"),                                   // U
    (18, "M0 0L9 28L18 0"),                                                         // V
    (26, "M0 0L6 28L13 4L20 28L26 0"),                                              // W
    (17, "M0 0L17 28M17 0L0 28"),                                                   // X
    (18, "M0 0L9 14L18 0M9 14L9 28"),                                               // Y
    (17, "M0 0L17 0L0 28L17 28"),                                                   // Z
    (6, "M6 -3L0 -3L0 31L6 31"),                                                    // [
    (11, "M0 -2L11 30"),                                                            // \
    (6, "M0 -3L6 -3L6 31L0 31"),                                                    // ]
    (12, "M0 10L6 0L12 10"),                                                        // ^
    (14, "M0 32L14 32"),                                                            // _
    (5, "M0 0L5 6"),                                                                // `
    (14, "M14 10L14 28M14 19Q14 9 7 9Q0 9 0 18Q0 28 7 28Q14 28 14 18"),             // a
    (14, "M0 0L0 28M0 19Q0 9 7 9Q14 9 14 18Q14 28 7 28Q0 28 0 18"),                 // b
    (13, "M13 13Q11 9 7 9Q0 9 0 18Q0 28 7 28Q11 28 13 24"),                         // c
    (14, "M14 0L14 28M14 19Q14 9 7 9Q0 9 0 18Q0 28 7 28Q14 28 14 18"),              // d
    (14, "M0 18L14 18Q14 9 7 9Q0 9 0 18Q0 28 8 28Q12 28 14 24"),                    // e
    (10, "M10 0Q4 -1 4 6L4 28M0 10L9 10"),                                          // f
    (14, "M14 10L14 29Q14 37 7 37Q2 37 1 33M14 19Q14 9 7 9Q0 9 0 18Q0 28 7 28Q14 28 14 18"), // g
    (13, "M0 0L0 28M0 18Q0 9 7 9Q13 9 13 17L13 28"),                                // h
    (2, "M1 10L1 28M1 2L1 2"),                                                      // i
    (6, "M5 10L5 31Q5 37 0 36M5 2L5 2"),                                            // j
    (13, "M0 0L0 28M12 10L0 21M5 17L13 28"),                                        // k
    (2, "M1 0L1 28"),                                                               // l
    (22, "M0 10L0 28M0 17Q0 9 6 9Q11 9 11 17L11 28M11 17Q11 9 17 9Q22 9 22 17L22 28"), // m
    (13, "M0 10L0 28M0 18Q0 9 7 9Q13 9 13 17L13 28"),                               // n
    (16, "M8 9Q16 9 16 18Q16 28 8 28Q0 28 0 18Q0 9 8 9"),                           // o
    (14, "M0 10L0 37M0 19Q0 9 7 9Q14 9 14 18Q14 28 7 28Q0 28 0 18"),                // p
    (14, "M14 10L14 37M14 19Q14 9 7 9Q0 9 0 18Q0 28 7 28Q14 28 14 18"),             // q
    (8, "M0 10L0 28M0 18Q0 9 8 9"),                                                 // r
    (12, "M11 12Q10 9 6 9Q0 9 0 14Q0 18 6 18Q12 19 12 23Q12 28 6 28Q1 28 0 25"),    // s
    (9, "M4 3L4 22Q4 29 9 27M0 10L9 10"),                                           // t
    (13, "M0 10L0 20Q0 28 6 28Q13 28 13 19M13 10L13 28"),                           // u
    (14, "M0 10L7 28L14 10"),                                                       // v
    (20, "M0 10L5 28L10 12L15 28L20 10"),                                           // w
    (14, "M0 10L14 28M14 10L0 28"),                                                 // x
    (14, "M0 10L7 27M14 10L6 33Q4 37 0 36"),                                        // y
    (13, "M0 10L13 10L0 28L13 28"),                                                 // z
    (8, "M8 -3Q4 -3 4 3L4 9Q4 14 0 14Q4 14 4 19L4 25Q4 31 8 31"),                   // {
    (2, "M1 -3L1 31"),                                                              // |
    (8, "M0 -3Q4 -3 4 3L4 9Q4 14 8 14Q4 14 4 19L4 25Q4 31 0 31"),                   // }
    (16, "M0 17Q4 11 8 15Q12 19 16 13"),                                            // ~
];
