"""funasr.transcribe_audio: speech to text with FunASR (Paraformer and others), with its models for voice activity,
punctuation and speakers."""

import importlib.util
import json
import os
import re
import sys
import time
import wave

import onceover_node
import onceover_sound
import onceover_transcript as transcript

SERVICE = "funasr"
HUB = "https://www.modelscope.cn"
# Makers whose models a request may name; others carry code of others.
OWNERS = ("iic", "damo", "FunAudioLLM", "funasr")
# Parameters that name models, each with the one that names its revision.
MODELS = {
    "model_name": "model_revision",
    "vad_model": "vad_model_revision",
    "punc_model": "punc_model_revision",
    "spk_model": "spk_model_revision",
}


def transcribe(run):
    run.file("audio_path")
    hotwords = as_hotwords(run.input.get("hotwords"))
    name = run.require("model_name")
    words, warnings = run.input.get("enable_word_timestamps", True), []
    wanted = {part: run.input.get(part) for part in MODELS if run.input.get(part)}
    if "Fun-ASR-Nano" in name:
        if words or "spk_model" in wanted:
            warnings.append(f"{name} gives no times of words and takes no model of speakers; both are left out")
        words = False
        wanted.pop("spk_model", None)
    for given in wanted.values():
        onceover_node.model(given, OWNERS)
    trusted = onceover_node.remote_code_is_trusted()
    if run.input.get("remote_code") and not trusted:
        raise onceover_node.Failure(
            "input_data.remote_code names code to run, which only the operator can allow, with "
            "ONCEOVER_TRUST_REMOTE_CODE=1 in the daemon's environment"
        )
    # The library takes this where it is made, and ignores it where it transcribes.
    own = {"merge_length_s": run.input.get("merge_length_s", 15)}
    if trusted and run.input.get("remote_code"):
        own["remote_code"] = run.input["remote_code"]
    asked_of_it = {**wanted, **own, "device": run.input.get("device", "auto")}
    key = tuple(sorted((part, value, run.input.get(MODELS.get(part, ""))) for part, value in asked_of_it.items()))
    folders = {}
    if not run.keeps(key):
        there = onceover_node.offline_without_hub(run, HUB)
        run.progress(0, "loading the library")
        # The weights are searched before anything that takes long is loaded.
        folders = {part: folder(run, given, run.input.get(MODELS[part]), there) for part, given in wanted.items()}
    torch = onceover_node.library("torch", SERVICE)
    library = onceover_node.library("funasr", SERVICE)
    device = onceover_node.device(run.input.get("device", "auto"), torch.cuda.is_available())
    run.progress(2, f"loading {name}")
    model = run.keep(
        key,
        lambda: library.AutoModel(
            model=folders.pop("model_name"),
            **folders,
            **own,
            device="cuda:0" if device == "cuda" else "cpu",
            trust_remote_code=trusted,
            disable_update=True,
            disable_pbar=True,
        ),
    )
    with onceover_sound.decoded(run, "audio_path") as (sound, duration):
        samples = read_samples(sound)
        count_samples(model, run, len(samples))
        run.progress(5, "transcribing")
        begun = time.monotonic()
        asked = {
            key: run.input[key] for key in ("language", "beam_size", "lm_weight") if run.input.get(key) is not None
        }
        results = model.generate(
            input=samples,
            batch_size_s=run.input.get("batch_size_s", 60),
            merge_vad=run.input.get("merge_vad", True),
            use_itn=run.input.get("use_itn", True),
            hotword=" ".join(hotwords),
            # Sentences with times; of a recogniser without times of words and without a model for punctuation, the
            # pieces of speech.
            sentence_timestamp=True,
            **asked,
        )
        seconds = time.monotonic() - begun
    result = results[0] if results else {}
    return transcript.write(
        run,
        segments_of(result, duration, words),
        audio=run.input["audio_path"],
        duration=duration,
        language=language_of(run.input.get("language"), result),
        words=words,
        model=name,
        device=device,
        method="funasr",
        seconds=seconds,
        funasr={
            "vad_model": run.input.get("vad_model"),
            "punc_model": run.input.get("punc_model"),
            "spk_model": wanted.get("spk_model"),
            "hotwords": hotwords,
            "warnings": warnings,
        },
    )


def as_hotwords(value):
    """Words to listen for: a list, a JSON list, a list with commas, or one word."""
    if value is None:
        return []
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("["):
            try:
                value = json.loads(text)
            except ValueError as why:
                raise onceover_node.Failure(f"input_data.hotwords begins like a JSON list but is none: {why}") from None
        else:
            value = re.split("[,，]", text)
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise onceover_node.Failure(
            "input_data.hotwords must be words: a list of texts, or a text with commas between them"
        )
    return [word.strip() for word in value if word.strip()]


def folder(run, name, revision, there):
    """The folder of a model: below the models folder, or of ModelScope, fetched if it is not on this machine."""
    found = onceover_node.local_model(name)
    if found is not None:
        return str(found)
    names = short_names()
    full = names.get(name, name)
    if "/" not in full:
        raise onceover_node.Failure(
            f"the model '{name}' is not known; it must be a folder below {onceover_node.models_folder()}, a name of "
            f"ModelScope (owner/name) or one of {', '.join(names)}"
        )
    modelscope = onceover_node.library("modelscope.hub.snapshot_download", SERVICE)
    try:
        return modelscope.snapshot_download(full, revision=revision, local_files_only=not there)
    except Exception as why:
        command = os.path.join(os.path.dirname(sys.executable), "modelscope")
        raise onceover_node.Failure(
            f"the model '{name}' ({full}) is not on this machine and cannot be fetched ({onceover_node.in_words(why)}): "
            f"where there is a network, run: {command} download --model {full}; on another machine add --local_dir "
            f"FOLDER, bring FOLDER into {onceover_node.models_folder()} here, and send its name as the model"
        ) from why


def short_names():
    """FunASR's short names of models, each with its name at ModelScope; read without loading all of the library."""
    file = os.path.join(onceover_node.library_folder("funasr", SERVICE), "download", "name_maps_from_hub.py")
    spec = importlib.util.spec_from_file_location("name_maps_from_hub", file)
    maps = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maps)
    return maps.name_maps_ms


def read_samples(path):
    """The samples of a 16-bit mono WAV file, -1 to 1."""
    numpy = onceover_node.library("numpy", SERVICE)
    with wave.open(path, "rb") as sound:
        raw = sound.readframes(sound.getnframes())
    return numpy.frombuffer(raw, dtype="<i2").astype("float32") / 32768.0


def count_samples(model, run, total):
    """Reports how much of the sound the recogniser has processed: it gets the sound in pieces of speech."""
    infer, done = model.inference, [0]
    run.at_end(lambda: vars(model).pop("inference", None))

    def counted(pieces, *args, model=None, **more):
        answer = infer(pieces, *args, model=model, **more)
        if model is counted.recogniser and isinstance(pieces, list):
            done[0] += sum(len(piece) for piece in pieces)
            run.progress(5 + 93 * min(done[0] / total, 1.0), f"{done[0] / 16000:.0f} of {total / 16000:.0f} s")
        return answer

    counted.recogniser = model.model
    model.inference = counted


# What SenseVoice puts before each piece beside its text: `<|zh|><|NEUTRAL|><|Speech|><|withitn|>`. A model for punctuation
# that gets these puts blanks into them.
TAG = re.compile(r"<\s*\|([^|<>]*)\|\s*>")
SPOKEN = ("zh", "en", "yue", "ja", "ko")


def untagged(text):
    return TAG.sub("", text or "")


def language_of(asked, result):
    """The language that was asked for, else the one that the library names or tags the text with."""
    if asked and asked != "auto":
        return asked
    tags = (tag.strip().lower() for tag in TAG.findall(result.get("text") or ""))
    return result.get("language") or next((tag for tag in tags if tag in SPOKEN), None)


def segments_of(result, duration, with_words):
    """Segments of what the library answers (times in milliseconds): its sentences, else one segment."""
    segments = []
    for sentence in result.get("sentence_info") or []:
        text = untagged(sentence.get("text") or sentence.get("sentence"))
        more = {}
        if sentence.get("spk") is not None:
            more["speaker"] = f"SPEAKER_{int(sentence['spk']):02d}"
        words = words_of(text, sentence.get("timestamp")) if with_words else None
        if text.strip():
            start, end = sentence["start"] / 1000, sentence["end"] / 1000
            segments.append(transcript.segment(len(segments), start, end, text, words, **more))
    text = untagged(result.get("text")).strip()
    if segments or not text:
        return segments
    times = result.get("timestamp") or []
    start, end = (times[0][0] / 1000, times[-1][1] / 1000) if times else (0.0, duration)
    return [transcript.segment(0, start, end, text, words_of(text, times) if with_words else None)]


CJK = "\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff"
MARKS = r"\s,.?!;:，。？！、；：…\"'”’）)》」』"
# A character of a script without blanks, or letters up to a blank or such a character; each with the marks after it.
TOKEN = re.compile(rf"\s*(?:[{CJK}][，。？！、；：…,.?!;:”’）》」』]*|[^\s{CJK}]+)")


def words_of(text, times):
    """The words of a text, each with its times, if there are as many as times; else none."""
    tokens = [token for token in TOKEN.findall(text or "") if token.strip(MARKS)]
    if not times or len(tokens) != len(times):
        return []
    return [transcript.word(token, start / 1000, end / 1000) for token, (start, end) in zip(tokens, times)]


if __name__ == "__main__":
    onceover_node.main(transcribe)
