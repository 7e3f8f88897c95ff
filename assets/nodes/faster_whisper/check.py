"""Checks the environment of faster_whisper."""

import importlib

import onceover_check


def devices():
    return importlib.import_module("ctranslate2").get_cuda_device_count()


def find_voices(device):
    """The voice filter, whose weights are in the package."""
    numpy, vad = importlib.import_module("numpy"), importlib.import_module("faster_whisper.vad")
    if vad.get_speech_timestamps(numpy.zeros(16000, numpy.float32)):
        raise onceover_check.Fault("the voice filter hears speech in silence")
    types = importlib.import_module("ctranslate2").get_supported_compute_types(device)
    return f"the voice filter hears silence, CTranslate2 computes with {', '.join(sorted(types))} on {device}; speech needs a model"


if __name__ == "__main__":
    onceover_check.main(("faster-whisper", "ctranslate2"), ("faster_whisper", "ctranslate2"), devices, find_voices)
