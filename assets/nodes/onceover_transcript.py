"""Transcripts as nodes exchange them: segments with words, and the file around them. Calls no library."""

import math
import time

import onceover_node


def number(value, digits=3):
    """A finite number rounded, else None: models answer NaN, which JSON does not have."""
    if value is None:
        return None
    value = float(value)
    return round(value, digits) if math.isfinite(value) else None


def word(text, start, end, probability=None):
    """One word. Its leading blank is kept: texts are joined without a separator."""
    return {"word": text, "start": number(start), "end": number(end), "probability": number(probability, 4)}


def segment(position, start, end, text, words=None, **more):
    """One segment; times in seconds. `more` has other fields of the engine."""
    plain = {"id": position, "start": number(start), "end": number(end), "text": text, **more}
    if words is not None:
        plain["words"] = words
    return plain


ENDS = ".?!。？！…"
CLOSING = " \"'”’)）》」』"
# Seconds of silence between two words that end a segment, and of speech after which any mark does.
PAUSE, LONG = 1.5, 15.0


def sentences(words):
    """The words in groups, each a segment: a sentence, or less where a speaker pauses or speaks for long."""
    groups = [[]] if words else []
    for one, following in zip(words, [*words[1:], None]):
        groups[-1].append(one)
        if following is None:
            break
        mark = one["word"].rstrip(CLOSING)[-1:]
        ended = mark in ENDS or (not mark.isalnum() and one["end"] - groups[-1][0]["start"] > LONG)
        if ended or following["start"] - one["end"] > PAUSE:
            groups.append([])
    return groups


def statistics(segments, seconds):
    """Counts of a transcript, and the seconds it took."""
    total = sum(max(s["end"] - s["start"], 0.0) for s in segments)
    return {
        "total_segments": len(segments),
        "total_words": sum(len(s.get("words") or ()) for s in segments),
        "transcribe_duration": number(seconds),
        "average_segment_duration": number(total / len(segments)) if segments else 0.0,
    }


def write(run, segments, *, audio, duration, language, words, model, device, method, seconds, name=None, **more):
    """Writes the transcript file and gives the fields of the stage's output. `more` goes into the file's metadata.
    Without a segment the run fails: nothing could be done with the result."""
    if not segments:
        raise onceover_node.Failure(f"no speech was recognised in {audio} ({duration:.1f} s, model {model})")
    counts = statistics(segments, seconds)
    metadata = {
        "task_name": run.node,
        "workflow_id": run.task_id,
        "audio_file": audio,
        "total_duration": number(duration),
        "language": language,
        "word_timestamps_enabled": words,
        "model_name": model,
        "device": device,
        "transcribe_method": method,
        "created_at": number(time.time()),
        **more,
    }
    file = {"metadata": metadata, "segments": segments, "statistics": counts}
    path = run.write_json(file, "data", name or f"transcribe_data_{run.task_id[:8]}.json")
    return {
        "segments_file": path,
        "audio_duration": number(duration),
        "language": language,
        # Its services are called after the libraries.
        "engine": run.node.partition(".")[0],
        "model_name": model,
        "device": device,
        "enable_word_timestamps": words,
        "statistics": counts,
        "segments_count": len(segments),
    }
