"""paddleocr.detect_subtitle_area: the strip of the picture that holds the subtitles, by the text in sample frames."""

import pathlib

import onceover_node

import engines
import pictures
import subtitle_area


def detect(run):
    folder = pictures.folder(run, "keyframe_dir")
    files = pictures.listed(folder)
    if not files:
        raise onceover_node.Failure(f"there are no pictures in {folder}; run ffmpeg.extract_keyframes first")
    engine, read = engines.start(run)
    size, texts, differing = None, [], 0
    for done, file in enumerate(files):
        run.progress(100 * done / len(files), f"{done} of {len(files)} frames, {len(texts)} texts")
        picture = engines.load(file)
        if size is None:
            size = (picture.width, picture.height)
        elif size != (picture.width, picture.height):
            differing += 1
            continue
        texts += read(picture)
    if differing:
        run.log(f"{differing} frames are not {size[0]} x {size[1]} as the first one and were left out")
    if not texts:
        raise onceover_node.Failure(
            f"no text was found in {len(files)} frames; are there subtitles in the picture? "
            "More frames may help (keyframe_sample_count of ffmpeg.extract_keyframes)"
        )
    width, height = size
    area = subtitle_area.vote(texts, width, height, int(run.input["min_text_len"]), int(run.input["y_padding"]))
    if area is None:
        raise onceover_node.Failure(f"no stable area was found among {len(texts)} texts in {len(files)} frames")
    output = {
        "subtitle_area": list(area),
        "input_source": _source(run, folder),
        "engine": engine,
        "keyframes_count": len(files),
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
