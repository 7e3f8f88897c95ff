"""Finds the area of a video's subtitles by what was found in sample frames: the texts that lie over a row of the picture
vote for it, and rows of the lower half count more."""

import constant

LOWER_HALF = 1.5
EDGE = 0.3
# Pixels; a strip that is lower cannot hold subtitles.
LOWEST = 20
# Frames with text in the area, and different texts there, that show where subtitles are.
ENOUGH_FRAMES = 12
ENOUGH_TEXTS = 6
# Frames that are read at least, if there are as many.
LEAST_FRAMES = 20
# Frames after which it is enough, too, that the later half of them brought no other text: a short clip has few texts.
NOTHING_NEW = 40


def evenly(count):
    """All numbers below `count` in an order in which those taken first are spread over all: 0, the middle, the quarters."""
    if count < 2:
        return list(range(count))
    step = 1 << (count - 1).bit_length()
    order = [0]
    while step > 1:
        order += [at for at in range(step // 2, count, step)]
        step //= 2
    return order


def is_enough(found, size, min_text_len):
    """Whether what was read in frames leaves no doubt about the area."""
    if len(found) < LEAST_FRAMES:
        return False
    changing, _ = constant.left_out(found)
    texts = [item for items in changing for item in items]
    area = vote(texts, *size, min_text_len, 0)
    if area is None:
        return False
    _, top, _, bottom = area
    inside = [
        [text for quad, text in items if top <= sum(y for _, y in quad) / len(quad) < bottom] for items in changing
    ]
    if sum(map(bool, inside)) < ENOUGH_FRAMES:
        return False
    different = {text for texts in inside for text in texts}
    if len(different) >= ENOUGH_TEXTS:
        return True
    # Frames are read in an order that spreads them over the whole, so half of them show what all would.
    before = {text for texts in inside[: len(inside) // 2] for text in texts}
    return len(found) >= NOTHING_NEW and 1 < len(different) == len(before)


def is_one_text(found):
    """Whether each frame with text has the same one, and nearly each has it."""
    texts = [tuple(text for _, text in items) for items in found if items]
    return len(set(texts)) == 1 and len(texts) >= constant.NEARLY_ALWAYS * len(found)


def vote(texts, width, height, min_text_len=2, padding=10):
    """The strip (x1, y1, x2, y2), always of full width, x2 and y2 exclusive; None where nothing votes. `texts` holds
    a quadrilateral and a text each, in pixels of a picture of this size."""
    rows = _rows(((quad, len(text)) for quad, text in texts if len(text) >= min_text_len), height)
    by_length = any(rows)
    if not by_length:
        rows = _rows(((quad, 1) for quad, _ in texts), height)
    if not any(rows):
        return None
    for row in range(height // 2, height):
        rows[row] = int(rows[row] * LOWER_HALF)
    peak = rows.index(max(rows))
    least = EDGE * rows[peak]
    up = down = peak
    while up > 0 and rows[up] > least:
        up -= 1
    while down < height - 1 and rows[down] > least:
        down += 1
    top, bottom = max(0, up - padding), min(height, down + padding)
    if by_length and bottom - top < LOWEST:
        top, bottom = 2 * height // 3, height - 10
    return (0, top, width, bottom) if top < bottom else None


def _rows(weighted, height):
    rows = [0] * height
    for quad, weight in weighted:
        ys = [point[1] for point in quad]
        for row in range(max(0, int(min(ys))), min(height, int(max(ys)))):
            rows[row] += weight
    return rows
