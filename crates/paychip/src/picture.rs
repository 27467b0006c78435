//! Pictures: a frame buffer the watch draws on, written and read as PNG.

use std::convert::Infallible;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::Path;

use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;

use crate::fault::Fault;

/// The largest picture read, in pixels of a side.
const MAX_SIDE: u32 = 8_192;

/// A screen in memory.
pub struct FrameBuffer {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

impl FrameBuffer {
    /// A white screen.
    pub fn new(width: u32, height: u32) -> Self {
        Self { width, height, pixels: vec![0xFF; width as usize * height as usize * 3] }
    }

    /// Writes a PNG.
    ///
    /// # Errors
    /// A fault with the path.
    pub fn write(&self, path: &Path) -> Result<(), Fault> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| Fault::file(folder, error))?;
        }
        let file = File::create(path).map_err(|error| Fault::file(path, error))?;
        let mut encoder = png::Encoder::new(BufWriter::new(file), self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().map_err(|error| Fault::file(path, error))?;
        writer.write_image_data(&self.pixels).map_err(|error| Fault::file(path, error))?;
        writer.finish().map_err(|error| Fault::file(path, error))
    }
}

impl OriginDimensions for FrameBuffer {
    fn size(&self) -> Size {
        Size::new(self.width, self.height)
    }
}

impl DrawTarget for FrameBuffer {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        for Pixel(point, colour) in pixels {
            let (Ok(x), Ok(y)) = (u32::try_from(point.x), u32::try_from(point.y)) else { continue };
            if x >= self.width || y >= self.height {
                continue;
            }
            let at = (y as usize * self.width as usize + x as usize) * 3;
            if let Some(pixel) = self.pixels.get_mut(at..at + 3) {
                pixel.copy_from_slice(&[colour.r(), colour.g(), colour.b()]);
            }
        }
        Ok(())
    }
}

/// A picture in shades of grey, as a scanner's camera sees it.
pub struct GreyPicture {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// One byte a pixel, row by row: 0 is black.
    pub luma: Vec<u8>,
}

/// Reads a PNG of any colour type.
///
/// # Errors
/// A fault with the path, for what is no PNG or has more than 8,192 pixels a side.
pub fn read_grey(path: &Path) -> Result<GreyPicture, Fault> {
    let file = File::open(path).map_err(|error| Fault::file(path, error))?;
    let mut decoder = png::Decoder::new(BufReader::new(file));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(|error| Fault::file(path, error))?;
    let (width, height) = (reader.info().width, reader.info().height);
    let too_large = || Fault::file(path, format!("a picture may have {MAX_SIDE} pixels a side"));
    if width > MAX_SIDE || height > MAX_SIDE {
        return Err(too_large());
    }
    let mut pixels = vec![0; reader.output_buffer_size().ok_or_else(too_large)?];
    let frame = reader.next_frame(&mut pixels).map_err(|error| Fault::file(path, error))?;
    let channels = frame.color_type.samples();
    let luma = pixels.chunks_exact(channels).take(width as usize * height as usize).map(|pixel| match *pixel {
        // ITU-R BT.601 weights; a transparent pixel is seen on white.
        [red, green, blue] => weigh(red, green, blue),
        [red, green, blue, alpha] => over_white(weigh(red, green, blue), alpha),
        [grey, alpha] => over_white(grey, alpha),
        [grey] => grey,
        _ => 0xFF,
    });
    Ok(GreyPicture { width, height, luma: luma.collect() })
}

fn weigh(red: u8, green: u8, blue: u8) -> u8 {
    ((u32::from(red) * 299 + u32::from(green) * 587 + u32::from(blue) * 114) / 1_000) as u8
}

fn over_white(grey: u8, alpha: u8) -> u8 {
    ((u32::from(grey) * u32::from(alpha) + 255 * (255 - u32::from(alpha))) / 255) as u8
}
