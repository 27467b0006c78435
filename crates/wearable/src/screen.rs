//! What the wearer sees: the payment code, binding, results and messages, on any `embedded-graphics`
//! display. Codes are always pure black on pure white with their whole quiet zone, at whole pixels a
//! module, and never under the rim of a round screen; everything else makes room for them.
//!
//! The display's colour needs `From<Rgb565>`, which every colour type of `embedded-graphics` has; on
//! `BinaryColor` white is `On`, so drivers of paper displays on which `On` is ink invert it.

mod codes;
mod glyphs;
mod layout;
mod pages;
mod pen;
mod result;
mod text;

pub use layout::{
    Align, BarPlace, Content, Countdown, DigitsPlace, Layout, Line, QrPlace, ScreenShape, StatePlace, TooSmall, View,
};
pub use pages::{Face, Mood, Page};
pub use result::{ResultFace, ResultLayout};

use embedded_graphics::pixelcolor::Rgb565;
use embedded_graphics::prelude::*;

use crate::code128::{Code128, Code128Error};
use crate::qr::{Qr, QrError};

/// Why a page was not drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrawError<E> {
    /// The display itself reported an error.
    Display(E),
    /// The screen is too small for the code in this view, or for a result.
    TooSmall,
    /// The text to encode is no payment code.
    NotACode,
}

impl<E> From<TooSmall> for DrawError<E> {
    fn from(_: TooSmall) -> Self {
        Self::TooSmall
    }
}

impl<E> From<Code128Error> for DrawError<E> {
    fn from(_: Code128Error) -> Self {
        Self::NotACode
    }
}

impl<E> From<QrError> for DrawError<E> {
    fn from(_: QrError) -> Self {
        Self::NotACode
    }
}

/// Draws pages for one display.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    shape: ScreenShape,
}

impl Screen {
    /// For a display of this shape.
    pub const fn new(shape: ScreenShape) -> Self {
        Self { shape }
    }

    /// The display's shape.
    pub const fn shape(&self) -> ScreenShape {
        self.shape
    }

    /// The view any till can read, if the screen can draw it well: both codes if the bar code gets two
    /// pixels a module, else the bar code on a page of its own is left to the wearer's wish and the QR
    /// code comes first.
    pub fn recommended_view(&self, face: &Face<'_>) -> View {
        match self.layout(View::Combined, face) {
            Ok(Layout { bar: Some(BarPlace { module: 2.., .. }), .. }) => View::Combined,
            _ => View::QrOnly,
        }
    }

    /// Where a payment code's page puts its parts; for firmware that adds something of its own.
    pub fn layout(&self, view: View, face: &Face<'_>) -> Result<Layout, DrawError<()>> {
        let (layout, _, _) = self.prepare(view, face)?;
        Ok(layout)
    }

    /// Where a result's page puts its lines; for firmware that draws the merchant's name in a font of its own.
    pub fn result_layout(&self) -> Result<ResultLayout, TooSmall> {
        ResultLayout::new(self.shape).ok_or(TooSmall)
    }

    /// Draws a whole page, background included.
    pub fn draw<D>(&self, target: &mut D, page: &Page<'_>) -> Result<(), DrawError<D::Error>>
    where
        D: DrawTarget,
        D::Color: From<Rgb565>,
    {
        let all = embedded_graphics::primitives::Rectangle::new(
            Point::zero(),
            Size::new(self.shape.width, self.shape.height),
        );
        target.fill_solid(&all, pages::WHITE.into()).map_err(DrawError::Display)?;
        match page {
            Page::Code { view, face } => {
                let (layout, bar, qr) = self.prepare(*view, face)?;
                pages::face(target, self.shape, &layout, face).map_err(DrawError::Display)?;
                // The codes come last: nothing can lie upon them.
                codes::paint(target, &layout, bar.as_ref(), qr.as_ref()).map_err(DrawError::Display)
            }
            Page::Offer { text } => {
                let qr = Qr::new(text)?;
                let content = Content { bar_modules: 0, qr_modules: qr.side_with_quiet(), digits: 0 };
                let layout = Layout::new(self.shape, View::EmvQr, content)?;
                pages::offer(target, &layout).map_err(DrawError::Display)?;
                codes::paint(target, &layout, None, Some(&qr)).map_err(DrawError::Display)
            }
            Page::Binding { percent } => pages::binding(target, self.shape, *percent).map_err(DrawError::Display),
            Page::Result { face } => result::draw(target, &self.result_layout()?, face).map_err(DrawError::Display),
            Page::Message { mood, title, text } => {
                pages::message(target, self.shape, *mood, title, text).map_err(DrawError::Display)
            }
        }
    }

    /// Draws again only what changes every second on a page that shows a payment code: some thousand
    /// pixels, none of them part of a code.
    pub fn tick<D>(&self, target: &mut D, view: View, face: &Face<'_>) -> Result<(), DrawError<D::Error>>
    where
        D: DrawTarget,
        D::Color: From<Rgb565>,
    {
        let (layout, _, _) = self.prepare(view, face)?;
        pages::countdown(target, self.shape, &layout, face).map_err(DrawError::Display)
    }

    /// Encodes what the view shows and finds the place for it.
    fn prepare<E>(&self, view: View, face: &Face<'_>) -> Result<(Layout, Option<Code128>, Option<Qr>), DrawError<E>> {
        let bar = match view {
            View::Combined | View::BarOnly => Some(Code128::new(face.digits)?),
            View::QrOnly | View::EmvQr => None,
        };
        let qr = match view {
            View::Combined | View::QrOnly => Some(Qr::new(face.digits)?),
            View::EmvQr => Some(Qr::new(face.emv)?),
            View::BarOnly => None,
        };
        let content = Content {
            bar_modules: bar.as_ref().map_or(0, Code128::width_with_quiet),
            qr_modules: qr.as_ref().map_or(0, Qr::side_with_quiet),
            digits: face.digits.len(),
        };
        Ok((Layout::new(self.shape, view, content)?, bar, qr))
    }
}
