"""indextts.generate_speech: text to speech in the voice of a sample, with IndexTTS2. The engine espeak is in the daemon."""

import json
import os
import time
import wave

import onceover_node
import onceover_sound

SERVICE = "indextts"
RATE = 22050
OWNERS = ("IndexTeam",)
# Models the library fetches beside its own.
COMPANIONS = ("facebook/w2v-bert-2.0", "amphion/MaskGCT", "funasr/campplus", "nvidia/bigvgan_v2_22khz_80band_256x")


# Seconds of silence between clips in the file of all of them.
PAUSE = 0.2


def generate(run):
    cues = wanted(run)
    target = run.path("audio", file_name(run.input.get("output_path")))
    run.file("spk_audio_prompt")
    if "emo_audio_prompt" in run.input:
        run.file("emo_audio_prompt")
    vector = emotions(run.input.get("emotion_vector"))
    name = run.require("model_name")
    run.progress(0, "loading the library")
    key = (name, run.input.get("device", "auto"), run.input.get("use_fp16", False))
    folder = None
    if not run.keeps(key):
        [folder] = onceover_node.hub_folders(run, [name], SERVICE, OWNERS, COMPANIONS)
    torch = onceover_node.library("torch", SERVICE)
    library = onceover_node.library("indextts", SERVICE)
    device = onceover_node.device(run.input.get("device", "auto"), torch.cuda.is_available())
    run.progress(5, f"loading {name}")
    engine = run.keep(key, lambda: load(library, folder, device, run.input.get("use_fp16", False)))
    begun = time.monotonic()
    with onceover_sound.decoded(run, "spk_audio_prompt", RATE) as (voice, _):
        # The library takes a voice, a vector or a text to guide it; without any, the voice of the speaker.
        more = {"emo_vector": vector}
        if "emotion_text" in run.input or run.input.get("use_emo_text"):
            more = {"use_emo_text": True, "emo_text": run.input.get("emotion_text")}
        if "emo_audio_prompt" not in run.input:
            made = speak_all(run, engine, cues, voice, more, target)
        else:
            with onceover_sound.decoded(run, "emo_audio_prompt", RATE) as (emotion, _):
                made = speak_all(run, engine, cues, voice, {**more, "emo_audio_prompt": emotion}, target)
    return {
        "audio_path": str(target),
        "status": "success",
        **made,
        "engine": "indextts",
        "model_name": name,
        "device": device,
        "sample_rate": RATE,
        "processing_time": round(time.monotonic() - begun, 3),
    }


def file_name(given):
    """Name of the file to write: the last part of a path a client may give. It lies in the run's folder, always."""
    name = os.path.basename((given or "speech.wav").strip())
    stem, suffix = os.path.splitext(name)
    if suffix.lower() != ".wav" or not stem:
        raise onceover_node.Failure(f"input_data.output_path is '{given}'; the name of the file must end in .wav")
    return name


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
    return [cue(position, segment) for position, segment in enumerate(segments, 1)]


def cue(position, segment):
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


def speak_all(run, engine, cues, voice, more, target):
    """Speaks each cue and writes all of them into one file; the clips of cues that have times into another."""
    clips, silent, written = [], [], 0
    with Wav(target) as wav:
        for done, one in enumerate(cues):
            samples = None
            if any(sign.isalnum() for sign in one["text"]):
                samples = speak(run, engine, one["text"], voice, more, done, len(cues))
            if samples is None or samples.numel() == 0:
                silent.append(str(one.get("id", "")))
                continue
            offset = wav.seconds()
            wav.add(samples)
            duration = wav.seconds() - offset
            written += len(one["text"])
            if "start" in one:
                clips.append({**one, "audio_path": str(target), "offset": offset, "duration": duration})
                wav.silence(PAUSE)
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


def emotions(vector):
    """Eight strengths: happy, angry, sad, afraid, disgusted, melancholic, surprised, calm."""
    if vector is None:
        return None
    numbers = isinstance(vector, list) and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in vector)
    if not numbers or len(vector) != 8 or min(vector) < 0:
        raise onceover_node.Failure(
            "input_data.emotion_vector must be eight numbers from 0 up: happy, angry, sad, afraid, disgusted, "
            "melancholic, surprised, calm"
        )
    return [float(v) for v in vector]


def load(library, folder, device, half):
    place = "cuda:0" if device == "cuda" else "cpu"
    if not os.path.isfile(os.path.join(folder, "config.yaml")):
        raise onceover_node.Failure(f"the model in {folder} cannot be loaded: it has no config.yaml")
    return onceover_node.fetched(
        lambda: library.IndexTTS2(model_dir=folder, device=place, use_fp16=half and device == "cuda"), *COMPANIONS
    )


def speak(run, engine, text, voice, more, before, texts):
    """The samples of a whole text, as a row from -1 to 1; None without any. `before` of all texts were spoken before."""
    limit = run.input.get("max_text_tokens_per_segment", 120)
    count = len(engine.tokenizer.split_segments(engine.tokenizer.tokenize(text), limit))
    said = f"{before + 1} of {texts} cues, " if texts > 1 else ""
    run.progress(15 + 83 * before / texts, f"{said}speaking")
    pieces = []
    # A piece of sound and a piece of silence for each segment of the text.
    for piece in engine.infer(
        spk_audio_prompt=voice,
        text=text,
        output_path=None,
        emo_alpha=run.input.get("emotion_alpha", 1.0),
        use_random=run.input.get("use_random", False),
        verbose=run.input.get("verbose", False),
        max_text_tokens_per_segment=limit,
        stream_return=True,
        **more,
    ):
        pieces.append(piece.reshape(-1).float().cpu())
        done = (len(pieces) + 1) // 2
        share = (before + min(done / max(count, 1), 1.0)) / texts
        run.progress(15 + 83 * share, f"{said}{done} of {count} segments")
    if not pieces:
        return None
    # Silence belongs between segments, not after the last.
    pieces = pieces[:-1] if len(pieces) % 2 == 0 else pieces
    return onceover_node.library("torch", SERVICE).cat(pieces)


class Wav:
    """Writes a 16-bit mono WAV file, whole or not at all."""

    def __init__(self, target):
        self.target = target
        self.unfinished = target.with_name(f".{target.name}")
        self.frames = 0

    def __enter__(self):
        self.file = wave.open(str(self.unfinished), "wb")
        self.file.setnchannels(1)
        self.file.setsampwidth(2)
        self.file.setframerate(RATE)
        return self

    def __exit__(self, kind, *_):
        self.file.close()
        if kind is None:
            os.replace(self.unfinished, self.target)
        else:
            self.unfinished.unlink(missing_ok=True)

    def seconds(self):
        return self.frames / RATE

    def add(self, samples):
        self.file.writeframes((samples.clamp(-1, 1) * 32767).short().numpy().astype("<i2").tobytes())
        self.frames += samples.numel()

    def silence(self, seconds):
        count = int(seconds * RATE)
        self.file.writeframes(bytes(2 * count))
        self.frames += count


if __name__ == "__main__":
    onceover_node.main(generate)
