"""Where there is speech (Silero VAD), and whose it is: pieces of speech are embedded, and those of the same voice found by
clustering. Only numpy and ONNX Runtime."""

import dataclasses

import numpy as np
from network import RATE

# Silero: samples of a step and of what it sees before, probabilities at which speech begins and ends, and seconds: the
# shortest pause, the shortest speech, what is added at both ends.
CHUNK, BEFORE = 512, 64
BEGINS, ENDS = 0.5, 0.35
PAUSE, SHORTEST, MARGIN = 0.3, 0.2, 0.06

# Seconds of a piece that is embedded and of the step to the next; pieces at a time.
PIECE, PIECE_STEP, BATCH = 1.5, 0.5, 16

# Voices nearer than this on average (cosine) are one. A voice of less speech, in seconds and as a part of all, is taken for
# odd moments of others, unless the request asks for more voices than there are else.
SAME_VOICE, RARE, RARE_PART = 0.42, 4.0, 0.1
# Clusters beyond the natural number among which a voice that is asked for is searched.
FURTHER = 50
# Pieces that are clustered. Of longer sound these are an even selection, and the others go to the nearest voice.
MOST_PIECES = 5000

# Seconds of a step of the answer, and the shortest turn within a region of speech.
MOMENT, SHORTEST_TURN = 0.1, 0.5


@dataclasses.dataclass(frozen=True)
class Limits:
    """How many speakers there can be."""

    least: int = 1
    most: int = 100


class Detector:
    """Silero VAD, one step after another."""

    def __init__(self, session):
        self.session = session
        self.state = np.zeros((2, 1, 128), np.float32)
        self.before = np.zeros(BEFORE, np.float32)

    def speech(self, samples):
        """How likely each step of the samples is speech."""
        found = []
        for at in range(0, len(samples) - CHUNK + 1, CHUNK):
            chunk = np.concatenate([self.before, samples[at : at + CHUNK]])
            inputs = {"input": chunk[None], "state": self.state, "sr": np.array(RATE, np.int64)}
            [[likely]], self.state = self.session.run(None, inputs)
            self.before = chunk[-BEFORE:]
            found.append(float(likely[0] if np.ndim(likely) else likely))
        return found


def regions(likely, length):
    """Speech (start, end) in seconds, of the likelihood of each step and the length of the sound."""
    step, begun, silent, found = CHUNK / RATE, None, None, []
    for at, value in enumerate([*likely, *[0.0] * (int(PAUSE / step) + 2)]):
        if value >= BEGINS:
            begun, silent = at if begun is None else begun, None
        elif begun is not None and value < ENDS:
            silent = at if silent is None else silent
            if (at - silent) * step >= PAUSE:
                found.append((begun * step, silent * step))
                begun = silent = None
    found = [(start, end) for start, end in found if end - start >= SHORTEST]
    return [(max(start - MARGIN, 0.0), min(end + MARGIN, length)) for start, end in found]


def pieces_of(speech):
    """Pieces (start, end) of the regions of speech. The last of a region ends with it."""
    found = []
    for start, end in speech:
        steps = max(int(np.ceil((end - start - PIECE) / PIECE_STEP)), 0)
        found += [(start + step * PIECE_STEP, start + step * PIECE_STEP + PIECE) for step in range(steps)]
        found.append((max(start, end - PIECE), end))
    return found


def embed(sound, pieces, embedder, embedded):
    """The row of each piece; `embedded(count)` is called while it gets on. Shorter pieces are repeated to the full length."""
    rows, length = [], int(PIECE * RATE)
    for first in range(0, len(pieces), BATCH):
        embedded(first)
        batch = []
        for start, end in pieces[first : first + BATCH]:
            samples = sound.samples(round(start * RATE), min(round((end - start) * RATE), length))
            batch.append(np.resize(samples, length))
        rows.append(embedder.embed(np.stack(batch)))
    return np.concatenate(rows)


def merges_of(rows):
    """Average linkage of rows of length 1: which two clusters become one, and how near (cosine) they are. A cluster has the
    number of one of its rows, which the former of the two keeps. The chain of nearest neighbours finds all of them."""
    near = (rows @ rows.T).astype(np.float32)
    np.fill_diagonal(near, -np.inf)
    sizes, alive = np.ones(len(rows)), np.ones(len(rows), bool)
    chain, merges = [], []
    while len(merges) < len(rows) - 1:
        if not chain:
            chain.append(int(np.argmax(alive)))
        last = chain[-1]
        nearest = int(np.argmax(near[last]))
        if len(chain) > 1 and near[last, chain[-2]] >= near[last, nearest]:
            nearest = chain[-2]
            del chain[-2:]
            merges.append((near[last, nearest], min(last, nearest), max(last, nearest)))
            join(near, sizes, alive, *merges[-1][1:])
        else:
            chain.append(nearest)
    return sorted(merges, key=lambda merge: -merge[0])


def join(near, sizes, alive, kept, gone):
    both = sizes[kept] + sizes[gone]
    row = (sizes[kept] * near[kept] + sizes[gone] * near[gone]) / both
    row[~alive] = -np.inf
    row[[kept, gone]] = -np.inf
    near[kept], near[:, kept] = row, row
    near[gone], near[:, gone] = -np.inf, -np.inf
    sizes[kept], alive[gone] = both, False


def labels_of(count, merges):
    """The cluster of each of so many rows after these merges."""
    parents = list(range(count))

    def root(row):
        while parents[row] != row:
            row = parents[row]
        return row

    for _, kept, gone in merges:
        parents[root(gone)] = root(kept)
    return np.unique([root(row) for row in range(count)], return_inverse=True)[1]


def cluster(rows, limits):
    """The directions of the voices, a row for each."""
    selected = rows
    if len(rows) > MOST_PIECES:
        selected = rows[np.linspace(0, len(rows) - 1, MOST_PIECES).astype(int)]
    count, merges = len(selected), merges_of(selected)
    rare = min(RARE / PIECE_STEP, RARE_PART * len(rows)) * count / len(rows)

    def voices(clusters, least=rare):
        """Labels where so many clusters are left, and those of them that are voices."""
        labels = labels_of(count, merges[: count - clusters])
        sizes = np.bincount(labels)
        return labels, [label for label in np.argsort(-sizes, kind="stable") if sizes[label] >= least]

    clusters = natural = count - sum(near >= SAME_VOICE for near, *_ in merges)
    labels, found = voices(clusters)
    while len(found) > limits.most:
        clusters -= 1
        labels, found = voices(clusters)
    while len(found) < limits.least and clusters < min(count, natural + FURTHER):
        clusters += 1
        labels, found = voices(clusters)
    if len(found) < limits.least:
        # There is too little speech for so many, so that each counts.
        labels, found = voices(min(limits.least, count), 0)
    return centres_of(selected, labels, found)


def centres_of(rows, labels, found):
    """The mean direction of each cluster."""
    sums = np.stack([rows[labels == label].sum(axis=0) for label in found])
    return sums / np.linalg.norm(sums, axis=1, keepdims=True)


def turns_of(speech, pieces, rows, centres):
    """Turns (start, end, voice) within the regions of speech."""
    near = rows @ centres.T
    starts = np.array([start for start, _ in pieces])
    found = []
    for start, end in speech:
        first, last = np.searchsorted(starts, start - 1e-6), np.searchsorted(starts, end)
        voices = voices_of(start, end, pieces[first:last], near[first:last])
        found += runs_of(smoothed(voices), start, end)
    return found


def voices_of(start, end, pieces, near):
    """The voice of each moment of a region: that which is nearest to the pieces around it, which count the more the nearer
    their middles are."""
    scores = np.zeros((int(np.ceil((end - start) / MOMENT)), near.shape[1]))
    for (begin, until), row in zip(pieces, near, strict=True):
        first = max(int((begin - start) / MOMENT), 0)
        moments = np.arange(first, min(int(np.ceil((until - start) / MOMENT)), len(scores)))
        away = np.abs(start + (moments + 0.5) * MOMENT - (begin + until) / 2)
        scores[moments] += np.maximum(PIECE / 2 - away, 1e-6)[:, None] * row
    return np.argmax(scores, axis=1)


def smoothed(voices):
    """Without turns that are too short, which become a part of the longer neighbour."""
    least = round(SHORTEST_TURN / MOMENT)
    while True:
        edges = np.flatnonzero(np.diff(voices)) + 1
        bounds = [0, *edges, len(voices)]
        lengths = np.diff(bounds)
        shortest = int(np.argmin(lengths))
        if len(lengths) == 1 or lengths[shortest] >= least:
            return voices
        before = lengths[shortest - 1] if shortest else -1
        after = lengths[shortest + 1] if shortest + 1 < len(lengths) else -1
        begin, end = bounds[shortest], bounds[shortest + 1]
        voices[begin:end] = voices[begin - 1] if before >= after else voices[end]


def runs_of(voices, start, end):
    edges = [0, *(np.flatnonzero(np.diff(voices)) + 1), len(voices)]
    times = [start + edge * MOMENT for edge in edges[:-1]] + [end]
    return [(times[at], times[at + 1], int(voices[edges[at]])) for at in range(len(edges) - 1)]
