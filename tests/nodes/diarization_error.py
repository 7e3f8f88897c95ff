"""The diarization error rate (DER) of NIST: seconds of speech that are missed, heard where there is none, or given to another
speaker, through the seconds of speech. Labels are matched as it is best for the result. Only the standard library."""

import itertools

# Seconds of a frame.
FRAME = 0.01


def error_rate(reference, found, collar=0.0):
    """The DER of turns (start, end, speaker). Frames nearer than the collar to an end of a true turn are left out."""
    frames = round(max(end for _, end, _ in [*reference, *found]) / FRAME) + 1
    truth, guess = spoken(reference, frames), spoken(found, frames)
    for start, end, _ in reference if collar else ():
        for moment in (start, end):
            near = range(max(round((moment - collar) / FRAME), 0), min(round((moment + collar) / FRAME), frames))
            for frame in near:
                truth[frame] = guess[frame] = None
    pairs = [pair for pair in zip(truth, guess, strict=True) if pair[0] is not None]
    total = sum(len(speakers) for speakers, _ in pairs)
    present = sum(max(len(speakers), len(heard)) for speakers, heard in pairs)
    return (present - most_matched(pairs)) / total


def spoken(turns, frames):
    """The speakers of each frame."""
    speakers = [frozenset()] * frames
    for start, end, speaker in turns:
        for frame in range(round(start / FRAME), round(end / FRAME)):
            speakers[frame] = speakers[frame] | {speaker}
    return speakers


def most_matched(pairs):
    """Frames of the right speaker, with the labels matched as it is best."""
    together = {}
    for speakers, heard in pairs:
        for both in itertools.product(speakers, heard):
            together[both] = together.get(both, 0) + 1
    names = sorted({speaker for speaker, _ in together})
    labels = sorted({label for _, label in together})
    few, many = sorted((names, labels), key=len)
    best = 0
    for order in itertools.permutations(many, len(few)):
        chosen = zip(few, order) if few is names else zip(order, few)
        best = max(best, sum(together.get(both, 0) for both in chosen))
    return best
