//! What is drawn is what a scanner reads: pictures at one screen pixel a picture pixel, read by an
//! independent decoder, and the geometry that scanners rely on.

#![allow(clippy::unwrap_used)] // A failed step of a test ends the test.

mod support;

use embedded_graphics::geometry::{AnchorPoint, AnchorX, AnchorY};
use embedded_graphics::pixelcolor::BinaryColor;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;
use proptest::prelude::*;
use rxing::BarcodeFormat;
use support::Colour;
use wearable::PaymentOutcome;
use wearable::screen::{
    Countdown, DrawError, Face, Layout, Mood, Page, ResultFace, Screen, ScreenShape, StatePlace, View,
};

const WATCH: ScreenShape = ScreenShape::round(466);
const SHAPES: [ScreenShape; 10] = [
    WATCH,
    ScreenShape::round(390),
    ScreenShape::round(360),
    ScreenShape::round(240),
    ScreenShape::rectangle(194, 368),
    ScreenShape::rectangle(172, 320),
    ScreenShape::rectangle(240, 240),
    ScreenShape::rectangle(240, 280),
    ScreenShape::rectangle(368, 448),
    ScreenShape::rectangle(410, 502),
];
const VIEWS: [View; 4] = [View::Combined, View::BarOnly, View::QrOnly, View::EmvQr];
const EMV: &str = concat!(
    "hQVDUFYwMWFNTwnwUEFZQ0hJUAFQB1BBWUNISVBjN58QHgEBAQAAAAcDqf2AAHEAASNFZ4kBI0X/////////nyYIWE/Thfoj",
    "S8yfNgIAB58QHgEBAQAAAAcDqf2AAHEAASNFZ4kBI0X/////////nyYIWE/ThfojS8yfNgIABw=="
);

/// How many pictures to read: `PAYCHIP_PICTURES=1000` for a thorough run.
fn pictures() -> usize {
    std::env::var("PAYCHIP_PICTURES").ok().and_then(|n| n.parse().ok()).unwrap_or(42)
}

/// Digits that differ from call to call and are the same in every run.
struct Digits(u64);

impl Digits {
    fn next(&mut self, length: usize) -> String {
        let mut digits = String::from("71");
        while digits.len() < length {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            digits.push(char::from(b'0' + (self.0 >> 40) as u8 % 10));
        }
        digits
    }
}

fn face(digits: &str) -> Face<'_> {
    Face { digits, emv: EMV, account: "138****0001", verified: true, seconds_left: 41, seconds_whole: 90 }
}

fn draw(shape: ScreenShape, page: &Page<'_>) -> Colour {
    let mut display = Colour::new(shape);
    Screen::new(shape).draw(&mut display, page).unwrap();
    display
}

fn read(display: &Colour, format: BarcodeFormat) -> Option<String> {
    let Size { width, height } = display.size();
    let result = rxing::helpers::detect_in_luma_slice(&display.0.pixels, width, height, Some(format));
    result.ok().map(|result| result.getText().to_owned())
}

#[test]
fn a_scanner_reads_both_codes_from_the_combined_page_of_a_round_watch() {
    let mut source = Digits(1);
    for n in 0..pictures() {
        let digits = source.next(18 + n % 7);
        let face = Face { verified: n % 2 == 0, seconds_left: n as u32 % 91, ..face(&digits) };
        let display = draw(WATCH, &Page::Code { view: View::Combined, face });
        assert_eq!(read(&display, BarcodeFormat::CODE_128).as_deref(), Some(&*digits), "bar code");
        assert_eq!(read(&display, BarcodeFormat::QR_CODE).as_deref(), Some(&*digits), "QR code");
    }
}

#[test]
fn a_scanner_reads_every_view_on_every_shape() {
    let mut source = Digits(2);
    for shape in SHAPES {
        for view in VIEWS {
            for length in [18, 20, 23, 24] {
                let digits = source.next(length);
                let display = draw(shape, &Page::Code { view, face: face(&digits) });
                if matches!(view, View::Combined | View::BarOnly) {
                    let text = read(&display, BarcodeFormat::CODE_128);
                    assert_eq!(text.as_deref(), Some(&*digits), "{shape:?} {view:?} {length}");
                }
                if matches!(view, View::Combined | View::QrOnly | View::EmvQr) {
                    let text = read(&display, BarcodeFormat::QR_CODE);
                    let expected = if view == View::EmvQr { EMV } else { &digits };
                    assert_eq!(text.as_deref(), Some(expected), "{shape:?} {view:?} {length}");
                }
            }
        }
    }
}

#[test]
fn every_pair_of_digits_is_read() {
    for tens in 0..10 {
        let digits: String = (0..12).map(|at| format!("{:02}", (tens * 10 + at * 7) % 100)).collect();
        let display = draw(WATCH, &Page::Code { view: View::BarOnly, face: face(&digits) });
        assert_eq!(read(&display, BarcodeFormat::CODE_128), Some(digits));
    }
}

#[test]
fn the_binding_offer_is_read() {
    let text = "PC1:00112233445566778899AABBCCDDEEFF:0011223344556677:719C";
    for shape in SHAPES {
        let display = draw(shape, &Page::Offer { text });
        assert_eq!(read(&display, BarcodeFormat::QR_CODE).as_deref(), Some(text), "{shape:?}");
    }
}

fn overlap(a: Rectangle, b: Rectangle) -> bool {
    !a.intersection(&b).is_zero_sized()
}

/// Everything a page places, by name.
fn parts(layout: &Layout) -> Vec<(&'static str, Rectangle)> {
    let mut parts = vec![("account", layout.account.area), ("seconds", layout.seconds.area)];
    parts.extend(layout.bar.map(|place| ("bar code", place.area)));
    parts.extend(layout.qr.map(|place| ("QR code", place.area)));
    parts.extend(layout.digits.map(|place| ("digits", place.area)));
    parts.extend(layout.seconds_word.map(|line| ("seconds' word", line.area)));
    if let StatePlace::Apart { icon, word } = layout.state {
        parts.extend([("state", icon), ("state's word", word.area)]);
    }
    if let Countdown::Bar(area) = layout.countdown {
        parts.push(("countdown", area));
    }
    parts
}

#[test]
fn nothing_overlaps_and_nothing_is_cut_off_by_edge_or_ring() {
    let mut source = Digits(3);
    for shape in SHAPES {
        for view in VIEWS {
            for length in 18..=24 {
                let digits = source.next(length);
                let layout = Screen::new(shape).layout(view, &face(&digits)).unwrap();
                // Inside a ring there is less to see than on the whole screen.
                let (inner, offset) = match layout.countdown {
                    Countdown::Ring { inner, .. } => {
                        (ScreenShape::round(2 * inner as u32), shape.width as i32 / 2 - inner)
                    }
                    Countdown::Bar(_) => (shape, 0),
                };
                let parts = parts(&layout);
                for (at, (name, area)) in parts.iter().enumerate() {
                    let seen = inner.shows(area.translate(Point::new_equal(-offset)));
                    assert!(seen, "{name} on {shape:?} {view:?} {length}: {area:?}");
                    for (other, against) in &parts[..at] {
                        assert!(!overlap(*area, *against), "{name} on {other}: {shape:?} {view:?} {length}");
                    }
                }
            }
        }
    }
}

#[test]
fn every_pixel_of_a_code_with_its_quiet_zone_lies_in_the_circle_and_is_black_or_white() {
    let mut source = Digits(4);
    for shape in SHAPES {
        for view in VIEWS {
            for length in 18..=24 {
                let digits = source.next(length);
                let layout = Screen::new(shape).layout(view, &face(&digits)).unwrap();
                let display = draw(shape, &Page::Code { view, face: face(&digits) });
                let areas = layout.bar.map(|place| place.area).into_iter().chain(layout.qr.map(|place| place.area));
                for pixel in areas.flat_map(|area| area.points()) {
                    let (dx, dy) = (2 * pixel.x + 1 - shape.width as i32, 2 * pixel.y + 1 - shape.height as i32);
                    let inside = dx * dx + dy * dy <= (shape.width * shape.width) as i32;
                    assert!(inside || !shape.round, "{pixel} is cut off on {shape:?} {view:?} {length}");
                    let brightness = display.0.at(pixel.x, pixel.y);
                    assert!(brightness == 0 || brightness == 255, "{pixel} is grey on {shape:?} {view:?}");
                }
            }
        }
    }
}

#[test]
fn quiet_zones_are_full_and_white() {
    let mut source = Digits(5);
    for shape in SHAPES {
        let digits = source.next(20);
        let layout = Screen::new(shape).layout(View::Combined, &face(&digits)).unwrap();
        let display = draw(shape, &Page::Code { view: View::Combined, face: face(&digits) });
        let (bar, qr) = (layout.bar.unwrap(), layout.qr.unwrap());
        let inner_bar = if bar.turned {
            bar.area.resized_height(bar.area.size.height - 20 * bar.module, AnchorY::Center)
        } else {
            bar.area.resized_width(bar.area.size.width - 20 * bar.module, AnchorX::Center)
        };
        let inner_qr = qr.area.resized(qr.area.size - Size::new_equal(8 * qr.module), AnchorPoint::Center);
        for (area, inner) in [(bar.area, inner_bar), (qr.area, inner_qr)] {
            for pixel in area.points().filter(|&pixel| !inner.contains(pixel)) {
                assert_eq!(display.0.at(pixel.x, pixel.y), 255, "{shape:?} {pixel}");
            }
            assert_eq!(display.0.at(inner.top_left.x, inner.top_left.y), 0, "begins with a black module");
        }
    }
}

#[test]
fn the_watch_gives_every_bar_code_two_pixels_a_module() {
    let mut source = Digits(6);
    for length in 18..=24 {
        let digits = source.next(length);
        let screen = Screen::new(WATCH);
        assert_eq!(screen.layout(View::Combined, &face(&digits)).unwrap().bar.unwrap().module, 2);
        assert_eq!(screen.recommended_view(&face(&digits)), View::Combined);
    }
    let band = Screen::new(ScreenShape::rectangle(194, 368));
    let bar = band.layout(View::Combined, &face(&source.next(20))).unwrap().bar.unwrap();
    assert!(bar.turned && bar.module == 2, "a narrow band turns the bar code");
    let square = Screen::new(ScreenShape::rectangle(240, 240));
    let digits = source.next(20);
    assert_eq!(square.layout(View::Combined, &face(&digits)).unwrap().bar.unwrap().module, 1);
    assert_eq!(square.recommended_view(&face(&digits)), View::QrOnly);
}

/// A result with the longest words it may have.
fn result(outcome: PaymentOutcome, merchant: &str) -> ResultFace<'_> {
    ResultFace {
        outcome,
        amount_minor: 1_234_567_890,
        refunded_minor: 1_234_567,
        currency: "CNY",
        decimals: 2,
        merchant,
        unix_s: 1_764_424_980,
        utc_offset_minutes: 480,
    }
}

#[test]
fn a_result_says_everything_in_lines_of_its_own_on_every_shape() {
    use PaymentOutcome::{Cancelled, Declined, Paid, Waits};
    let name = "Tea House by the Old Bridge, south gate";
    for shape in SHAPES {
        let layout = Screen::new(shape).result_layout().unwrap();
        let lines = [layout.word, layout.amount, layout.merchant, layout.note, layout.time].map(|line| line.area);
        let parts: Vec<Rectangle> = core::iter::once(layout.disc).chain(lines).collect();
        for (at, area) in parts.iter().enumerate() {
            assert!(shape.shows(*area), "{shape:?} {area:?}");
            assert!(parts[..at].iter().all(|other| !overlap(*area, *other)), "{shape:?} {area:?}");
        }
        let mut pictures = Vec::new();
        for outcome in [Paid, Declined, Waits, Cancelled] {
            let display = draw(shape, &Page::Result { face: result(outcome, name) });
            for area in &parts {
                assert!(area.points().any(|at| display.0.at(at.x, at.y) < 200), "{shape:?} {outcome:?} {area:?}");
            }
            assert!(!pictures.contains(&display.0.pixels), "{outcome:?} looks like another");
            pictures.push(display.0.pixels);
        }
        // Firmware draws the name itself into a line that is left free.
        let display = draw(shape, &Page::Result { face: result(Paid, "") });
        assert!(layout.merchant.area.points().all(|at| display.0.at(at.x, at.y) == 255), "{shape:?}");
    }
    let tiny = Screen::new(ScreenShape::rectangle(60, 60));
    assert!(tiny.result_layout().is_err());
    let page = Page::Result { face: result(Paid, name) };
    assert_eq!(tiny.draw(&mut Colour::new(tiny.shape()), &page), Err(DrawError::TooSmall));
}

#[test]
fn a_screen_too_small_is_an_error_not_a_broken_code() {
    let mut display = Colour::new(ScreenShape::rectangle(128, 64));
    let digits = Digits(7).next(24);
    let page = Page::Code { view: View::BarOnly, face: face(&digits) };
    let screen = Screen::new(ScreenShape::rectangle(128, 64));
    assert_eq!(screen.draw(&mut display, &page), Err(DrawError::TooSmall));
    let page = Page::Code { view: View::Combined, face: face("not digits") };
    assert_eq!(Screen::new(WATCH).draw(&mut Colour::new(WATCH), &page), Err(DrawError::NotACode));
}

#[test]
fn a_tick_gives_the_same_picture_as_drawing_anew() {
    let digits = Digits(8).next(20);
    for shape in SHAPES {
        for view in VIEWS {
            let mut ticking = draw(shape, &Page::Code { view, face: face(&digits) });
            for seconds_left in [40, 15, 10, 9, 5, 0] {
                let face = Face { seconds_left, ..face(&digits) };
                Screen::new(shape).tick(&mut ticking, view, &face).unwrap();
                let anew = draw(shape, &Page::Code { view, face });
                assert!(ticking.0.pixels == anew.0.pixels, "{shape:?} {view:?} at {seconds_left} s");
            }
        }
    }
}

#[test]
fn a_black_and_white_display_shows_codes_that_are_read() {
    struct Paper(Colour);
    impl OriginDimensions for Paper {
        fn size(&self) -> Size {
            self.0.size()
        }
    }
    impl DrawTarget for Paper {
        type Color = BinaryColor;
        type Error = core::convert::Infallible;
        fn draw_iter<I: IntoIterator<Item = Pixel<BinaryColor>>>(&mut self, pixels: I) -> Result<(), Self::Error> {
            self.0.draw_iter(pixels.into_iter().map(|Pixel(at, colour)| Pixel(at, colour.into())))
        }
    }
    let digits = Digits(9).next(20);
    let mut paper = Paper(Colour::new(WATCH));
    Screen::new(WATCH).draw(&mut paper, &Page::Code { view: View::Combined, face: face(&digits) }).unwrap();
    assert_eq!(read(&paper.0, BarcodeFormat::CODE_128).as_deref(), Some(&*digits));
    assert_eq!(read(&paper.0, BarcodeFormat::QR_CODE).as_deref(), Some(&*digits));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_text_is_drawn_within_any_display(
        width in 1u32..500, height in 1u32..500, round: bool,
        title in ".{0,40}", text in ".{0,200}", percent: u8, amount_minor: u64, unix_s: u64, digits in "[0-9]{18,24}",
    ) {
        let shape = ScreenShape { width, height, round };
        let mut display = Colour::new(shape);
        let screen = Screen::new(shape);
        let pages = [
            Page::Message { mood: Mood::Wait, title: &title, text: &text },
            Page::Result { face: ResultFace { amount_minor, unix_s, ..result(PaymentOutcome::Paid, &title) } },
            Page::Binding { percent },
            Page::Offer { text: "PC1:00" },
            Page::Code { view: View::Combined, face: Face { account: &title, ..face(&digits) } },
            Page::Code { view: View::EmvQr, face: face(&digits) },
        ];
        for page in &pages {
            // A page that does not fit is an error; a panic, or a pixel beside the display, is not.
            let _ = screen.draw(&mut display.clipped(&Rectangle::new(Point::zero(), display.size())), page);
        }
    }
}
