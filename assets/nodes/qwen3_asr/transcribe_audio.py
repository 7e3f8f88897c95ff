"""qwen3_asr.transcribe_audio: speech to text with Qwen3-ASR, times of words by its forced aligner."""

import importlib.util
import sys
import time
import wave

import onceover_node
import onceover_sound
import onceover_transcript as transcript

SERVICE = "qwen3_asr"
RATE = 16000
# Seconds of sound given to the model at a time: what its aligner takes at most.
PIECE = 180
# Makers whose models a request may name.
OWNERS = ("Qwen",)

LANGUAGES = {
    "Chinese": "zh zh-cn zh-tw cn",
    "English": "en en-us en-gb",
    "Cantonese": "yue zh-hk",
    "Arabic": "ar",
    "German": "de",
    "French": "fr",
    "Spanish": "es",
    "Portuguese": "pt pt-br",
    "Indonesian": "id",
    "Italian": "it",
    "Korean": "ko",
    "Russian": "ru",
    "Thai": "th",
    "Vietnamese": "vi",
    "Japanese": "ja jp",
    "Turkish": "tr",
    "Hindi": "hi",
    "Malay": "ms",
    "Dutch": "nl",
    "Swedish": "sv",
    "Danish": "da",
    "Finnish": "fi",
    "Polish": "pl",
    "Czech": "cs",
    "Filipino": "fil tl",
    "Persian": "fa",
    "Greek": "el",
    "Romanian": "ro",
    "Hungarian": "hu",
    "Macedonian": "mk",
}


def transcribe(run):
    run.file("audio_path")
    language = as_language(run.input.get("language"))
    asked = run.choice("backend", ("auto", "vllm", "transformers"), "auto")
    if asked == "vllm" and run.input.get("device") == "cpu":
        raise onceover_node.Failure(
            "input_data.backend is 'vllm', which needs a GPU; device 'cpu' takes 'transformers'"
        )
    words = run.input.get("enable_word_timestamps", True)
    name = f"Qwen/Qwen3-ASR-{run.choice('model_size', ('0.6B', '1.7B'), '0.6B')}"
    aligner = run.require("forced_aligner_model") if words else None
    run.progress(0, "loading the library")
    # The weights are searched before anything that takes long is loaded.
    folder = onceover_node.hub_folder(run, name, SERVICE, OWNERS)
    aligner_folder = onceover_node.hub_folder(run, aligner, SERVICE, OWNERS) if words else None
    torch = onceover_node.library("torch", SERVICE)
    device = onceover_node.device(run.input.get("device", "auto"), torch.cuda.is_available())
    backend = choose_backend(asked, device, has_vllm)
    library = onceover_node.library("qwen_asr", SERVICE)
    run.progress(2, f"loading {name}")
    model = load(run, library, torch, folder, aligner_folder, backend, device)
    with onceover_sound.decoded(run, "audio_path", RATE) as (sound, duration):
        run.progress(5, "transcribing")
        begun = time.monotonic()
        pieces = []
        for samples, offset in pieces_of(sound):
            answer = model.transcribe(audio=(samples, RATE), language=language, return_time_stamps=words)[0]
            pieces.append(as_piece(answer, offset, len(samples) / RATE))
            done = offset + len(samples) / RATE
            run.progress(5 + 94 * min(done / duration, 1.0), f"{done:.0f} of {duration:.0f} s")
        seconds = time.monotonic() - begun
    return finish(run, pieces, duration, words, name, backend, device, seconds)


def as_language(language):
    """The model's name of a language given by name or code; None: to be detected."""
    given = (language or "").strip().lower().replace("_", "-")
    if given in ("", "auto"):
        return None
    for name, codes in LANGUAGES.items():
        if given == name.lower() or given in codes.split():
            return name
    raise onceover_node.Failure(
        f"input_data.language is '{language}'; it must be auto, a code, or one of {', '.join(LANGUAGES)}"
    )


def choose_backend(asked, device, vllm_is_there):
    """vllm needs a GPU; auto takes it where both are there."""
    if asked == "vllm" and device == "cpu":
        raise onceover_node.Failure(
            "input_data.backend is 'vllm', which needs a CUDA GPU, and none can be used here; take 'auto' or 'transformers'"
        )
    if asked == "auto":
        return "vllm" if device == "cuda" and vllm_is_there() else "transformers"
    return asked


def has_vllm():
    return importlib.util.find_spec("vllm") is not None


def load(run, library, torch, folder, aligner, backend, device):
    place = {
        "dtype": torch.bfloat16 if device == "cuda" else torch.float32,
        "device_map": "cuda:0" if device == "cuda" else "cpu",
    }
    aligned = {"forced_aligner": aligner, "forced_aligner_kwargs": place} if aligner else {}
    if backend == "transformers":
        return library.Qwen3ASRModel.from_pretrained(folder, max_new_tokens=4096, **aligned, **place)
    if not has_vllm():
        raise onceover_node.Failure(
            "input_data.backend is 'vllm', which is not installed; add it with: "
            f"{sys.executable} -m pip install 'qwen-asr[vllm]==0.0.6'"
        )
    return library.Qwen3ASRModel.LLM(
        folder,
        max_new_tokens=4096,
        max_model_len=run.input.get("max_model_len", 50000),
        gpu_memory_utilization=run.input.get("gpu_memory_utilization", 0.8),
        **aligned,
    )


def pieces_of(path):
    """The sound in pieces, cut where it is most quiet: samples from -1 to 1 and the second each begins at."""
    numpy = onceover_node.library("numpy", SERVICE)
    with wave.open(path, "rb") as sound:
        raw = sound.readframes(sound.getnframes())
    samples = numpy.frombuffer(raw, dtype="<i2").astype("float32") / 32768.0
    cut = onceover_node.library("qwen_asr.inference.utils", SERVICE).split_audio_into_chunks
    return cut(wav=samples, sr=RATE, max_chunk_sec=PIECE)


def as_piece(answer, offset, length):
    """What the library answers for a piece of sound, as plain values with times of the whole sound."""
    times = []
    for item in answer.time_stamps or []:
        start, end = offset + float(item.start_time), offset + float(item.end_time)
        times.append({"text": item.text, "start": transcript.number(start), "end": transcript.number(end)})
    return {
        "text": answer.text or "",
        "language": answer.language,
        "times": times,
        "start": offset,
        "end": offset + length,
    }


def finish(run, pieces, duration, words, name, backend, device, seconds):
    """Writes both files, the one of the older shape and the shared one, and gives the output."""
    text = join([piece["text"] for piece in pieces])
    languages = []
    for piece in pieces:
        languages += [one for one in (piece["language"] or "").split(",") if one and one not in languages]
    language = ",".join(languages)
    times = [item for piece in pieces for item in piece["times"]]
    segments = []
    for piece in pieces:
        segments += segments_of(piece, words)
    for position, one in enumerate(segments):
        one["id"] = position
    written = transcript.write(
        run,
        segments,
        audio=run.input["audio_path"],
        duration=duration,
        language=language,
        words=words,
        model=name,
        device=device,
        method=f"qwen3-asr ({backend})",
        seconds=seconds,
    )
    result = {
        "metadata": {
            "task_name": run.node,
            "workflow_id": run.task_id,
            "model_name": name,
            "backend": backend,
            "device": device,
        },
        "text": text,
        "language": language,
        "audio_duration": written["audio_duration"],
        "time_stamps": times,
        "transcribe_duration": transcript.number(seconds),
    }
    path = run.write_json(result, "data", f"transcribe_result_{run.task_id[:8]}.json")
    return {
        **written,
        "transcribe_result_file": path,
        "text": text,
        "time_stamps": times,
        "word_timestamps_enabled": words,
        "backend": backend,
        "transcribe_duration": transcript.number(seconds),
    }


def join(texts):
    """Joins texts of pieces: with a blank between, but not in scripts that have none."""
    whole = ""
    for text in (text.strip() for text in texts):
        if whole and text and whole[-1] < "\u2e80" and text[0] < "\u2e80":
            whole += " "
        whole += text
    return whole


ENDS = ".?!。？！…"
CLOSING = " \"'”’)）》」』"
# Seconds of silence between two words that end a segment, and of speech after which any mark does.
PAUSE, LONG = 1.5, 15.0


def segments_of(piece, with_words):
    """Segments of a piece: its sentences if words have times, else all of it as one."""
    text = piece["text"].strip()
    if not text:
        return []
    words = words_of(text, piece["times"]) if with_words else []
    if not words:
        return [transcript.segment(0, piece["start"], piece["end"], text, [] if with_words else None)]
    groups = [[]]
    for position, one in enumerate(words):
        groups[-1].append(one)
        following = words[position + 1] if position + 1 < len(words) else None
        if following is None:
            break
        mark = one["word"].rstrip(CLOSING)[-1:]
        ended = mark in ENDS or (not mark.isalnum() and one["end"] - groups[-1][0]["start"] > LONG)
        if ended or following["start"] - one["end"] > PAUSE:
            groups.append([])
    return [
        transcript.segment(0, group[0]["start"], group[-1]["end"], "".join(one["word"] for one in group).strip(), group)
        for group in groups
    ]


def words_of(text, times):
    """The aligner's words with what stands between them in the text: blanks before a word, marks after it. A word the
    text does not have is left out; without any there are none."""
    found, cursor = [], 0
    lower = text.lower()
    # Lowering can change the length of rare letters; then positions mean nothing.
    if len(lower) != len(text):
        lower = text
    for item in times:
        token = item["text"].strip()
        at = lower.find(token.lower() if lower is not text else token, cursor)
        if not token or at < 0:
            continue
        found.append((at, item))
        cursor = at + len(token)
    words = []
    for position, (at, item) in enumerate(found):
        begin = 0 if position == 0 else _begin(text, found[position - 1], at)
        end = len(text) if position + 1 == len(found) else _begin(text, (at, item), found[position + 1][0])
        words.append(transcript.word(text[begin:end], item["start"], item["end"]))
    return words


def _begin(text, before, at):
    """The position where the word at `at` begins: its blank, and marks that open, belong to it."""
    begin = before[0] + len(before[1]["text"].strip())
    blank = text.find(" ", begin, at)
    if blank >= 0:
        return blank
    while at > begin and text[at - 1] in "\"'“‘(（《「『":
        at -= 1
    return at


if __name__ == "__main__":
    onceover_node.main(transcribe)
