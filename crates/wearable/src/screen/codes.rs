//! Paints bar code and QR code: solid rectangles of whole pixels, the quiet zone first, so that not one
//! pixel of a code depends on what was on the screen before.

use embedded_graphics::pixelcolor::Rgb565;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;

use super::layout::{BarPlace, Layout, QrPlace};
use super::pages::{BLACK, WHITE};
use crate::code128::{self, Code128};
use crate::qr::{self, Qr};

/// Paints the codes the layout has a place for.
pub(crate) fn paint<D>(target: &mut D, layout: &Layout, bar: Option<&Code128>, qr: Option<&Qr>) -> Result<(), D::Error>
where
    D: DrawTarget,
    D::Color: From<Rgb565>,
{
    if let (Some(place), Some(code)) = (&layout.bar, bar) {
        paint_bar(target, place, code)?;
    }
    if let (Some(place), Some(code)) = (&layout.qr, qr) {
        paint_qr(target, place, code)?;
    }
    Ok(())
}

fn paint_bar<D>(target: &mut D, place: &BarPlace, code: &Code128) -> Result<(), D::Error>
where
    D: DrawTarget,
    D::Color: From<Rgb565>,
{
    target.fill_solid(&place.area, WHITE.into())?;
    let Rectangle { top_left, size } = place.area;
    for (start, width) in code.bars() {
        let (at, width) = ((start + code128::QUIET_MODULES) * place.module, width * place.module);
        let bar = if place.turned {
            Rectangle::new(top_left + Size::new(0, at), Size::new(size.width, width))
        } else {
            Rectangle::new(top_left + Size::new(at, 0), Size::new(width, size.height))
        };
        target.fill_solid(&bar, BLACK.into())?;
    }
    Ok(())
}

fn paint_qr<D>(target: &mut D, place: &QrPlace, code: &Qr) -> Result<(), D::Error>
where
    D: DrawTarget,
    D::Color: From<Rgb565>,
{
    target.fill_solid(&place.area, WHITE.into())?;
    for y in 0..code.side() {
        for (x, width) in code.runs(y) {
            let at = Size::new(x + qr::QUIET_MODULES, y + qr::QUIET_MODULES) * place.module;
            let run = Rectangle::new(place.area.top_left + at, Size::new(width * place.module, place.module));
            target.fill_solid(&run, BLACK.into())?;
        }
    }
    Ok(())
}
