"""Folders of pictures as inputs, and zip files of them."""

import os
import pathlib
import re
import zipfile

import onceover_node

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tiff")
# Bytes all files of an archive may have (the limit `archive`).
MOST_BYTES = 64 << 30


def folder(run, name):
    """The folder a parameter names, or what its zip file holds, unpacked below the run's folder."""
    given = pathlib.Path(str(run.require(name)))
    if given.is_dir():
        return given
    if not given.exists():
        raise onceover_node.Failure(f"input_data.{name} is '{given}': there is no such folder")
    if given.suffix.lower() != ".zip":
        raise onceover_node.Failure(f"input_data.{name} is '{given}', a file; give a folder, or a .zip file of one")
    if not run.input.get("auto_decompress", True):
        raise onceover_node.Failure(f"input_data.{name} is an archive, and auto_decompress is false; give the folder")
    into = run.path("unpacked", name, "x").parent
    try:
        _unpack(given, into)
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as why:
        raise onceover_node.Failure(f"input_data.{name}: {given} cannot be unpacked: {why}") from why
    return into


def _unpack(archive, into):
    """All files of an archive into one folder, under their own names."""
    left = MOST_BYTES
    with zipfile.ZipFile(archive) as members:
        for member in members.infolist():
            parts = pathlib.PurePosixPath(member.filename.replace("\\", "/")).parts
            if member.is_dir() or not parts:
                continue
            if ".." in parts or member.filename.startswith("/"):
                raise onceover_node.Failure(f"{archive}: its member '{member.filename}' leads out of it")
            with members.open(member) as source, open(into / parts[-1], "xb") as target:
                while block := source.read(1 << 20):
                    left -= len(block)
                    if left < 0:
                        raise onceover_node.Failure(f"{archive} holds more than {MOST_BYTES >> 30} GiB", limit="archive")
                    target.write(block)


def listed(folder):
    """The pictures in a folder, in the order of their names as people count (2 before 10)."""
    names = [name for name in os.listdir(folder) if name.lower().endswith(SUFFIXES)]
    return [folder / name for name in sorted(names, key=_natural)]


def _natural(name):
    return [(int(run), "") if run.isdecimal() else (-1, run) for run in re.split(r"(\d+)", name.lower())] + [(0, name)]
