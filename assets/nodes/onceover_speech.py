"""What programs that speak have in common: which cues are to be spoken, the WAV file of all of them and the list of its
clips, as the daemon's own engine gives them. Only the standard library."""

import json
import os
import wave

import onceover_node

# Seconds of silence between clips in the file of all of them.
PAUSE = 0.2


def target(run):
    """The WAV file to write: the last part of a path that a client may give. It lies in the run's folder, always."""
    given = run.input.get("output_path")
    name = os.path.basename((given or "speech.wav").strip())
    stem, suffix = os.path.splitext(name)
    if suffix.lower() != ".wav" or not stem:
        raise onceover_node.Failure(f"input_data.output_path is '{given}'; the name of the file must end in .wav")
    return run.path("audio", name)


def wanted(run):
    """What is to be spoken: the cues of segments, or one without times for the text."""
    if run.input.get("text") is not None or not run.input.get("segments"):
        text = str(run.require("text")).strip()
        if not text:
            raise onceover_node.Failure("input_data.text is blank: there is nothing to speak")
        return [{"text": text}]
    segments = run.input["segments"]
    if isinstance(segments, str):
        path = run.file("segments")
        try:
            with open(path, encoding="utf-8-sig") as file:
                segments = json.load(file)
        except ValueError as why:
            raise onceover_node.Failure(
                f"input_data.segments is '{path}': this engine reads JSON ({why}); run prepare_tts_segments before"
            ) from None
    if isinstance(segments, dict):
        segments = segments.get("segments")
    if not isinstance(segments, list) or not segments:
        raise onceover_node.Failure("input_data.segments has no segments")
    return [_cue(position, segment) for position, segment in enumerate(segments, 1)]


def _cue(position, segment):
    def seconds(*names):
        found = next((segment[name] for name in names if segment.get(name) is not None), None)
        if isinstance(found, bool) or not isinstance(found, (int, float)):
            raise onceover_node.Failure(f"input_data.segments: number {position} has no number '{names[0]}'")
        return float(found)

    if not isinstance(segment, dict):
        raise onceover_node.Failure(f"input_data.segments: number {position} is no object")
    times = {"start": seconds("start", "startTime"), "end": seconds("end", "endTime")}
    text = " ".join(str(segment.get("text") or "").split())
    return {"id": segment.get("id", position), **times, "text": text, "speaker": segment.get("speaker")}


def speak_all(run, cues, path, rate, speak):
    """Speaks each cue into one file; lists the clips of cues that have times in another. `speak(text, before)` returns the
    sound of a text, 16-bit samples as bytes; `before` is how many cues were spoken."""
    clips, silent, written = [], [], 0
    with Wav(path, rate) as wav:
        for done, one in enumerate(cues):
            samples = speak(one["text"], done) if any(sign.isalnum() for sign in one["text"]) else b""
            if not samples:
                silent.append(str(one.get("id", "")))
                continue
            offset = wav.seconds()
            wav.add(samples)
            duration = wav.seconds() - offset
            written += len(one["text"])
            if "start" in one:
                clips.append({**one, "audio_path": str(path), "offset": offset, "duration": duration})
                wav.add(bytes(2 * int(PAUSE * rate)))
        if written == 0:
            raise onceover_node.Failure("the engine gave no sound for this text; the run log has more")
    made = {"duration": round(wav.seconds(), 3), "text_length": written}
    if clips:
        listed = run.write_json({"clips": clips}, "audio", "clips.json")
        made.update(clips_file=listed, clips_count=len(clips), cues_count=len(cues))
        if silent:
            named = ", ".join(silent[:10]) + (", ..." if len(silent) > 10 else "")
            text = f"{len(silent)} of {len(cues)} cues have no sound (no part of them can be spoken): {named}"
            run.warn("lines_left_out", text, lines=len(silent), of=len(cues))
    return made


class Wav:
    """Writes a 16-bit mono WAV file, whole or not at all."""

    def __init__(self, path, rate):
        self.path, self.rate = path, rate
        self.unfinished = path.with_name(f".{path.name}")
        self.frames = 0

    def __enter__(self):
        self.file = wave.open(str(self.unfinished), "wb")
        self.file.setnchannels(1)
        self.file.setsampwidth(2)
        self.file.setframerate(self.rate)
        return self

    def __exit__(self, kind, *_):
        self.file.close()
        if kind is None:
            os.replace(self.unfinished, self.path)
        else:
            self.unfinished.unlink(missing_ok=True)

    def seconds(self):
        return self.frames / self.rate

    def add(self, samples):
        self.file.writeframes(samples)
        self.frames += len(samples) // 2
