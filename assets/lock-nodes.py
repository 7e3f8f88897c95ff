"""Locks the packages of the Python nodes: writes assets/nodes/<service>/locked-<profile>.txt with the hash of every file
that can be installed, from PyPI alone.

    python assets/lock-nodes.py FOLDER [SERVICE ...]    # uv is installed into the folder where it is not on the PATH

One file serves Python 3.11 to 3.13 on Linux (glibc, x86_64 and aarch64); pip and uv read it. Its head says what it was
made of, and how many bytes each Python downloads and unpacks, measured from the index's metadata and from the directories
of the wheels. `make lock-nodes` calls it.
"""

import concurrent.futures
import hashlib
import json
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import urllib.request

from pip._vendor.packaging import markers, tags, utils

NODES = pathlib.Path(__file__).resolve().parent / "nodes"
INDEX = "https://pypi.org/simple"
UV = "uv==0.13.9"
PYTHONS = ((3, 11), (3, 12), (3, 13))
MACHINES = ("x86_64", "aarch64")
# Wheels of a newer glibc than that of Ubuntu 22.04 are left out.
NEWEST_GLIBC = 35
# Read by uv alone: for which machines one answer is wanted.
PROJECT = """[project]
name = "locks"
version = "0"
requires-python = ">=3.11,<3.14"
[tool.uv]
environments = ["sys_platform == 'linux' and implementation_name == 'cpython' and python_full_version < '3.14'"]
"""
# For the profile cpu these come from PyTorch's index of CPU wheels: what PyPI has is built for CUDA, and needs the others.
TORCH = ("torch", "torchaudio", "torchcodec", "torchvision")
OF_CUDA = re.compile(r"nvidia-.*|cuda-.*|triton")
# How many times larger a package is that is built from source than its archive.
BUILT = 4


def services():
    return sorted(path.parent for path in NODES.glob("*/requirements.txt"))


def inputs(service, profile):
    """The file that says what a profile needs."""
    own = service / f"requirements-{profile}.txt"
    return own if own.is_file() else service / "requirements.txt"


def digest(path):
    """By which a lock is known to be of these requirements."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Target:
    """A Python on a machine."""

    def __init__(self, python, machine):
        self.name = f"{python[0]}.{python[1]} {machine}"
        version = f"{python[0]}.{python[1]}"
        self.environment = {
            "implementation_name": "cpython",
            "implementation_version": f"{version}.0",
            "os_name": "posix",
            "platform_machine": machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{version}.5",
            "python_version": version,
            "sys_platform": "linux",
            "extra": "",
        }
        names = [f"manylinux_2_{minor}_{machine}" for minor in range(NEWEST_GLIBC, 4, -1)]
        names += [f"{name}_{machine}" for name in ("manylinux2014", "manylinux2010", "manylinux1", "linux")]
        abi = f"cp{python[0]}{python[1]}"
        known = [*tags.cpython_tags(python, [abi], names), *tags.compatible_tags(python, abi, names)]
        self.order = {tag: at for at, tag in enumerate(known)}

    def wants(self, marker):
        return marker is None or markers.Marker(marker).evaluate(self.environment)

    def best(self, files):
        """The wheel that pip takes here, None: there is none."""
        ranked = []
        for file in files:
            if file["filename"].endswith(".whl"):
                at = min((self.order.get(tag, 1 << 30) for tag in utils.parse_wheel_filename(file["filename"])[3]))
                ranked.append((at, file["filename"], file))
        ranked = [one for one in ranked if one[0] < 1 << 30]
        return min(ranked)[2] if ranked else None


TARGETS = [Target(python, machine) for python in PYTHONS for machine in MACHINES]


def uv(folder):
    """The program, installed if there is none."""
    if found := shutil.which("uv"):
        return found
    program = folder / "bin/uv"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin/python", "-m", "pip", "install", "--quiet", UV], check=True)
    return str(program)


def resolve(program, requirements):
    """[name, version, marker] of each package, for all targets."""
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "pyproject.toml").write_text(PROJECT)
        options = ["--quiet", "--universal", "--python-version", "3.11", "--no-header", "--no-annotate"]
        made = subprocess.run(
            [program, "pip", "compile", *options, "--default-index", INDEX, str(requirements.resolve())],
            cwd=folder,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    found = []
    for line in made.stdout.splitlines():
        pinned, _, marker = line.partition(" ; ")
        name, version = pinned.strip().split("==")
        found.append((name.split("[")[0], version, marker.strip() or None))
    return found


def fetch(url, headers):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
        return answer.read()


class Index:
    """What PyPI has, asked once each."""

    def __init__(self):
        self.known, self.sizes = {}, {}

    def files(self, name, version):
        """The files of a release that are not withdrawn."""
        if name not in self.known:
            page = fetch(f"{INDEX}/{name}/", {"Accept": "application/vnd.pypi.simple.v1+json"})
            self.known[name] = json.loads(page)["files"]
        return [file for file in self.known[name] if is_release(file["filename"], version) and not file.get("yanked")]

    def unpacked(self, file):
        """Bytes on disk: those that a wheel's directory says, which is at its end."""
        if not file["filename"].endswith(".whl"):
            return file["size"] * BUILT
        if file["url"] not in self.sizes:
            self.sizes[file["url"]] = size_of_wheel(file)
        return self.sizes[file["url"]]


def is_release(filename, version):
    try:
        if filename.endswith(".whl"):
            return utils.parse_wheel_filename(filename)[1] == utils.Version(version)
        return utils.parse_sdist_filename(filename)[1] == utils.Version(version)
    except ValueError:
        return False


def size_of_wheel(file):
    tail = ending(file, 65_536)
    end = tail.rfind(b"PK\5\6")
    size, start = struct.unpack("<II", tail[end + 12 : end + 20])
    needed = file["size"] - start
    directory = tail[-needed:] if needed <= len(tail) else ending(file, needed)
    total, at = 0, 0
    while directory[at : at + 4] == b"PK\1\2" and at < size:
        total += struct.unpack("<I", directory[at + 24 : at + 28])[0]
        at += 46 + sum(struct.unpack("<HHH", directory[at + 28 : at + 34]))
    return total


def ending(file, count):
    start = max(file["size"] - count, 0)
    return fetch(file["url"], {"Range": f"bytes={start}-"})


def shorter(marker):
    """A marker with what differs between the targets alone."""
    wanted = [target.wants(marker) for target in TARGETS]
    if all(wanted):
        return None
    pythons = sorted({target.environment["python_version"] for target, one in zip(TARGETS, wanted, strict=True) if one})
    short = " or ".join(f"python_version == '{python}'" for python in pythons)
    return short if [target.wants(short) for target in TARGETS] == wanted else marker


def locked(index, packages):
    """The lines of the packages, and per target what it installs: [packages, bytes, bytes unpacked, those built, those that
    cannot be had]."""
    lines, totals = [], {target.name: [0, 0, 0, [], []] for target in TARGETS}
    for name, version, marker in packages:
        files, kept = index.files(name, version), {}
        sources = [file for file in files if file["filename"].endswith((".tar.gz", ".zip"))]
        for target in TARGETS:
            if not target.wants(marker):
                continue
            total = totals[target.name]
            best = target.best(files)
            if best is None and not sources:
                total[4].append(f"{name} {version}")
                continue
            if best is None:
                total[3].append(f"{name} {version}")
                best = sources[0]
            # Those of an older glibc, too.
            kept.update((file["filename"], file) for file in files if is_for(file, target))
            kept[best["filename"]] = best
            total[0] += 1
            total[1] += best["size"]
            total[2] += index.unpacked(best)
        if not kept:
            continue
        short = shorter(marker)
        lines.append(f"{name}=={version}" + (f" ; {short}" if short else "") + " \\")
        hashes = sorted({file["hashes"]["sha256"] for file in kept.values()})
        lines += [f"    --hash=sha256:{one}" + ("" if one == hashes[-1] else " \\") for one in hashes]
    return lines, totals


def is_for(file, target):
    return target.best([file]) is not None


def head(requirements, service, profile, totals, torch):
    """What the installer reads and shows before it begins."""
    lines = [
        f"# Locked packages of {service.name}, profile {profile}. `make lock-nodes` writes this file.",
        f"# made of {requirements.name} sha256:{digest(requirements)}",
    ]
    for name, (packages, size, unpacked, built, gone) in totals.items():
        if gone:
            lines.append(f"# {name}: none, as there is no file of {', '.join(gone)}")
        else:
            built = f", built from source: {', '.join(built)}" if built else ""
            lines.append(f"# {name}: {packages} packages, {size} bytes, {unpacked} unpacked{built}")
    if torch:
        lines.append(f"# torch: {' '.join(torch)}")
    return lines


def lock(program, index, service, profile):
    requirements = inputs(service, profile)
    packages = resolve(program, requirements)
    torch = []
    if profile == "cpu":
        torch = [f"{name}=={version}" for name, version, _ in packages if name in TORCH]
        if torch:
            packages = [one for one in packages if one[0] not in TORCH and not OF_CUDA.fullmatch(one[0])]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: index.files(one[0], one[1]), packages))
        wheels = {}
        for name, version, marker in packages:
            for target in TARGETS:
                best = target.wants(marker) and target.best(index.files(name, version))
                if best:
                    wheels[best["url"]] = best
        list(pool.map(index.unpacked, wheels.values()))
    lines, totals = locked(index, packages)
    text = "\n".join([*head(requirements, service, profile, totals, torch), *lines]) + "\n"
    (service / f"locked-{profile}.txt").write_text(text)
    print(f"{service.name} {profile}: {len(packages)} packages")


def main():
    program, index = uv(pathlib.Path(sys.argv[1]).resolve()), Index()
    for service in services():
        if sys.argv[2:] and service.name not in sys.argv[2:]:
            continue
        for profile in ("cpu", "cuda"):
            lock(program, index, service, profile)


if __name__ == "__main__":
    main()
