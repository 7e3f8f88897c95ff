"""indextts.generate_speech: text to speech in the voice of a sample, with IndexTTS2. The engine espeak is in the daemon, that
of Piper in its own folder."""

import os
import time

import onceover_node
import onceover_sound
import onceover_speech

SERVICE = "indextts"
RATE = 22050
OWNERS = ("IndexTeam",)
# Models the library fetches beside its own.
COMPANIONS = ("facebook/w2v-bert-2.0", "amphion/MaskGCT", "funasr/campplus", "nvidia/bigvgan_v2_22khz_80band_256x")


def generate(run):
    cues = onceover_speech.wanted(run)
    target = onceover_speech.target(run)
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


def speak_all(run, engine, cues, voice, more, target):
    def spoken(text, before):
        return speak(run, engine, text, voice, more, before, len(cues))

    return onceover_speech.speak_all(run, cues, target, RATE, spoken)


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
    """The samples of a whole text, as bytes. `before` of all texts were spoken before."""
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
        return b""
    # Silence belongs between segments, not after the last.
    pieces = pieces[:-1] if len(pieces) % 2 == 0 else pieces
    samples = onceover_node.library("torch", SERVICE).cat(pieces)
    return (samples.clamp(-1, 1) * 32767).short().numpy().astype("<i2").tobytes()


if __name__ == "__main__":
    onceover_node.main(generate)
