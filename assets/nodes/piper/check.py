"""Checks the environment of piper. Its voices are no part of it."""

import subprocess

import onceover_check


def say_signs(_device):
    """The signs of a word, which the program espeak-ng writes."""
    said = subprocess.run(["espeak-ng", "-q", "--ipa", "yes"], capture_output=True, check=True, text=True).stdout.strip()
    if not said:
        raise onceover_check.Fault("espeak-ng writes no signs")
    return f"espeak-ng writes {said} for 'yes'; speech needs a voice"


if __name__ == "__main__":
    onceover_check.main(("onnxruntime",), ("numpy", "onnxruntime", "huggingface_hub"), None, say_signs)
