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
# Seconds of a piece of sound: what the aligner takes at most, and what leaves the model enough to go by.
LONGEST, SHORTEST = 180, 30
# Batches that a sound is cut into if it is long enough: progress is reported after each.
STEPS = 20
# Pieces that a GPU works on at a time, if the request says no other number.
BATCH = 8
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
    key = (name, aligner, asked, *(run.input.get(one) for one in ("device", "max_model_len", "gpu_memory_utilization")))
    folder = aligner_folder = None
    if not run.keeps(key):
        names = [name, aligner] if words else [name]
        folder, aligner_folder = [*onceover_node.hub_folders(run, names, SERVICE, OWNERS), None][:2]
    torch = onceover_node.library("torch", SERVICE)
    device = onceover_node.device(run.input.get("device", "auto"), torch.cuda.is_available())
    backend = choose_backend(asked, device, has_vllm)
    library = onceover_node.library("qwen_asr", SERVICE)
    run.progress(2, f"loading {name}")
    model = run.keep(key, lambda: load(run, library, torch, folder, aligner_folder, backend, device))
    with onceover_sound.decoded(run, "audio_path", RATE) as (sound, duration):
        run.progress(5, "transcribing")
        begun = time.monotonic()
        pieces = []
        size = run.input.get("batch_size") or (BATCH if device == "cuda" else 1)
        for batch in batches(pieces_of(sound, piece_length(duration, size)), size):
            sounds = [(samples, RATE) for samples, _ in batch]
            answers = model.transcribe(audio=sounds, language=language, return_time_stamps=words)
            for answer, (samples, offset) in zip(answers, batch, strict=True):
                pieces.append(as_piece(answer, offset, len(samples) / RATE))
            done = pieces[-1]["end"]
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
        # A batch is as large as what one call is given.
        return library.Qwen3ASRModel.from_pretrained(
            folder, max_new_tokens=4096, max_inference_batch_size=-1, **aligned, **place
        )
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


def piece_length(duration, size):
    """The seconds of a piece, so that there are about STEPS batches of `size` pieces."""
    return min(max(duration / (STEPS * size), SHORTEST), LONGEST)


def batches(pieces, size):
    """The pieces by so many at a time."""
    pieces = list(pieces)
    return [pieces[at : at + size] for at in range(0, len(pieces), size)]


def pieces_of(path, length):
    """The sound in pieces, cut where it is most quiet: samples from -1 to 1 and the second each begins at."""
    numpy = onceover_node.library("numpy", SERVICE)
    with wave.open(path, "rb") as sound:
        raw = sound.readframes(sound.getnframes())
    samples = numpy.frombuffer(raw, dtype="<i2").astype("float32") / 32768.0
    cut = onceover_node.library("qwen_asr.inference.utils", SERVICE).split_audio_into_chunks
    return cut(wav=samples, sr=RATE, max_chunk_sec=length)


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


def segments_of(piece, with_words):
    """Segments of a piece: its sentences if words have times, else all of it as one."""
    text = piece["text"].strip()
    if not text:
        return []
    words = words_of(text, piece["times"]) if with_words else []
    if not words:
        return [transcript.segment(0, piece["start"], piece["end"], text, [] if with_words else None)]
    return [
        transcript.segment(0, group[0]["start"], group[-1]["end"], "".join(one["word"] for one in group).strip(), group)
        for group in transcript.sentences(words)
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
