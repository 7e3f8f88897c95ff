"""paddleocr.detect_subtitle_area: the strip of the picture that holds the subtitles, by the text in sample frames."""

import pathlib

import onceover_node

import constant
import engines
import pictures
import subtitle_area

# The confidence that a text needs to show where subtitles are; a pattern that is no text has less.
SURE = 0.8


def detect(run):
    folder = pictures.folder(run, "keyframe_dir")
    files = pictures.listed(folder)
    if not files:
        raise onceover_node.Failure(f"there are no pictures in {folder}; run ffmpeg.extract_keyframes first")
    engine, read = engines.start(run)
    min_text_len, y_padding = int(run.input["min_text_len"]), int(run.input["y_padding"])
    size, found, differing = None, [], 0
    order = subtitle_area.evenly(len(files))
    for done, at in enumerate(order):
        if subtitle_area.is_enough(found, size, min_text_len):
            break
        run.progress(100 * done / len(files), f"{done} of {len(files)} frames, {sum(map(len, found))} texts")
        picture = engines.load(files[at])
        if size is None:
            size = (picture.width, picture.height)
        elif size != (picture.width, picture.height):
            differing += 1
            continue
        found.append([[quad, text] for quad, text, confidence in read(picture) if confidence >= SURE])
    if differing:
        run.log(f"{differing} frames are not {size[0]} x {size[1]} as the first one and were left out")
    if not any(found):
        raise onceover_node.Failure(
            f"no text was found in {len(files)} frames; are there subtitles in the picture? "
            "More frames may help (keyframe_sample_count of ffmpeg.extract_keyframes)"
        )
    changing, constants = constant.left_out(found)
    if constants:
        run.log(f"left out, as it is nearly always there: {'; '.join(constants)}")
    elif len(found) >= constant.LEAST_PICTURES and subtitle_area.is_one_text(found):
        run.warn("doubtful_area", "the text of this area is the same in all frames: is it a logo?")
    texts = [item for items in changing for item in items]
    width, height = size
    area = subtitle_area.vote(texts, width, height, min_text_len, y_padding)
    if area is None:
        raise onceover_node.Failure(f"no stable area was found among {len(texts)} texts in {len(found)} frames")
    output = {
        "subtitle_area": list(area),
        "input_source": _source(run, folder),
        "engine": engine,
        "model_name": engines.model_name(run, engine),
        "keyframes_count": len(files),
        "statistics": {"frames": len(files), "read": len(found), "skipped": len(files) - len(found)},
        "texts_count": len(texts),
    }
    if output["input_source"] == "url_download":
        output["downloaded_keyframes_dir"] = str(folder)
        output["url_download_result"] = {
            "total_files": len(files),
            "downloaded_files_count": len(files),
            "downloaded_local_dir": str(folder),
        }
    return output


def _source(run, folder):
    given = pathlib.Path(run.input["keyframe_dir"])
    if run.output_dir in given.resolve().parents:
        return "url_download"
    earlier = run.stages.get("ffmpeg.extract_keyframes", {}).get("keyframe_dir")
    return "workflow_ffmpeg" if earlier == run.input["keyframe_dir"] else "parameter"


onceover_node.main(detect)
