"""Maps what was read in tall pictures back to the frames that they were stacked of."""

import statistics

# Part of the lower one's height by which the middles of two boxes of one line may lie apart.
SAME_LINE = 0.5


def parts(strips, width, least=960, most=1920):
    """Neighbouring strips that are read at once, as (top, bottom, strips) in the picture: about as high as they are wide, so
    that the library makes them smaller by little when it looks for text."""
    highest = min(max(width, least), most)
    found = []
    for strip in strips:
        bottom = strip["y_offset"] + strip["height"]
        if found and found[-1][1] == strip["y_offset"] and bottom - found[-1][0] <= highest:
            top, _, before = found[-1]
            found[-1] = (top, bottom, [*before, strip])
        else:
            found.append((strip["y_offset"], bottom, [strip]))
    return found


def by_frame(manifest, readings):
    """Per frame with text what was read in it, in the order of frames. `manifest` is what paddleocr.create_stitched_images
    writes; `readings` has, per picture, a quadrilateral, a text and a confidence each. A text belongs to the strip in which
    the middle of its height lies; one outside of all is left out. x is in pixels of the whole frame, y of the strip."""
    found = {}
    for picture, texts in readings.items():
        strips = manifest[picture]["sub_images"]
        for quad, text, confidence in texts:
            strip = _strip_at(statistics.median(point[1] for point in quad), strips)
            if strip is None or not text.strip():
                continue
            box = [[x + strip["x_offset"], y - strip["y_offset"]] for x, y in quad]
            found.setdefault(strip["frame_idx"], []).append((box, text.strip(), confidence))
    return dict(sorted(found.items()))


def joined(texts):
    """The texts of one frame in reading order, lines from top to bottom, as [text, box, confidence]."""
    lines = []
    for box, text, confidence in sorted(texts, key=lambda item: _middle(item[0])):
        line = lines[-1] if lines else None
        if line and _middle(box) - _middle(line[-1][0]) <= SAME_LINE * min(_height(box), _height(line[-1][0])):
            line.append((box, text, confidence))
        else:
            lines.append([(box, text, confidence)])
    text = "\n".join(" ".join(text for _, text, _ in sorted(line, key=lambda item: _left(item[0]))) for line in lines)
    letters = sum(len(part) for _, part, _ in texts)
    confidence = sum(confidence * len(part) for _, part, confidence in texts) / letters
    return [text, _around([box for box, _, _ in texts]), round(confidence, 4)]


def stood_for(results, manifest):
    """Results of the frames that were read, as those of all frames they stand for: `{frame: [text, box, confidence, read,
    stretch]}`. A manifest of strips that stand for themselves leaves it at the first three."""
    strips = {strip["frame_idx"]: strip for picture in manifest.values() for strip in picture["sub_images"]}
    all_frames = {}
    for frame, result in results.items():
        strip = strips[frame]
        if "first" not in strip:
            all_frames[frame] = result
            continue
        for number in range(strip["first"], strip["last"] + 1):
            all_frames[number] = [*result, frame, strip["stretch"]]
    return dict(sorted(all_frames.items()))


def count(manifest):
    """How many frames all strips stand for."""
    strips = [strip for picture in manifest.values() for strip in picture["sub_images"]]
    return sum(strip["last"] + 1 - strip["first"] if "first" in strip else 1 for strip in strips)


def _strip_at(y, strips):
    for strip in strips:
        if strip["y_offset"] <= y < strip["y_offset"] + strip["height"]:
            return strip
    return None


def _middle(box):
    return (min(y for _, y in box) + max(y for _, y in box)) / 2


def _height(box):
    return max(y for _, y in box) - min(y for _, y in box)


def _left(box):
    return min(x for x, _ in box)


def _around(boxes):
    """The one box, or the upright one around several."""
    if len(boxes) == 1:
        return boxes[0]
    points = [point for box in boxes for point in box]
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    top, bottom = min(y for _, y in points), max(y for _, y in points)
    return [[left, top], [right, top], [right, bottom], [left, bottom]]
