"""Runs programs of nodes as the daemon does: a request in, lines out. What the tests here share."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import tomllib
import unittest
import wave

NODES = pathlib.Path(__file__).resolve().parents[2] / "assets" / "nodes"
# No byte code in the folder that the daemon embeds.
sys.dont_write_bytecode = True
sys.path.append(str(NODES))


class Ended:
    """How a program ended and what it reported."""

    def __init__(self, process):
        self.code = process.returncode
        self.log = process.stderr
        self.lines = [json.loads(line) for line in process.stdout.splitlines()]

    def of(self, kind):
        return [line for line in self.lines if line["type"] == kind]

    @property
    def error(self):
        return "\n".join(line["message"] for line in self.of("error"))

    @property
    def output(self):
        return self.of("output")[-1]["output"]


def environment(**changes):
    """The environment of a program: no network needed, no byte code written."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "ONCEOVER_"))}
    clean.update(PYTHONDONTWRITEBYTECODE="1", PYTHONPATH=str(NODES), HF_HUB_OFFLINE="1")
    return {**clean, **changes}


def load(node):
    """The program of a shipped node as a module. It loads no library before it has work."""
    service, method = node.split(".")
    spec = importlib.util.spec_from_file_location(node.replace(".", "_"), NODES / service / f"{method}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def defaults(node):
    """What the daemon fills into a request of a shipped node."""
    spec = tomllib.loads((NODES / f"{node}.toml").read_text(encoding="utf-8"))
    return {p["name"]: p["default"] for p in spec.get("parameters", []) if "default" in p}


def ask(program, node, output_dir, input_data=None, stages=None, python=sys.executable, **variables):
    """Runs a program (a list: its arguments) for one request."""
    request = {
        "protocol": 1,
        "task_id": "t1",
        "task_name": node,
        "run_id": "r1",
        "attempt": 1,
        "input": input_data or {},
        "stages": stages or {},
        "output_dir": str(output_dir),
    }
    process = subprocess.run(
        [python, *map(str, program)],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(**variables),
    )
    return Ended(process)


class NodeTest(unittest.TestCase):
    """A test with a folder for runs."""

    maxDiff = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name).resolve()

    def shipped(self, node, input_data=None, **more):
        """Runs the program of a shipped node with its defaults, as the daemon does."""
        service, method = node.split(".")
        # -S: without the libraries, wherever they may be installed.
        program = ["-S", NODES / service / f"{method}.py"]
        return ask(program, node, self.dir / "run", {**defaults(node), **(input_data or {})}, **more)

    def sound(self, seconds=1.0, rate=16000):
        """The path of a plain WAV file."""
        path = self.dir / "sound.wav"
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, rate, 0, "NONE", ""))
            file.writeframes(b"\1\0" * int(seconds * rate))
        return str(path)

    def snippet(self, body, input_data=None, **variables):
        """Runs a program whose work is `body`."""
        text = "import sys\nimport onceover_node as node\ndef work(run):\n"
        text += "".join(f"    {line}\n" for line in body.strip().splitlines()) + "node.main(work)\n"
        path = self.dir / "program.py"
        path.write_text(text, encoding="utf-8")
        return ask([path], "mine.test", self.dir / "run", input_data, **variables)
