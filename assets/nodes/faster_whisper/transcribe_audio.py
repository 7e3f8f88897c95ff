"""faster_whisper.transcribe_audio: speech to text with Faster-Whisper (CTranslate2)."""

import dataclasses
import os
import time

import onceover_node
import onceover_sound
import onceover_transcript as transcript

SERVICE = "faster_whisper"

# What a folder must hold; without its tokenizer the library would ask the hub for another one.
FILES = ("model.bin", "config.json", "tokenizer.json")
# Pieces of speech that a GPU transcribes at a time, if the request says no other number.
BATCH = 8


def transcribe(run):
    run.file("audio_path")
    words = run.input.get("enable_word_timestamps", True)
    language = language_code(run.input.get("language"))
    temperature = temperatures(run.input.get("temperature", 0.0))
    name = run.require("model_name")
    compute_type = run.input.get("compute_type", "auto")
    key = (name, run.input.get("device", "auto"), compute_type)
    model_path = onceover_node.model(name)
    if model_path == name and not run.keeps(key):
        onceover_node.offline_without_hub(run)
    run.progress(0, "loading the library")
    ctranslate2 = onceover_node.library("ctranslate2", SERVICE)
    library = onceover_node.library("faster_whisper", SERVICE)
    vad = vad_settings(library, run.input.get("vad_parameters"))
    device = onceover_node.device(run.input.get("device", "auto"), ctranslate2.get_cuda_device_count() > 0)
    if compute_type == "auto":
        compute_type = "float16" if device == "cuda" else "int8"
    can = ctranslate2.get_supported_compute_types(device)
    if compute_type != "default" and compute_type not in can:
        raise onceover_node.Failure(
            f"input_data.compute_type is '{compute_type}', which device '{device}' cannot do here; it can do {', '.join(sorted(can))}"
        )
    with onceover_sound.decoded(run, "audio_path") as (sound, duration):
        run.progress(2, f"loading {name}")
        model = run.keep(key, lambda: load(library, name, model_path, device, compute_type))
        if language is not None and language not in model.supported_languages:
            known = ", ".join(model.supported_languages)
            raise onceover_node.Failure(f"input_data.language is '{language}'; {name} knows {known}")
        run.progress(5, "transcribing")
        begun = time.monotonic()
        asked = {
            "language": language,
            "beam_size": run.input.get("beam_size", 3),
            "best_of": run.input.get("best_of", 3),
            "temperature": temperature,
            "word_timestamps": words,
            "vad_parameters": vad,
            "condition_on_previous_text": False,
            "compression_ratio_threshold": 2.4,
            "no_speech_threshold": 0.5,
        }
        vad_filter, batch = run.input.get("vad_filter", False), batch_size(run.input, device)
        if batch > 1:
            # The voice filter cuts the pieces. A model that is asked for times of segments can leave out the end of a piece,
            # so each piece is one segment, and the times of words make several of it.
            asked["word_timestamps"] = True
            found, info = library.BatchedInferencePipeline(model=model).transcribe(
                sound, batch_size=batch, vad_filter=True, without_timestamps=True, **asked
            )
        else:
            found, info = model.transcribe(sound, vad_filter=vad_filter, **asked)
        segments = []
        # The library computes its segments as they are taken.
        for one in found:
            segments += sentences_of(one, len(segments), words) if batch > 1 else [as_segment(one)]
            run.progress(5 + 94 * min(one.end / duration, 1.0), f"{one.end:.0f} of {duration:.0f} s")
        seconds = time.monotonic() - begun
    return transcript.write(
        run,
        segments,
        audio=run.input["audio_path"],
        duration=duration,
        language=info.language,
        words=words,
        model=name,
        device=device,
        method="faster-whisper",
        seconds=seconds,
    )


def batch_size(asked, device):
    """Pieces of speech that are transcribed at a time. Several need the voice filter, which makes the pieces, so nobody gets
    it unasked; on the processor they gain little and each piece waits for all."""
    if asked.get("batch_size") is not None:
        return asked["batch_size"]
    return BATCH if device == "cuda" and asked.get("vad_filter") else 1


def load(library, name, path, device, compute_type):
    """The model of a folder, or of the hub under its name or its size (`large-v3`)."""
    sizes = library.utils._MODELS
    if path == name and "/" not in name and name not in sizes:
        raise onceover_node.Failure(
            f"input_data.model_name is '{name}'; it must be a folder below {onceover_node.models_folder()}, "
            f"a name of the hub (owner/name) or one of {', '.join(sizes)}"
        )

    def model():
        return library.WhisperModel(path, device=device, compute_type=compute_type)

    if path == name:
        return onceover_node.fetched(model, sizes.get(name, name))
    missing = [file for file in FILES if not os.path.isfile(os.path.join(path, file))]
    if missing:
        raise onceover_node.Failure(
            f"the model in {path} has no {', no '.join(missing)}; it must be a Whisper model in the format of CTranslate2"
        )
    try:
        return model()
    except (RuntimeError, ValueError, OSError) as why:
        raise onceover_node.Failure(f"the model in {path} cannot be loaded: {onceover_node.in_words(why)}") from why


def language_code(language):
    """`zh-CN` is zh to Whisper; `auto` and nothing ask for detection."""
    language = (language or "").strip().lower()
    if language in ("", "auto"):
        return None
    return language.replace("_", "-").split("-")[0]


def temperatures(value):
    """One temperature or several, each 0 to 1."""
    several = value if isinstance(value, list) else [value]
    good = all(isinstance(t, (int, float)) and not isinstance(t, bool) and 0 <= t <= 1 for t in several)
    if not several or not good:
        raise onceover_node.Failure(f"input_data.temperature is {value!r}; it must be numbers from 0 to 1")
    return [float(t) for t in several]


def vad_settings(library, given):
    """Settings of the voice filter, all of which the library knows."""
    known = [field.name for field in dataclasses.fields(library.vad.VadOptions)]
    unknown = [name for name in given or () if name not in known]
    if unknown:
        raise onceover_node.Failure(
            f"input_data.vad_parameters has {', '.join(unknown)}; the filter knows {', '.join(known)}"
        )
    # The library changes what it gets.
    return dict(given) if given else None


def as_segment(one):
    """A segment of the library, as transcripts have it."""
    more = {"seek": one.seek, "tokens": list(one.tokens), **measured(one)}
    return transcript.segment(one.id, one.start, one.end, one.text, words_of(one), **more)


def sentences_of(one, before, with_words):
    """The segments of a piece of speech, after `before` others: its sentences."""
    found = []
    for group in transcript.sentences(words_of(one) or []):
        text, number = "".join(word["word"] for word in group), before + len(found) + 1
        words = group if with_words else None
        found.append(transcript.segment(number, group[0]["start"], group[-1]["end"], text, words, **measured(one)))
    return found


def words_of(one):
    if one.words is None:
        return None
    return [transcript.word(w.word, w.start, w.end, w.probability) for w in one.words]


def measured(one):
    """What the engine says of how sure it is."""
    return {
        "temperature": one.temperature,
        "avg_logprob": transcript.number(one.avg_logprob, 6),
        "compression_ratio": transcript.number(one.compression_ratio, 6),
        "no_speech_prob": transcript.number(one.no_speech_prob, 6),
    }


if __name__ == "__main__":
    onceover_node.main(transcribe)
