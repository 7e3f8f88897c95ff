"""paddleocr.perform_ocr: reads the tall pictures of paddleocr.create_stitched_images and tells what each frame says."""

import json

import onceover_node

import engines
import frames
import pictures


def perform(run):
    manifest = _manifest(run)
    folder = pictures.folder(run, "multi_frames_path")
    missing = [name for name in manifest if not (folder / name).is_file()]
    if missing:
        raise onceover_node.Failure(
            f"{len(missing)} of the {len(manifest)} pictures of the manifest are not in {folder}, {missing[0]} for example"
        )
    engine, read = engines.start(run)
    readings = {}
    for done, name in enumerate(manifest):
        run.progress(100 * done / len(manifest), f"{done} of {len(manifest)} pictures")
        readings[name] = read(engines.load(folder / name))
    results = frames.map_back(manifest, readings)
    if not results:
        raise onceover_node.Failure(
            f"no text was read in {len(manifest)} pictures; look at those in {folder}: is the subtitle area right?"
        )
    output = {
        "ocr_results_path": run.write_json(results, "data", "ocr_results.json"),
        "ocr_results_count": len(results),
        "engine": engine,
    }
    if run.input.get("upload_ocr_results_to_minio") and not run.uploads:
        output["ocr_results_upload_error"] = "this daemon uploads nothing: it has no object store, or core.auto_upload is off"
    return output


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
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as why:
        raise onceover_node.Failure(
            f"{path} is not a manifest of paddleocr.create_stitched_images: {onceover_node.in_words(why)}"
        ) from why
    if not manifest:
        raise onceover_node.Failure(f"{path} lists no pictures")
    return manifest


onceover_node.main(perform)
