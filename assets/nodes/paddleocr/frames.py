"""From what was read in tall pictures back to the frames they were stacked of."""

import statistics


def map_back(manifest, readings):
    """Per frame its text and the box of it, `{frame: [text, box]}` in the order of frames. `manifest` is what
    paddleocr.create_stitched_images writes; `readings` has, per picture, what was read: a quadrilateral and a text
    each. A text belongs to the strip in which the middle of its height lies; one outside of all is left out. Several
    texts of a frame are joined, and the last one's box is kept. x is in pixels of the whole frame, y of the strip."""
    frames = {}
    for picture, texts in readings.items():
        strips = manifest[picture]["sub_images"]
        for quad, text in texts:
            strip = _strip_at(statistics.median(point[1] for point in quad), strips)
            if strip is None or not text:
                continue
            box = [[x + strip["x_offset"], y - strip["y_offset"]] for x, y in quad]
            before = frames.get(strip["frame_idx"])
            frames[strip["frame_idx"]] = [f"{before[0]} {text}" if before else text, box]
    return dict(sorted(frames.items()))


def _strip_at(y, strips):
    for strip in strips:
        if strip["y_offset"] <= y < strip["y_offset"] + strip["height"]:
            return strip
    return None
