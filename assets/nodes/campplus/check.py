"""Checks the environment of campplus, without its weights: three voices that are far apart are found as three."""

import importlib

import onceover_check


def find_voices(_):
    numpy, voices = importlib.import_module("numpy"), importlib.import_module("voices")
    rows = numpy.repeat(numpy.eye(3, 192, dtype=numpy.float32), 20, axis=0)
    found = len(voices.cluster(rows, voices.Limits()))
    if found != 3:
        raise onceover_check.Fault(f"of three voices it finds {found}")
    return "three voices are told apart on the processor; speech needs the weights, which the first run fetches"


if __name__ == "__main__":
    onceover_check.main(("numpy", "onnxruntime"), ("numpy", "onnxruntime", "network"), None, find_voices)
