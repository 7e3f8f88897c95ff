//! `paddleocr.create_stitched_images`: strips of frames, stacked into tall pictures so that fewer of them have to be
//! read, and a manifest that says which frame lies where.

use std::{
    io::Cursor,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use image::{ImageReader, RgbImage, codecs::jpeg::JpegEncoder};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    archive,
    frames::{self, OcrFrame},
};
use crate::{
    ffmpeg::kept_frames::{FRAMES_FILE, KeptFrame, KeptFrames},
    input::{Input, compute, create_folder, path_text, write},
};
use onceover_run::{
    Object, ProgressSink, RunContext, RunError,
    paths::{ReadLimit, Roots},
};

/// Of the stacks.
const QUALITY: u8 = 70;
/// Pixels a JPEG file can be high.
const HIGHEST: u32 = 65_535;
/// How many files that could not be read the output names.
const SHOWN: usize = 20;

pub(crate) async fn run(context: &RunContext) -> Result<Object, RunError> {
    let input = Input(context);
    let unpack = input.flag("auto_decompress")?;
    let folder = archive::folder(context, "cropped_images_path", unpack).await?;
    let area = input.numbers("subtitle_area")?.unwrap_or_default();
    let batch = usize::try_from(input.count("concat_batch_size")?).unwrap_or(usize::MAX);
    let workers = usize::try_from(input.count("stitching_workers")?).unwrap_or(usize::MAX);
    let images = create_folder(context, "images/multi_frames")?;
    let stitching = Stitching {
        roots: Arc::clone(&context.roots),
        kept: kept_frames(context, &folder),
        images: images.clone(),
        x_offset: area.first().copied().unwrap_or(0.0) as i64,
        progress: context.progress.clone(),
        cancel: context.cancel.clone(),
        folder,
    };
    let (stacks, skipped) = compute(move || stitching.make_stacks(batch, workers)).await?;
    for Skipped { name, why } in &skipped {
        context.log.line(&format!("{name} is left out: {why}"));
    }
    let manifest: Object = stacks.iter().map(Stack::entry).collect();
    let manifest_path = create_folder(context, "data")?.join("multi_frames.json");
    let text = serde_json::to_vec_pretty(&manifest).map_err(|why| RunError::failed(why.to_string()))?;
    write(&manifest_path, &text)?;
    let mut output = Object::from_iter([
        ("multi_frames_path".into(), json!(path_text(&images))),
        ("manifest_path".into(), json!(path_text(&manifest_path))),
        ("stitched_images_count".into(), json!(stacks.len())),
        (
            "frames_count".into(),
            json!(stacks.iter().map(|stack| stack.strips.len()).sum::<usize>()),
        ),
    ]);
    if !skipped.is_empty() {
        let shown: Vec<_> = skipped.iter().take(SHOWN).map(Skipped::json).collect();
        output.insert("skipped_images".into(), shown.into());
        output.insert("skipped_images_count".into(), skipped.len().into());
    }
    if input.asks_for("upload_stitched_images_to_minio")
        && let Some(why) = input.not_uploaded()
    {
        output.insert("multi_frames_upload_error".into(), why.clone());
        output.insert("manifest_upload_error".into(), why);
    }
    Ok(output)
}

/// Returns which frames the strips of a folder stand for; `None` where nothing says so, and each stands for itself.
fn kept_frames(context: &RunContext, folder: &Path) -> Option<KeptFrames> {
    let path = folder.join(FRAMES_FILE);
    let file = context.roots.open_file(&path.to_string_lossy()).ok()?;
    let frames = KeptFrames::parse(&file.read().ok()?);
    if frames.is_none() {
        context.log.line(&format!(
            "{} is not understood: each strip stands for itself",
            path.display()
        ));
    }
    frames
}

/// One tall picture.
#[derive(Debug)]
struct Stack {
    /// From 1.
    number: usize,
    height: u32,
    strips: Vec<Strip>,
}

#[derive(Debug)]
struct Strip {
    frame: u64,
    height: u32,
    y_offset: u32,
    x_offset: i64,
    /// The frames that look like it, where that is known.
    stands_for: Option<KeptFrame>,
}

impl Stack {
    fn name(number: usize) -> String {
        format!("mf_{number:08}.jpg")
    }

    /// Returns its part of the manifest.
    fn entry(&self) -> (String, Value) {
        let strips: Vec<_> = self
            .strips
            .iter()
            .map(|strip| {
                let mut entry = json!({
                    "frame_idx": strip.frame,
                    "height": strip.height,
                    "y_offset": strip.y_offset,
                    "x_offset": strip.x_offset,
                });
                if let Some(kept) = strip.stands_for {
                    entry["first"] = kept.first.into();
                    entry["last"] = kept.last.into();
                    entry["stretch"] = kept.stretch.into();
                }
                entry
            })
            .collect();
        let entry = json!({"stitched_height": self.height, "sub_images": strips});
        (Self::name(self.number), entry)
    }
}

/// A file that is no readable picture.
#[derive(Debug)]
struct Skipped {
    name: String,
    why: String,
}

impl Skipped {
    fn json(&self) -> Value {
        json!({"file": self.name, "error": self.why})
    }
}

struct Stitching {
    roots: Arc<Roots>,
    /// Which frames the strips stand for; none where each stands for itself.
    kept: Option<KeptFrames>,
    folder: PathBuf,
    images: PathBuf,
    x_offset: i64,
    progress: ProgressSink,
    cancel: CancellationToken,
}

/// What one worker made.
type Made = (Vec<Stack>, Vec<Skipped>);

impl Stitching {
    /// Returns all stacks by number, made by several workers.
    fn make_stacks(&self, batch: usize, workers: usize) -> Result<Made, RunError> {
        let frames = frames::list(&self.folder)?;
        let empty = |what: &str| RunError::failed(format!("{} holds no {what}", self.folder.display()));
        if frames.is_empty() {
            return Err(empty("pictures that are named by the number of a frame"));
        }
        let mut first = None;
        let mut unreadable = None;
        for frame in &frames {
            match self.read(frame) {
                Ok(picture) => {
                    first = Some((frame, picture.width()));
                    break;
                }
                Err(RunError::Failed(why)) => {
                    unreadable.get_or_insert(why);
                }
                Err(why) => return Err(why),
            }
        }
        let first = first.ok_or_else(|| match &unreadable {
            Some(why) => empty(&format!("picture that can be read; the first: {why}")),
            None => empty("picture that can be read"),
        })?;
        let batches: Vec<_> = frames.chunks(batch.max(1)).collect();
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let workers = workers.clamp(1, processors).min(batches.len());
        let next = AtomicUsize::new(0);
        let work = || -> Result<Made, RunError> {
            let mut made = Made::default();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(batch) = batches.get(index) else {
                    return Ok(made);
                };
                if self.cancel.is_cancelled() {
                    return Err(RunError::Interrupted);
                }
                let stack = self.stack(index + 1, batch, first, &mut made.1).inspect_err(|_| {
                    // No worker begins another one.
                    next.store(batches.len(), Ordering::Relaxed);
                })?;
                made.0.extend(stack);
                let begun = next.load(Ordering::Relaxed).min(batches.len());
                let done = begun.saturating_sub(workers - 1);
                let percent = 100.0 * done as f64 / batches.len() as f64;
                self.progress
                    .report(percent, Some(format!("{done} of {} pictures", batches.len())));
            }
        };
        let (mut stacks, mut skipped) = Made::default();
        for made in thread::scope(|scope| {
            // If the system starts no more threads, those that run do the work.
            let start = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
            let others: Vec<_> = (1..workers).filter_map(start).collect();
            let own = work();
            let made = others.into_iter().map(|worker| worker.join());
            made.chain([Ok(own)]).collect::<Vec<_>>()
        }) {
            let made = made.map_err(|_| RunError::failed("a worker that stacks pictures stopped unexpectedly"))??;
            stacks.extend(made.0);
            skipped.extend(made.1);
        }
        stacks.sort_by_key(|stack| stack.number);
        skipped.sort_by(|a, b| a.name.cmp(&b.name));
        Ok((stacks, skipped))
    }

    /// Reads a picture. That a picture cannot be read does not fail the run; a lack of the machine does.
    fn read(&self, frame: &OcrFrame) -> Result<RgbImage, RunError> {
        let file = self.roots.open_file(&self.folder.join(&frame.name).to_string_lossy())?;
        let bytes = file
            .read_at_most(ReadLimit::PICTURE)
            .map_err(|why| RunError::of_file("it cannot be read", &why))?;
        decode(bytes).map_err(RunError::Failed)
    }

    /// Writes one stack; None if no file of the batch can be read. The first frame of all says how wide all must be.
    fn stack(
        &self,
        number: usize,
        batch: &[OcrFrame],
        (first, width): (&OcrFrame, u32),
        skipped: &mut Vec<Skipped>,
    ) -> Result<Option<Stack>, RunError> {
        let mut pixels = Vec::new();
        let mut stack = Stack {
            number,
            height: 0,
            strips: Vec::with_capacity(batch.len()),
        };
        for frame in batch {
            let picture = match self.read(frame) {
                Ok(picture) => picture,
                Err(RunError::Failed(why)) => {
                    let name = frame.name.clone();
                    skipped.push(Skipped { name, why });
                    continue;
                }
                Err(why) => return Err(why),
            };
            if picture.width() != width {
                return Err(RunError::failed(format!(
                    "{} is {} pixels wide, but {} is {width}: all pictures in {} must have one width; remove those that do not belong there",
                    frame.name,
                    picture.width(),
                    first.name,
                    self.folder.display()
                )));
            }
            stack.strips.push(Strip {
                frame: frame.number,
                height: picture.height(),
                y_offset: stack.height,
                x_offset: self.x_offset,
                stands_for: self.kept.as_ref().and_then(|kept| kept.find(frame.number)),
            });
            stack.height = stack.height.saturating_add(picture.height());
            if stack.height > HIGHEST {
                return Err(RunError::failed(format!(
                    "{} pictures from {} on are higher than the {HIGHEST} pixels a JPEG file can have; give a smaller concat_batch_size",
                    batch.len(),
                    batch[0].name
                )));
            }
            pixels.extend_from_slice(&picture);
        }
        if stack.strips.is_empty() {
            return Ok(None);
        }
        let path = self.images.join(Stack::name(number));
        encode(&path, pixels, width, stack.height)?;
        Ok(Some(stack))
    }
}

fn decode(bytes: Vec<u8>) -> Result<RgbImage, String> {
    let reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|why| why.to_string())?;
    Ok(reader.decode().map_err(|why| why.to_string())?.into_rgb8())
}

/// Pictures of one width one below the other are their pixels one after the other.
fn encode(path: &Path, pixels: Vec<u8>, width: u32, height: u32) -> Result<(), RunError> {
    let cannot = |why: &str| RunError::failed(format!("cannot encode {}: {why}", path.display()));
    let picture = RgbImage::from_raw(width, height, pixels).ok_or_else(|| cannot("its pixels are not complete"))?;
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
        .encode_image(&picture)
        .map_err(|why| cannot(&why.to_string()))?;
    write(path, &jpeg)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, process::Command};

    use image::Rgb;
    use proptest::prelude::*;

    use super::*;
    use crate::fixture::Fixture;

    /// Makes a run over pictures by name, width and height; each is filled with another gray.
    fn fixture(pictures: &[(&str, u32, u32)], input: Value) -> Fixture {
        Fixture::with_input("paddleocr.create_stitched_images", |fixture| {
            let folder = fixture.path("frames");
            fs::create_dir(&folder).unwrap();
            for (at, (name, width, height)) in pictures.iter().enumerate() {
                let gray = (20 + 40 * at % 200) as u8;
                RgbImage::from_pixel(*width, *height, Rgb([gray; 3]))
                    .save(folder.join(name))
                    .unwrap();
            }
            let mut input = input;
            input["cropped_images_path"] = json!(folder);
            input
        })
    }

    fn manifest(output: &Object) -> Value {
        let path = output["manifest_path"].as_str().unwrap();
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    const WORKED: [(&str, u32, u32); 6] = [
        ("00000001.jpg", 64, 20),
        ("00000002.jpg", 64, 20),
        ("00000003.jpg", 64, 24),
        ("00000011.jpg", 64, 20),
        ("00000012.jpg", 64, 20),
        ("note_7b.png", 64, 20),
    ];

    #[tokio::test]
    async fn the_worked_example_of_six_pictures_in_stacks_of_two() {
        let input = json!({"subtitle_area": [5, 900, 69, 1000], "concat_batch_size": 2});
        let fixture = fixture(&WORKED, input);
        let output = run(&fixture.context).await.unwrap();
        let sub = |frame, height, y| json!({"frame_idx": frame, "height": height, "y_offset": y, "x_offset": 5});
        let expected = json!({
            "mf_00000001.jpg": {"stitched_height": 40, "sub_images": [sub(1, 20, 0), sub(2, 20, 20)]},
            "mf_00000002.jpg": {"stitched_height": 44, "sub_images": [sub(3, 24, 0), sub(11, 20, 24)]},
            "mf_00000003.jpg": {"stitched_height": 40, "sub_images": [sub(12, 20, 0), sub(7, 20, 20)]},
        });
        let manifest = manifest(&output);
        assert_eq!(manifest, expected);
        let names: Vec<_> = manifest.as_object().unwrap().keys().collect();
        assert_eq!(names, ["mf_00000001.jpg", "mf_00000002.jpg", "mf_00000003.jpg"]);
        assert_eq!(
            (&output["stitched_images_count"], &output["frames_count"]),
            (&json!(3), &json!(6))
        );
        let images = fixture.context.dir.join("images/multi_frames");
        assert_eq!(output["multi_frames_path"], json!(images), "in the run's own folder");
        let second = image::open(images.join("mf_00000002.jpg")).unwrap().to_luma8();
        assert_eq!(second.dimensions(), (64, 44));
        let gray = |y| second.get_pixel(32, y).0[0];
        assert!(
            gray(10).abs_diff(100) < 4 && gray(40).abs_diff(140) < 4,
            "{} {}",
            gray(10),
            gray(40)
        );
        assert!(fixture.context.node.output_is_reusable(&output));
    }

    #[tokio::test]
    async fn what_a_strip_stands_for_goes_into_the_manifest() {
        let fixture = fixture(&WORKED[..2], json!({}));
        let frames =
            json!({"frames_count": 9, "kept": [{"frame": 2, "first": 2, "last": 9, "stretch": 1, "time": 0.04}]});
        fs::write(fixture.path("frames/frames.json"), frames.to_string()).unwrap();
        let manifest = manifest(&run(&fixture.context).await.unwrap());
        let strips = &manifest["mf_00000001.jpg"]["sub_images"];
        assert!(strips[0].get("first").is_none());
        assert_eq!(
            (&strips[1]["first"], &strips[1]["last"], &strips[1]["stretch"]),
            (&json!(2), &json!(9), &json!(1))
        );
    }

    #[tokio::test]
    async fn d54_a_picture_of_another_width_is_an_error_that_names_it() {
        let pictures = [&WORKED[..], &[("00000004.png", 50, 20)]].concat();
        let fixture = fixture(&pictures, json!({}));
        let error = run(&fixture.context).await.unwrap_err().to_string();
        assert!(
            error.contains("00000004.png is 50 pixels wide, but 00000001.jpg is 64"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn d54_a_folder_without_a_usable_picture_is_an_error() {
        let nothing = fixture(&[("cover.png", 64, 20)], json!({}));
        let error = run(&nothing.context).await.unwrap_err().to_string();
        assert!(error.contains("no pictures that are named by the number"), "{error}");
        let broken = fixture(&[], json!({}));
        fs::write(broken.path("frames/00000001.jpg"), "no picture").unwrap();
        let error = run(&broken.context).await.unwrap_err().to_string();
        assert!(error.contains("no picture that can be read"), "{error}");
    }

    #[tokio::test]
    async fn unreadable_pictures_and_links_out_of_the_roots_are_left_out_and_told() {
        let fixture = fixture(&WORKED[..3], json!({}));
        fs::write(fixture.path("frames/00000004.jpg"), "no picture").unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let secret = elsewhere.path().join("00000005.png");
        RgbImage::new(64, 20).save(&secret).unwrap();
        std::os::unix::fs::symlink(&secret, fixture.path("frames/00000005.png")).unwrap();
        let output = run(&fixture.context).await.unwrap();
        assert_eq!(output["skipped_images_count"], 2);
        assert_eq!(output["skipped_images"][0]["file"], "00000004.jpg");
        assert_eq!(output["frames_count"], 3);
        assert!(fixture.log_text().contains("00000005.png is left out"));
    }

    #[tokio::test]
    async fn a_stack_higher_than_a_jpeg_can_be_names_the_parameter() {
        let pictures = [("1.png", 2, 40_000), ("2.png", 2, 40_000)];
        let error = run(&fixture(&pictures, json!({})).context).await.unwrap_err();
        assert!(error.to_string().contains("concat_batch_size"), "{error}");
        let one_by_one = fixture(&pictures, json!({"concat_batch_size": 1}));
        assert_eq!(run(&one_by_one.context).await.unwrap()["stitched_images_count"], 2);
    }

    /// Returns what the program for reading makes of boxes in stacks, by frame.
    fn mapped_back(manifest: &Value, boxes: &Value) -> BTreeMap<u64, (String, Value, f64)> {
        const PROGRAM: &str = "
import json, sys
sys.path.insert(0, sys.argv[1])
import frames
manifest, boxes = json.load(sys.stdin)
read = frames.by_frame(manifest, boxes)
print(json.dumps({frame: frames.joined(texts) for frame, texts in read.items()}))
";
        let programs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/nodes/paddleocr");
        let mut python = Command::new("python3")
            .args(["-Bc", PROGRAM, programs])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        serde_json::to_writer(python.stdin.take().unwrap(), &(manifest, boxes)).unwrap();
        let answer = python.wait_with_output().unwrap();
        assert!(answer.status.success());
        serde_json::from_slice(&answer.stdout).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(16) })]

        #[test]
        fn what_is_read_in_a_stack_comes_back_to_its_frame(
            heights in proptest::collection::vec(2..30_u32, 1..25),
            batch in 1..8_usize,
            x_offset in 0..500_i64,
        ) {
            let names: Vec<_> = (1..=heights.len()).map(|number| format!("{number:08}.png")).collect();
            let pictures: Vec<_> = names.iter().zip(&heights).map(|(name, height)| (name.as_str(), 8, *height)).collect();
            let fixture = fixture(&pictures, json!({"concat_batch_size": batch, "subtitle_area": [x_offset, 0, 600, 40]}));
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let output = runtime.block_on(run(&fixture.context)).unwrap();
            let manifest = manifest(&output);
            prop_assert_eq!(manifest.as_object().unwrap().len(), heights.len().div_ceil(batch));
            // One box over each strip, as if its frame's number had been read there.
            let mut boxes = Object::new();
            for (name, stack) in manifest.as_object().unwrap() {
                let strips = stack["sub_images"].as_array().unwrap();
                let read = strips.iter().map(|strip| {
                    let (top, height) = (strip["y_offset"].as_u64().unwrap(), strip["height"].as_u64().unwrap());
                    let bottom = top + height;
                    json!([[[1, top], [5, top], [5, bottom], [1, bottom]], format!("frame {}", strip["frame_idx"]), 0.9])
                });
                boxes.insert(name.clone(), read.collect());
            }
            let back = mapped_back(&manifest, &boxes.into());
            prop_assert_eq!(back.len(), heights.len());
            for (number, height) in (1..).zip(&heights) {
                let (text, quad, _) = &back[&number];
                prop_assert_eq!(text, &format!("frame {number}"));
                let (left, right) = (x_offset + 1, x_offset + 5);
                prop_assert_eq!(quad, &json!([[left, 0], [right, 0], [right, height], [left, height]]));
            }
        }
    }
}
