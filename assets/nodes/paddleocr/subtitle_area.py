"""Where the subtitles of a video are, by what was found in sample frames: each row of the picture is voted for by the
texts that lie over it, rows of the lower half count more."""

LOWER_HALF = 1.5
EDGE = 0.3
# Pixels; a strip that is lower cannot hold subtitles.
LOWEST = 20


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
