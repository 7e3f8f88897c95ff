//! Decodes pictures within limits, and encodes them for terminals that have a protocol for them. The last few that were
//! encoded are kept. A picture is drawn into a frame over its half blocks: `view` needs none of it.

use std::{
    collections::VecDeque,
    io::Cursor,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use image::{DynamicImage, ImageReader, Limits, RgbaImage, imageops};
use ratatui::{
    buffer::Buffer,
    layout::{Rect, Size},
    widgets::Widget,
};
use ratatui_image::{
    Image,
    protocol::{Protocol, iterm2::Iterm2, kitty::Kitty, sixel::Sixel},
};

use crate::{
    clipboard::Multiplexer, images::ImageProtocol, model::preview::PicturePreview, paint::TerminalPictures, view::text,
};

/// Pixels of a picture, and bytes that it takes while it is decoded.
const MOST_PIXELS: u64 = 16_000_000;
const MOST_MEMORY: u64 = 128 * 1024 * 1024;
/// Pixels of what is sent to the terminal, and the bytes of all that is kept.
const MOST_SENT: (u32, u32) = (1_280, 960);
const MOST_KEPT: usize = 32 * 1024 * 1024;
/// Pixels of a cell where the terminal does not say.
const USUAL_CELL: (u32, u32) = (8, 16);

/// Decodes a picture. Returns it with what half blocks show of it in so many columns and rows. The error is a sentence.
/// Blocks.
pub fn decode(bytes: &[u8], room: (u16, u16)) -> Result<(PicturePreview, DynamicImage), String> {
    let broken = |why: &dyn std::fmt::Display| format!("the picture cannot be read: {why}");
    let open = || ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let reader = open().map_err(|error| broken(&error))?;
    let Some(format) = reader.format() else {
        return Err(broken(&"it is of no known format"));
    };
    let (width, height) = reader.into_dimensions().map_err(|error| broken(&error))?;
    if u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(format!(
            "the picture is not shown: {width} x {height} are more than {MOST_PIXELS} pixels"
        ));
    }
    let mut reader = open().map_err(|error| broken(&error))?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MOST_MEMORY);
    reader.limits(limits);
    let picture = reader.decode().map_err(|error| broken(&error))?;
    let columns = u32::from(room.0.max(1)).min(width.max(1));
    let pixel_rows = (u32::from(room.1.max(1)) * 2).min(height.max(1));
    let small = picture.thumbnail(columns, pixel_rows).to_rgb8();
    let preview = PicturePreview {
        id: 0,
        width,
        height,
        format: format.extensions_str().first().copied().unwrap_or("picture").to_owned(),
        room,
        columns: small.width() as u16,
        pixels: small.pixels().map(|pixel| pixel.0).collect(),
    };
    Ok((preview, picture))
}

/// What a picture is kept by: its file, and the room that it was scaled for. Files of a run do not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PictureKey {
    pub file_path: String,
    pub size: u64,
    pub room: (u16, u16),
}

/// A picture as a terminal takes it.
struct EncodedPicture {
    protocol: Protocol,
    /// What kitty gets again once the screen was cleared: it keeps no picture then.
    pixels: Option<DynamicImage>,
    size: Size,
}

/// A picture that was read.
struct KeptPicture {
    key: PictureKey,
    /// The request that read it, or asked for it last.
    id: u64,
    preview: PicturePreview,
    /// `None` where half blocks are all.
    encoded: Option<EncodedPicture>,
    /// Bytes that it takes, about.
    bytes: usize,
}

/// The pictures that were read last. It is cheap to clone, and all clones share them.
#[derive(Clone)]
pub struct Pictures {
    protocol: ImageProtocol,
    is_tmux: bool,
    kept: Arc<Mutex<VecDeque<KeptPicture>>>,
}

impl Pictures {
    pub fn new(protocol: ImageProtocol, multiplexer: Multiplexer) -> Self {
        Self {
            protocol,
            is_tmux: multiplexer == Multiplexer::Tmux,
            kept: Arc::default(),
        }
    }

    /// Returns a picture that is kept, from now on under the id of this request.
    pub fn recall(&self, id: u64, key: &PictureKey) -> Option<PicturePreview> {
        let mut kept = self.lock();
        let at = kept.iter().position(|picture| picture.key == *key)?;
        let mut picture = kept.remove(at)?;
        picture.id = id;
        let preview = picture.preview.clone();
        kept.push_front(picture);
        Some(preview)
    }

    /// Encodes a picture if the terminal has a protocol for it, and keeps it under the id of the request that read it.
    /// Blocks.
    pub fn keep(
        &self,
        id: u64,
        key: PictureKey,
        preview: &PicturePreview,
        picture: &DynamicImage,
    ) -> Result<(), String> {
        let encoded = self.encode(id, picture, key.room)?;
        let sent = encoded.as_ref().map_or(0, |encoded| {
            let cell = measure_cell();
            usize::from(encoded.size.width) * usize::from(encoded.size.height) * (cell.0 * cell.1) as usize
        });
        let kept = KeptPicture {
            key,
            id,
            preview: preview.clone(),
            encoded,
            // Four bytes a pixel, and more than once as much for what they are encoded to.
            bytes: preview.pixels.len() * 3 + sent * 10,
        };
        let mut all = self.lock();
        all.push_front(kept);
        while all.len() > 1 && all.iter().map(|picture| picture.bytes).sum::<usize>() > MOST_KEPT {
            all.pop_back();
        }
        Ok(())
    }

    fn encode(&self, id: u64, picture: &DynamicImage, room: (u16, u16)) -> Result<Option<EncodedPicture>, String> {
        if self.protocol == ImageProtocol::HalfBlocks || room.0 == 0 || room.1 == 0 {
            return Ok(None);
        }
        let (pixels, size) = fit(picture, room, measure_cell());
        let failed = |error: ratatui_image::errors::Errors| format!("the picture cannot be sent: {error}");
        let kept = (self.protocol == ImageProtocol::Kitty).then(|| pixels.clone());
        let protocol = self.make_protocol(id, pixels, size).map_err(failed)?;
        Ok(Some(EncodedPicture {
            protocol,
            pixels: kept,
            size,
        }))
    }

    fn make_protocol(
        &self,
        id: u64,
        pixels: DynamicImage,
        size: Size,
    ) -> Result<Protocol, ratatui_image::errors::Errors> {
        match self.protocol {
            ImageProtocol::Sixel => Sixel::new(pixels, size, self.is_tmux).map(Protocol::Sixel),
            ImageProtocol::Iterm2 => Iterm2::new(pixels, size, self.is_tmux).map(Protocol::ITerm2),
            // Half blocks are drawn by `view`, and never come here.
            ImageProtocol::Kitty | ImageProtocol::HalfBlocks => {
                Kitty::new(pixels, size, kitty_id(id), self.is_tmux, false).map(Protocol::Kitty)
            }
        }
    }

    /// Nothing panics while it has the lock; if it did, the pictures are as good as before.
    fn lock(&self) -> MutexGuard<'_, VecDeque<KeptPicture>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TerminalPictures for Pictures {
    fn has(&self, id: u64) -> bool {
        self.lock()
            .iter()
            .any(|picture| picture.id == id && picture.encoded.is_some())
    }

    fn draw(&self, id: u64, area: Rect, fresh: bool, buffer: &mut Buffer) {
        let mut kept = self.lock();
        let picture = kept.iter_mut().find(|picture| picture.id == id);
        let Some(encoded) = picture.and_then(|picture| picture.encoded.as_mut()) else {
            return;
        };
        if area.width < encoded.size.width || area.height < encoded.size.height {
            return;
        }
        if let Some(pixels) = encoded.pixels.as_ref().filter(|_| fresh).cloned()
            && let Ok(protocol) = self.make_protocol(id, pixels, encoded.size)
        {
            encoded.protocol = protocol;
        }
        text::clear(buffer, area);
        Image::new(&encoded.protocol).render(area, buffer);
    }
}

/// Returns an id for kitty, which is shared by all programs of the terminal and must not be 0.
fn kitty_id(id: u64) -> u32 {
    let own = std::process::id().wrapping_mul(0x9e37_79b1);
    (own ^ id as u32).max(1)
}

/// Reads how many pixels a cell has.
fn measure_cell() -> (u32, u32) {
    let Ok(size) = crossterm::terminal::window_size() else {
        return USUAL_CELL;
    };
    let (columns, rows) = (size.columns.max(1), size.rows.max(1));
    match (size.width / columns, size.height / rows) {
        (width @ 2.., height @ 2..) => (u32::from(width), u32::from(height)),
        _ => USUAL_CELL,
    }
}

/// Scales a picture down to the room, and fills it up to whole cells. Returns it with the cells that it takes.
fn fit(picture: &DynamicImage, room: (u16, u16), cell: (u32, u32)) -> (DynamicImage, Size) {
    let most = |cells: u16, pixels: u32, most: u32| (u32::from(cells) * pixels).min(most.max(pixels));
    let width = most(room.0, cell.0, MOST_SENT.0).min(picture.width().max(1));
    let height = most(room.1, cell.1, MOST_SENT.1).min(picture.height().max(1));
    let scaled = picture.resize(width, height, imageops::FilterType::Triangle);
    let columns = scaled.width().div_ceil(cell.0).clamp(1, u32::from(room.0));
    let rows = scaled.height().div_ceil(cell.1).clamp(1, u32::from(room.1));
    let mut whole = DynamicImage::ImageRgba8(RgbaImage::new(columns * cell.0, rows * cell.1));
    imageops::overlay(&mut whole, &scaled, 0, 0);
    (whole, Size::new(columns as u16, rows as u16))
}

#[cfg(test)]
mod tests {
    use image::{ImageFormat, Rgb, RgbImage};

    use super::*;

    fn picture(width: u32, height: u32) -> DynamicImage {
        DynamicImage::ImageRgb8(RgbImage::from_pixel(width, height, Rgb([200, 10, 10])))
    }

    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture(width, height).write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn a_picture_is_scaled_to_two_pixels_a_cell() {
        let (preview, _) = decode(&png(640, 360), (40, 20)).unwrap();
        assert_eq!(
            (preview.width, preview.height, preview.format.as_str()),
            (640, 360, "png")
        );
        assert!(
            preview.columns <= 40 && preview.rows() <= 20,
            "{} x {}",
            preview.columns,
            preview.rows()
        );
        assert_eq!(preview.pixel(0, 0), Some([200, 10, 10]));
        let (preview, _) = decode(&png(3, 1), (40, 20)).unwrap();
        assert_eq!(
            (preview.columns, preview.pixels.len()),
            (3, 3),
            "small ones are not blown up"
        );
    }

    #[test]
    fn a_broken_or_hostile_picture_says_why() {
        for bytes in [&b"no picture"[..], &png(10, 10)[..40], b""] {
            assert!(decode(bytes, (10, 10)).unwrap_err().contains("cannot be read"));
        }
        let mut bomb = png(1, 1);
        // The width and the height of the header, whose checksum is then wrong: it is refused before it is decoded.
        bomb[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
        assert!(decode(&bomb, (10, 10)).is_err());
    }

    fn key(file_path: &str) -> PictureKey {
        PictureKey {
            file_path: file_path.into(),
            size: 10,
            room: (40, 20),
        }
    }

    #[test]
    fn a_picture_that_is_kept_is_drawn_over_its_area() {
        let pictures = Pictures::new(ImageProtocol::Kitty, Multiplexer::Absent);
        let (preview, _) = decode(&png(640, 360), (40, 20)).unwrap();
        pictures.keep(7, key("a"), &preview, &picture(640, 360)).unwrap();
        assert!(pictures.has(7) && !pictures.has(8));
        let mut buffer = Buffer::filled(Rect::new(0, 0, 40, 20), ratatui::buffer::Cell::new("x"));
        pictures.draw(7, Rect::new(0, 0, 40, 20), true, &mut buffer);
        assert!(
            buffer[(0, 0)].symbol().contains("\u{1b}_G"),
            "it is transmitted with the first cell"
        );
        assert!(!buffer.content().iter().any(|cell| cell.symbol() == "x"));
    }

    #[test]
    fn the_last_pictures_are_kept_within_their_bytes() {
        for protocol in [ImageProtocol::HalfBlocks, ImageProtocol::Kitty] {
            let pictures = Pictures::new(protocol, Multiplexer::Absent);
            let (preview, _) = decode(&png(640, 360), (40, 20)).unwrap();
            pictures.keep(1, key("a"), &preview, &picture(640, 360)).unwrap();
            pictures.keep(2, key("b"), &preview, &picture(640, 360)).unwrap();
            assert_eq!(pictures.recall(3, &key("a")), Some(preview.clone()));
            assert_eq!(pictures.recall(4, &key("c")), None);
            assert_eq!(
                pictures.has(3),
                protocol == ImageProtocol::Kitty,
                "view draws half blocks itself"
            );
            for id in 10..60 {
                let name = id.to_string();
                pictures.keep(id, key(&name), &preview, &picture(320, 320)).unwrap();
            }
            let bytes: usize = pictures.lock().iter().map(|picture| picture.bytes).sum();
            assert!(bytes <= MOST_KEPT, "{bytes}");
        }
    }

    #[test]
    fn what_is_sent_is_whole_cells_within_the_room() {
        for (width, height) in [(640, 360), (5, 900), (4_000, 10), (1, 1)] {
            let (pixels, size) = fit(&picture(width, height), (40, 20), (8, 16));
            assert!(size.width <= 40 && size.height <= 20, "{width} x {height}: {size}");
            assert_eq!(
                (pixels.width(), pixels.height()),
                (u32::from(size.width) * 8, u32::from(size.height) * 16)
            );
        }
    }
}
