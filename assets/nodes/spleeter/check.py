"""Checks the environment of spleeter, without its weights: a sound that is all voice comes back as it was."""

import importlib
import io
import types
import wave

import onceover_check

# The folder's own module, which has the name of no library.
import separate_vocals


def keep_all(_):
    numpy = importlib.import_module("numpy")
    noise = numpy.random.default_rng(1).integers(-9000, 9000, (50_000, separate_vocals.CHANNELS)).astype("<i2")
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setparams((separate_vocals.CHANNELS, 2, separate_vocals.RATE, 0, "NONE", ""))
        file.writeframes(noise.tobytes())
    made.seek(0)
    run = types.SimpleNamespace(progress=lambda *_: None)
    everything = types.SimpleNamespace(voice=lambda spectrum: numpy.ones(spectrum.shape))
    with wave.open(made, "rb") as file:
        pieces = list(separate_vocals.separated(run, numpy, file, everything))
    voice = numpy.concatenate([of_voice for _, of_voice in pieces])
    if voice.shape != noise.shape or numpy.abs(voice - noise / 32768).max() > 1e-6:
        raise onceover_check.Fault("a sound that is all voice does not come back as it was")
    return "a second of sound is taken apart and put together on the processor; the first run fetches the weights"


if __name__ == "__main__":
    onceover_check.main(("numpy",), ("numpy", "unet", "checkpoint"), None, keep_all)
