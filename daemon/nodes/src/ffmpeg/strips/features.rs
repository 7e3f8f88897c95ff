//! The features of a strip: where it has edges, how bright its blocks are, and how much they differ from those of the
//! strip before. Text has the strongest edges of a picture, and they stand still while what is behind it moves.

use super::StripSize;

/// Pixels across at which strips are compared; wider strips are reduced.
const WIDEST: usize = 1280;
/// Pixels of a block's side.
pub(super) const BLOCK: usize = 16;
/// Difference of brightness, of 255, across an edge that text may have.
const STRONG: u8 = 90;
/// The same below which there is none.
const WEAK: u8 = 45;

/// One bit a pixel, rows padded to whole words.
pub(super) type Bits = Vec<u64>;

/// The features of one strip.
#[derive(Debug, Default)]
pub(super) struct StripFeatures {
    /// Pixels with a strong edge, and those with none next to them.
    pub(super) strong: Bits,
    pub(super) calm: Bits,
    /// Mean brightness of each block.
    pub(super) blocks: Vec<f32>,
    /// Mean difference of each block's pixels from those before; zeros for the first strip.
    pub(super) moved: Vec<f32>,
}

/// Reads the features of strips of one size, one after the other.
#[derive(Debug)]
pub(super) struct FeatureReader {
    size: StripSize,
    /// Every how many pixels and rows one is taken.
    step: usize,
    width: usize,
    height: usize,
    before: Vec<u8>,
}

impl FeatureReader {
    pub(super) fn new(size: StripSize) -> Self {
        let step = size.width.div_ceil(WIDEST).max(1);
        Self {
            size,
            step,
            width: size.width.div_ceil(step),
            height: size.height.div_ceil(step),
            before: Vec::new(),
        }
    }

    /// Returns the pixels across after the reduction.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn read(&mut self, strip: &[u8]) -> StripFeatures {
        let gray = self.thinned(&strip[..self.size.plane()]);
        let (strong, edges) = self.edges(&gray);
        let (blocks, moved) = self.blocks(&gray);
        let calm = self.without_neighbours(&edges);
        self.before = gray;
        StripFeatures {
            strong,
            calm,
            blocks,
            moved,
        }
    }

    fn thinned(&self, plane: &[u8]) -> Vec<u8> {
        if self.step == 1 {
            return plane.to_vec();
        }
        let rows = plane.chunks_exact(self.size.width).step_by(self.step);
        rows.flat_map(|row| row.iter().step_by(self.step).copied()).collect()
    }

    fn words(&self) -> usize {
        self.width.div_ceil(64)
    }

    /// Returns the pixels with a strong edge, and those with any.
    fn edges(&self, gray: &[u8]) -> (Bits, Bits) {
        let (width, words) = (self.width, self.words());
        let mut strong = vec![0; words * self.height];
        let mut any = strong.clone();
        for y in 0..self.height {
            let row = &gray[y * width..][..width];
            let above = &gray[y.saturating_sub(1) * width..][..width];
            let below = &gray[(y + 1).min(self.height - 1) * width..][..width];
            let mut x = 1;
            while x + 1 < width {
                let across = row[x + 1].abs_diff(row[x - 1]);
                let down = below[x].abs_diff(above[x]);
                let edge = if across > down { across } else { down };
                if edge >= WEAK {
                    any[y * words + x / 64] |= 1 << (x % 64);
                    if edge >= STRONG {
                        strong[y * words + x / 64] |= 1 << (x % 64);
                    }
                }
                x += 1;
            }
        }
        (strong, any)
    }

    /// Returns the pixels that are not set and have no neighbour that is.
    fn without_neighbours(&self, bits: &Bits) -> Bits {
        let words = self.words();
        let mut spread = bits.clone();
        for row in spread.chunks_exact_mut(words) {
            let own = row.to_vec();
            for (at, word) in row.iter_mut().enumerate() {
                let from_left = if at > 0 { own[at - 1] >> 63 } else { 0 };
                let from_right = own.get(at + 1).map_or(0, |next| next << 63);
                *word |= own[at] << 1 | own[at] >> 1 | from_left | from_right;
            }
        }
        let mut calm = vec![0; bits.len()];
        for y in 0..self.height {
            let (above, below) = (y.saturating_sub(1), (y + 1).min(self.height - 1));
            for at in 0..words {
                let near = spread[above * words + at] | spread[y * words + at] | spread[below * words + at];
                calm[y * words + at] = !near;
            }
        }
        calm
    }

    /// Returns the mean brightness of each block, and its mean difference from the strip before.
    fn blocks(&self, gray: &[u8]) -> (Vec<f32>, Vec<f32>) {
        let across = self.width.div_ceil(BLOCK);
        let count = across * self.height.div_ceil(BLOCK);
        let (mut sums, mut moved, mut sizes) = (vec![0_u32; count], vec![0_u32; count], vec![0_u32; count]);
        for (y, row) in gray.chunks_exact(self.width).enumerate() {
            let before = self.before.get(y * self.width..(y + 1) * self.width);
            for (bx, part) in row.chunks(BLOCK).enumerate() {
                let block = y / BLOCK * across + bx;
                sizes[block] += part.len() as u32;
                let mut sum = 0;
                for &pixel in part {
                    sum += u32::from(pixel);
                }
                sums[block] += sum;
                if let Some(before) = before {
                    moved[block] += difference(part, &before[bx * BLOCK..][..part.len()]);
                }
            }
        }
        let mean = |sums: Vec<u32>| {
            let each = sums.into_iter().zip(&sizes);
            each.map(|(sum, size)| sum as f32 / *size as f32).collect()
        };
        (mean(sums), mean(moved))
    }
}

/// Returns the sum of the differences of pixels.
fn difference(part: &[u8], before: &[u8]) -> u32 {
    // Most parts are what they were.
    if before == part {
        return 0;
    }
    let mut difference = 0;
    for (one, other) in part.iter().zip(before) {
        difference += u32::from(one.abs_diff(*other));
    }
    difference
}
