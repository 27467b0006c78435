//! A display in memory for the tests of what is drawn.

use embedded_graphics::pixelcolor::{Gray8, GrayColor, Rgb565};
use embedded_graphics::prelude::*;
use wearable::screen::ScreenShape;

/// Pixels as a scanner's camera sees them.
pub(crate) struct Display {
    size: Size,
    pub(crate) pixels: Vec<u8>,
}

/// A colour display: what it shows is kept as brightness.
pub(crate) struct Colour(pub(crate) Display);

impl Display {
    pub(crate) fn new(shape: ScreenShape) -> Self {
        let size = Size::new(shape.width, shape.height);
        // Neither black nor white: what a page forgets to draw shows.
        Self { size, pixels: vec![77; (size.width * size.height) as usize] }
    }

    pub(crate) fn at(&self, x: i32, y: i32) -> u8 {
        self.pixels[(y * self.size.width as i32 + x) as usize]
    }
}

impl Colour {
    pub(crate) fn new(shape: ScreenShape) -> Self {
        Self(Display::new(shape))
    }
}

impl OriginDimensions for Colour {
    fn size(&self) -> Size {
        self.0.size
    }
}

impl DrawTarget for Colour {
    type Color = Rgb565;
    type Error = core::convert::Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb565>>>(&mut self, pixels: I) -> Result<(), Self::Error> {
        for Pixel(at, colour) in pixels {
            // A page has no business outside of the display, so this does not clip.
            assert!(self.bounding_box().contains(at), "drawn outside of the display: {at}");
            let place = at.y as usize * self.0.size.width as usize + at.x as usize;
            self.0.pixels[place] = Gray8::from(colour).luma();
        }
        Ok(())
    }
}
