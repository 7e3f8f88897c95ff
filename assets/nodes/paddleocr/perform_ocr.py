"""paddleocr.perform_ocr: reads the tall pictures of paddleocr.create_stitched_images and lists the text of each frame."""

import json

import onceover_node

import constant
import engines
import frames
import pictures

# As many as the daemon has times for (the limit `manifest_frames`).
MOST_FRAMES = 8_000_000


def perform(run):
    manifest = _manifest(run)
    strips, count = sum(len(picture["sub_images"]) for picture in manifest.values()), frames.count(manifest)
    if count > MOST_FRAMES:
        raise onceover_node.Failure(
            f"{run.input['manifest_path']} is of {count} frames; at most {MOST_FRAMES} are read, so cut the video",
            limit="manifest_frames",
        )
    folder = pictures.folder(run, "multi_frames_path")
    missing = [name for name in manifest if not (folder / name).is_file()]
    if missing:
        raise onceover_node.Failure(
            f"{len(missing)} of the {len(manifest)} pictures of the manifest are not in {folder}, {missing[0]} for example"
        )
    engine, read = engines.start(run)
    readings, done = {}, 0
    for name, stack in manifest.items():
        picture = engines.load(folder / name)
        readings[name] = []
        for top, bottom, part in frames.parts(stack["sub_images"], picture.width):
            run.progress(100 * done / strips, f"{done} of {strips} strips")
            for quad, text, confidence in read(picture.rows(top, bottom)):
                readings[name].append([[[x, y + top] for x, y in quad], text, confidence])
            done += len(part)
    found = frames.by_frame(manifest, readings)
    rest, constants = constant.left_out(list(found.values()), beside_others=True)
    if constants:
        run.log(f"left out, as it is nearly always there: {'; '.join(constants)}")
    results = {frame: frames.joined(texts) for frame, texts in zip(found, rest, strict=True) if texts}
    if not results:
        raise onceover_node.Failure(
            f"no text was read in {len(manifest)} pictures; check those in {folder}: is the subtitle area right?"
        )
    everywhere = frames.stood_for(results, manifest)
    output = {
        "ocr_results_path": _write(run, everywhere),
        "ocr_results_count": len(everywhere),
        "engine": engine,
        "model_name": engines.model_name(run, engine),
        "statistics": {"frames": count, "read": strips, "skipped": count - strips, "with_text": len(results)},
    }
    if run.input.get("upload_ocr_results_to_minio") and not run.uploads:
        output["ocr_results_upload_error"] = "this daemon uploads nothing: it has no object store, or core.auto_upload is off"
    return output


def _write(run, results):
    """Writes a frame a line: a film has many."""
    path = run.path("data", "ocr_results.json")
    rows = (f'"{frame}": {json.dumps(result, ensure_ascii=False)}' for frame, result in results.items())
    path.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8", errors="replace")
    return str(path)


def _manifest(run):
    path = run.file("manifest_path")
    try:
        with open(path, encoding="utf-8") as file:
            manifest = json.load(file)
        for name, picture in manifest.items():
            if not name or "/" in name or name in (".", ".."):
                raise ValueError(f"'{name}' is not the name of a file")
            for strip in picture["sub_images"]:
                for field in ("frame_idx", "height", "y_offset", "x_offset"):
                    if not isinstance(strip[field], (int, float)):
                        raise ValueError(f"{field} of '{name}' is not a number")
                if "first" in strip:
                    first, last, _ = (int(strip[field]) for field in ("first", "last", "stretch"))
                    if not first <= strip["frame_idx"] <= last:
                        raise ValueError(f"first and last of '{name}' are not the frames around one")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as why:
        raise onceover_node.Failure(
            f"{path} is not a manifest of paddleocr.create_stitched_images: {onceover_node.in_words(why)}"
        ) from why
    if not manifest:
        raise onceover_node.Failure(f"{path} lists no pictures")
    return manifest


onceover_node.main(perform)
