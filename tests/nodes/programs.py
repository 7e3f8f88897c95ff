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


def program_of(work):
    """The text of a program whose work this is."""
    body = "".join(f"    {line}\n" for line in work.strip().splitlines())
    return f"import sys\nimport onceover_node as node\ndef work(run):\n{body}node.main(work)\n"


def request_of(node, run_id, output_dir, input_data=None, stages=None):
    """What the daemon writes to a program."""
    request = {
        "protocol": 1,
        "task_id": "t1",
        "task_name": node,
        "run_id": run_id,
        "attempt": 1,
        "input": input_data or {},
        "stages": stages or {},
        "output_dir": str(output_dir),
    }
    return json.dumps(request)


def ask(program, node, output_dir, input_data=None, stages=None, python=sys.executable, **variables):
    """Runs a program (a list: its arguments) for one request."""
    process = subprocess.run(
        [python, *map(str, program)],
        input=request_of(node, "r1", output_dir, input_data, stages),
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(**variables),
    )
    return Ended(process)


class Served:
    """A program that takes runs one after another, as the daemon would hold it."""

    def __init__(self, folder, program, node, python=sys.executable, **variables):
        self.dir, self.node = pathlib.Path(folder), node
        self.log = (self.dir / "log").open("wb+")
        self.process = subprocess.Popen(
            [python, str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=environment(ONCEOVER_SERVE="1", **variables),
        )

    def write(self, text):
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def send_run(self, run_id, input_data):
        folder = self.dir / run_id
        folder.mkdir(exist_ok=True)
        self.write(request_of(self.node, run_id, folder, input_data))

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            raise AssertionError(f"the program ended: {self.log.read().decode()}")
        return json.loads(line)

    def end(self, seconds=20):
        """Closes its input and waits for its end, for some seconds at most: the exit code and the log."""
        if not self.process.stdin.closed:
            self.process.stdin.close()
        code = self.process.wait(seconds)
        self.process.stdout.close()
        self.log.seek(0)
        log = self.log.read().decode()
        self.log.close()
        return code, log


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
        path = self.dir / "program.py"
        path.write_text(program_of(body), encoding="utf-8")
        return ask([path], "mine.test", self.dir / "run", input_data, **variables)
