"""A Celery worker that runs Onceover's nodes on a machine without Onceover: programs, in Python or any other language.

    pip install 'celery[redis]'
    CELERY_BROKER_URL=redis://10.0.0.9:6379/0 celery -A onceover_worker worker -Q mine_queue -c 2

Each message brings the node: its command, its scripts with their hashes, and how to get at its files, in a folder that both
machines see or in an object store by URLs that are signed already. The worker needs no credentials. It speaks the protocol of
docs/writing-a-node.md with the program, and returns the context with its stage SUCCESS or FAILED. No process of a program
outlives its run, whichever way the worker ends. Everyone who may write to the broker can run programs here; with
ONCEOVER_NODES only those that the folder names.

    CELERY_BROKER_URL, CELERY_RESULT_BACKEND    the Redis of messages, and that of results: if omitted, the broker's
    ONCEOVER_NODES         a folder of node files: only these nodes are run, as they stand there
    ONCEOVER_SHIPPED       "accept": nodes that messages bring are run beside those of ONCEOVER_NODES
    ONCEOVER_ENVIRONMENTS  a folder with a virtual environment for each service, <service>/venv; if there is none for one,
                           its Python nodes are run by the worker's own interpreter
    ONCEOVER_CACHE         where scripts are kept, ~/.cache/onceover-worker if omitted
    ONCEOVER_WORK          where files of the object store are kept during a run, the system's folder for such if omitted
    ONCEOVER_VISIBILITY    seconds before the broker gives a message out again whose worker is silent, a day if omitted
"""

import base64
import collections
import contextlib
import copy
import ctypes
import hashlib
import json
import math
import os
import pathlib
import queue
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

# What a message says of a node, and the protocol of programs.
VERSION = 1
PROTOCOL = 1
# Bytes of a line of a program's output, and of its error output.
OUTPUT_LINE = 16 << 20
ERROR_LINE = 64 << 10
# Bytes of the log that the result brings: its beginning and its end.
LOG_BEGIN, LOG_END = 32 << 10, 96 << 10
# Lines of the error output that the reason of a failure has.
REASON_LINES = 20
# Seconds between two reports of progress, of one request to the object store, and how often that is tried.
REPORT_EVERY = 0.2
STORE_TIMEOUT = 60
STORE_TRIES = 4
CHUNK = 1 << 20
# Of the worker's environment a program gets these, and those that its node names.
INHERITED = ("PATH", "HOME", "LANG", "LC_*", "TMPDIR", "TZ", "CUDA_*", "LD_LIBRARY_PATH", "HF_HOME", "VIRTUAL_ENV", "PYTHON*")
# The field of an output that lists the files of the run which lie in the object store.
FILES_FIELD = "onceover_files"
# Of prctl: orphans become children, and a signal when the parent ends.
SET_CHILD_SUBREAPER, SET_DEATH_SIGNAL = 36, 1
# Seconds that a message is held for without being renewed, and after its run; and between two looks at one that is held.
HOLD_SECONDS, HOLD_AFTER, HOLD_LOOK = 60, 5, 0.5
# The daemon's log in the folder of a run, with what continues it.
LOG_NAME = "run.log"


class Failure(Exception):
    """Why a run failed, for people."""


# The guard: a process between the worker and a program, by which none of the program's processes outlives the run. It ends
# them when its channel closes, so also where the worker was killed.


def reap(program):
    """Collects processes that have ended. Returns the program's exit code once it has one."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == program:
            code = os.waitstatus_to_exitcode(status)


def signal_group(group, number):
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def end_descendants(group):
    """Kills what the program has left. What left its group or session is a child of the guard by now."""
    signal_group(group, signal.SIGKILL)
    children = pathlib.Path(f"/proc/self/task/{os.getpid()}/children")
    until = time.monotonic() + 10
    while time.monotonic() < until:
        left = children.read_text().split() if children.exists() else []
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(int(pid), signal.SIGKILL)
        reap(None)
        if not left:
            return
        time.sleep(0.01)


def guard(descriptor, grace, command):
    """Runs a program to its end, and reports that in the channel. Ends it when anything arrives there, or it closes."""
    channel = socket.socket(fileno=int(descriptor))
    channel.set_inheritable(False)
    libc = ctypes.CDLL(None)

    def die_with_guard():
        if sys.platform == "linux":
            libc.prctl(SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)

    if sys.platform == "linux":
        libc.prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # A stop of the whole group is the worker's business. A handler, unlike SIG_IGN, is not passed on to the program.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    awake, wake = os.pipe()
    for end in (awake, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    try:
        process = subprocess.Popen(command, start_new_session=True, preexec_fn=die_with_guard)
    except OSError as error:
        channel.sendall(f"error {error.strerror or error}\n".encode())
        return
    # The ends of the program's pipes are its own alone.
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    kill_at, is_ending = None, False
    while (code := reap(process.pid)) is None:
        wait = 1.0 if kill_at is None else max(0.0, min(1.0, kill_at - time.monotonic()))
        ready, _, _ = select.select([awake] if is_ending else [awake, channel], [], [], wait)
        if awake in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(awake, 4096)
        if channel in ready:
            is_ending, kill_at = True, time.monotonic() + float(grace)
            signal_group(process.pid, signal.SIGTERM)
        if kill_at is not None and time.monotonic() >= kill_at:
            signal_group(process.pid, signal.SIGKILL)
            kill_at = None
    process.returncode = code
    end_descendants(process.pid)
    with contextlib.suppress(OSError):
        channel.sendall(f"exit {code}\n".encode())


if __name__ == "__main__":
    if len(sys.argv) < 5 or sys.argv[1] != "guard":
        sys.exit(f"{sys.argv[0]} is no program; start it with: celery -A onceover_worker worker -Q <service>_queue")
    guard(sys.argv[2], sys.argv[3], sys.argv[4:])
    sys.exit(0)

from celery import Celery  # noqa: E402  the guard starts without it
from celery.exceptions import SoftTimeLimitExceeded  # noqa: E402
from celery.utils.log import get_task_logger  # noqa: E402

logger = get_task_logger("onceover")
broker = os.environ.get("CELERY_BROKER_URL", "redis://127.0.0.1:6379/0")
app = Celery("onceover_worker")
app.conf.update(
    broker_url=broker,
    result_backend=os.environ.get("CELERY_RESULT_BACKEND", broker),
    broker_connection_retry_on_startup=True,
    # A message that is acknowledged late is given out again after this time, also while its program still runs.
    broker_transport_options={"visibility_timeout": int(os.environ.get("ONCEOVER_VISIBILITY", "86400"))},
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    task_track_started=True,
    # Not task_reject_on_worker_lost: a program that ends its worker would end one after another.
    task_acks_late=True,
    worker_prefetch_multiplier=1,
)


class Log:
    """The lines of a run: the first and the last of them, where they are too many."""

    def __init__(self):
        self.begin, self.end = [], collections.deque()
        self.sizes = [0, 0]
        self.left_out = 0
        self.lock = threading.Lock()

    def line(self, text):
        text = text.rstrip("\r\n")
        with self.lock:
            size = len(text.encode("utf-8", "replace")) + 1
            if not self.end and self.sizes[0] + size <= LOG_BEGIN:
                self.begin.append(text)
                self.sizes[0] += size
                return
            self.end.append((size, text))
            self.sizes[1] += size
            while self.sizes[1] > LOG_END and len(self.end) > 1:
                self.sizes[1] -= self.end.popleft()[0]
                self.left_out += 1

    def lines(self):
        gap = [f"... {self.left_out} lines are left out"] if self.left_out else []
        return self.begin + gap + [text for _, text in self.end]


class Progress:
    """Reports how far a run is, a few times a second at most."""

    def __init__(self, report):
        self.report = report
        self.percent, self.message = 0.0, None
        self.is_due, self.reported_at = False, -math.inf

    def note(self, percent, message):
        percent = float(percent) if isinstance(percent, (int, float)) and math.isfinite(percent) else 0.0
        self.percent = max(self.percent, min(100.0, max(0.0, percent)))
        self.message = message if isinstance(message, str) else self.message
        self.is_due = True
        self.flush()

    def flush(self):
        """Reports what is due. Returns the seconds until what waits can be reported."""
        if not self.is_due:
            return None
        wait = self.reported_at + REPORT_EVERY - time.monotonic()
        if wait > 0:
            return wait
        self.is_due, self.reported_at = False, time.monotonic()
        meta = {"percent": self.percent}
        if self.message is not None:
            meta["message"] = self.message
        self.report(meta)
        return None


# Nodes: those of the worker's folder, and those that messages bring.


def own_nodes():
    """The nodes of the folder that the environment names, by name; `None` without one."""
    folder = os.environ.get("ONCEOVER_NODES")
    if not folder:
        return None
    try:
        import tomllib
    except ImportError:
        try:
            import tomli as tomllib
        except ImportError as error:
            raise Failure("ONCEOVER_NODES needs Python 3.11, or tomli: pip install tomli") from error
    nodes = {}
    for path in sorted(pathlib.Path(folder).resolve().glob("*.toml")):
        try:
            node = tomllib.loads(path.read_text(encoding="utf-8"))
            nodes[node["name"]] = {**node, "folder": path.parent}
        except (OSError, ValueError, KeyError) as error:
            logger.error("the node file %s cannot be used: %s", path, error)
    return nodes


def find_command(asked, shipped):
    """The command of a node, its environment's names, and the variables that its programs are found by."""
    name = asked["node"]
    nodes = own_nodes()
    if nodes is not None and name in nodes:
        return command_of_folder(nodes[name])
    if nodes is not None and os.environ.get("ONCEOVER_SHIPPED") != "accept":
        raise Failure(
            f"this worker runs only nodes of {os.environ['ONCEOVER_NODES']}, and {name} is none of them; put its node file "
            "there, or set ONCEOVER_SHIPPED=accept"
        )
    if not shipped:
        raise Failure(f"the message does not bring the node {name}; set worker = \"onceover\" for its service")
    folder = unpack(shipped["programs"])
    runner = shipped["runner"]
    environment = shipped.get("environment") or []
    if "python" in runner:
        program = folder / runner["python"]
        # The folder of a program is its service, which a node can have for some requests alone.
        service = runner["python"].split("/")[0]
        return [interpreter(service), str(program)], environment, {"PYTHONPATH": str(folder), "PYTHONNOUSERSITE": "1"}
    words = [str(folder / word["file"]) if isinstance(word, dict) else word for word in runner["command"]]
    return words, environment, {}


def command_of_folder(node):
    """The command of a node file of this machine. A word that names a file beside it stands for that."""
    folder, runner = node["folder"], node.get("runner") or {}

    def place(word):
        path = folder / word
        return str(path) if word and not os.path.isabs(word) and path.is_file() else word

    environment = [*node.get("environment", []), *(node.get("needs") or {}).get("environment", [])]
    if "python" in runner:
        command = [interpreter(node["name"].split(".")[0]), place(runner["python"])]
        return command, environment, {"PYTHONPATH": str(folder), "PYTHONNOUSERSITE": "1"}
    if not runner.get("command"):
        raise Failure(f"{node['name']} is run by the daemon itself: its node file names no program")
    return [place(word) for word in runner["command"]], environment, {}


def interpreter(service):
    """The Python of a service: its virtual environment, else that of the worker."""
    environments = os.environ.get("ONCEOVER_ENVIRONMENTS")
    if environments:
        found = pathlib.Path(environments) / service / "venv" / "bin" / "python"
        if found.exists():
            return str(found)
    return sys.executable


def inside(folder, name):
    """A path below a folder by its relative name, which must not lead out of it."""
    parts = pathlib.PurePosixPath(name).parts
    if not parts or name.startswith("/") or "\0" in name or any(part == ".." for part in parts):
        raise Failure(f"'{name}' is no path below a folder")
    return folder.joinpath(*parts)


def hash_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def cache_folder():
    cache = os.environ.get("ONCEOVER_CACHE")
    if cache:
        return pathlib.Path(cache)
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "onceover-worker"


def unpack(programs):
    """Puts the programs that a message brings into a folder that is named by what they are, and checks each by its hash."""
    version, files = programs["sha256"], programs["files"]
    listed = "".join(f"{file['path']}\0{file['sha256']}\0{int(file['mode'])}\n" for file in files)
    if hashlib.sha256(listed.encode()).hexdigest() != version:
        raise Failure(f"the programs of the message are not those of version {version}")
    folder = cache_folder() / version
    if is_whole(folder, files):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = pathlib.Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
    try:
        for file in files:
            path = inside(fresh, file["path"])
            data = base64.b64decode(file["data"])
            if hashlib.sha256(data).hexdigest() != file["sha256"]:
                raise Failure(f"the program {file['path']} is not the one of version {version}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            path.chmod(int(file["mode"]) & 0o755)
        replace_folder(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    if not is_whole(folder, files):
        raise Failure(f"the programs in {folder} are changed while they are used; remove that folder")
    return folder


def is_whole(folder, files):
    try:
        return all(hash_of(inside(folder, file["path"])) == file["sha256"] for file in files)
    except OSError:
        return False


def replace_folder(fresh, folder):
    """Puts a folder into its place. Another process may do so at the same time, and one that is damaged gives way."""
    for _ in range(3):
        try:
            fresh.rename(folder)
            return
        except OSError:
            old = pathlib.Path(tempfile.mkdtemp(prefix=".old-", dir=folder.parent))
            with contextlib.suppress(OSError):
                folder.rename(old / "programs")
            shutil.rmtree(old, ignore_errors=True)


# Files: in a folder that both machines see, or as one object for all inputs and one for all results. An object has the
# bytes of its files one after another; their paths, sizes and hashes are in the message and in the result.


class SharedFiles:
    """The run's folder is one that both machines see."""

    def __init__(self, context):
        self.folder = context["shared_storage_path"]
        os.makedirs(self.folder, exist_ok=True)

    def localize(self, value):
        return value

    def give_back(self, output):
        return output

    def close(self):
        pass


class StoredFiles:
    """The files come from the object store and go there."""

    def __init__(self, context, files, log):
        self.files, self.log = files, log
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="onceover-", dir=os.environ.get("ONCEOVER_WORK"))).resolve()
        result = self.work / "result"
        result.mkdir()
        self.folder = str(result)
        self.there = [(context["shared_storage_path"], self.folder)]
        inputs = files.get("inputs") or {}
        self.roots = []
        for number, root in enumerate(inputs.get("roots") or []):
            local = self.work / "inputs" / str(number) / (pathlib.PurePosixPath(root).name or "file")
            local.parent.mkdir(parents=True)
            self.roots.append(local)
            self.there.append((root, str(local)))

    def fetch(self):
        """Fetches the inputs, and checks each by its hash."""
        inputs = self.files.get("inputs") or {}
        listed = inputs.get("files") or []
        wanted = []
        for file in listed:
            root = self.roots[file["root"]]
            wanted.append((inside(root, file["path"]) if file["path"] else root, file))
        are_files = {file["root"] for file in listed if not file["path"]}
        for number, root in enumerate(self.roots):
            if number not in are_files:
                root.mkdir(exist_ok=True)
        total = sum(file["size"] for _, file in wanted)
        if not inputs.get("url"):
            return
        self.log.line(f"fetching {len(wanted)} files, {total} bytes, from the object store")
        try_store("the inputs cannot be fetched", lambda: fetch_once(inputs["url"], wanted))

    def localize(self, value):
        return rename(value, self.there)

    def give_back(self, output):
        """Leaves what the run wrote in the object store. Returns the output with the daemon's paths, and a list of them."""
        found = []
        for folder, _, names in os.walk(self.folder):
            for name in names:
                path = pathlib.Path(folder, name)
                real = path.resolve()
                if real.is_file() and real.is_relative_to(self.folder):
                    found.append(path)
                else:
                    self.log.line(f"{path} is no file of the run, and is left out of its result")
        found.sort()
        listed = [
            {"path": path.relative_to(self.folder).as_posix(), "size": path.stat().st_size, "sha256": hash_of(path)}
            for path in found
        ]
        if listed:
            self.log.line(f"leaving {len(listed)} files, {sum(file['size'] for file in listed)} bytes, in the object store")
            url = (self.files.get("output") or {}).get("url")
            if not url:
                raise Failure("the message does not say where in the object store the result goes")
            try_store("the result cannot be left in the object store", lambda: leave_once(url, found, listed))
        output = rename(output, [(local, there) for there, local in self.there])
        return {**output, FILES_FIELD: listed}

    def close(self):
        shutil.rmtree(self.work, ignore_errors=True)


def rename(value, pairs):
    """The value with every path below one of the folders as a path below its counterpart, the longest folder first."""
    if isinstance(value, str):
        for old, new in sorted(pairs, key=lambda pair: -len(pair[0])):
            if value == old or value.startswith(old + "/"):
                return new + value[len(old) :]
        return value
    if isinstance(value, list):
        return [rename(item, pairs) for item in value]
    if isinstance(value, dict):
        return {name: rename(item, pairs) for name, item in value.items()}
    return value


def try_store(what, action):
    """Does something with the object store, again where it fails for the moment. No error names the URL: it is signed."""
    for attempt in range(1, STORE_TRIES + 1):
        try:
            return action()
        except urllib.error.HTTPError as error:
            why, is_lasting = f"the object store answered {error.code}", error.code < 500 and error.code not in (408, 429)
            if error.code == 403:
                why += "; the signature may be too old, or the clocks of the machines differ"
        except urllib.error.URLError as error:
            why, is_lasting = f"the object store is not reached: {error.reason}", False
        except (OSError, EOFError) as error:
            why, is_lasting = str(error) or type(error).__name__, isinstance(error, FileNotFoundError)
        if is_lasting or attempt == STORE_TRIES:
            raise Failure(f"{what}: {why}")
        time.sleep(2 ** (attempt - 1) / 2)
    return None


def fetch_once(url, wanted):
    with urllib.request.urlopen(url, timeout=STORE_TIMEOUT) as answer:
        for path, file in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            digest, left = hashlib.sha256(), file["size"]
            with open(path, "wb") as into:
                while left:
                    chunk = answer.read(min(CHUNK, left))
                    if not chunk:
                        raise EOFError("the object ended too early")
                    digest.update(chunk)
                    into.write(chunk)
                    left -= len(chunk)
            if digest.hexdigest() != file["sha256"]:
                raise Failure(f"the input {path.name} is not the file that was sent: its hash is another")
        if answer.read(1):
            raise Failure("the object with the inputs is longer than the message says")


class Joined:
    """Several files, read as one."""

    def __init__(self, paths, sizes):
        self.left = collections.deque(zip(paths, sizes))
        self.file, self.rest = None, 0

    def read(self, most=CHUNK):
        while not self.rest:
            self.close()
            if not self.left:
                return b""
            path, self.rest = self.left.popleft()
            self.file = open(path, "rb")
        chunk = self.file.read(min(most if most > 0 else CHUNK, self.rest))
        if not chunk:
            raise EOFError("a file of the result became shorter while it was sent")
        self.rest -= len(chunk)
        return chunk

    def close(self):
        if self.file:
            self.file.close()
            self.file = None


def leave_once(url, paths, listed):
    sizes = [file["size"] for file in listed]
    body = Joined(paths, sizes)
    headers = {"Content-Length": str(sum(sizes)), "Content-Type": "application/octet-stream"}
    request = urllib.request.Request(url, data=body if sum(sizes) else b"", headers=headers, method="PUT")
    try:
        with urllib.request.urlopen(request, timeout=STORE_TIMEOUT) as answer:
            answer.read()
    finally:
        body.close()


# A run.


class Program:
    """A program under its guard. What it prints arrives in `events`."""

    def __init__(self, command, environment, grace, folder):
        self.grace = grace
        self.events = queue.Queue()
        self.channel, theirs = socket.socketpair()
        here = os.path.abspath(__file__)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-S", "-E", here, "guard", str(theirs.fileno()), str(grace), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                cwd=folder,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self.readers = [
            self.read("output", self.process.stdout, OUTPUT_LINE),
            self.read("error", self.process.stderr, ERROR_LINE),
        ]

    def read(self, kind, stream, most):
        def work():
            rest = False
            while line := stream.readline(most):
                if not rest:
                    self.events.put((kind, line.decode("utf-8", "replace")))
                # What is longer is cut.
                rest = not line.endswith(b"\n")
            self.events.put((kind, None))

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    def ask(self, request):
        def work():
            with contextlib.suppress(OSError):
                self.process.stdin.write(request)
                self.process.stdin.flush()
            with contextlib.suppress(OSError):
                self.process.stdin.close()

        threading.Thread(target=work, daemon=True).start()

    def end(self):
        """Has the guard end the program with all its processes."""
        with contextlib.suppress(OSError):
            self.channel.shutdown(socket.SHUT_WR)

    def wait(self):
        """Waits until no process of the program is left. Returns what the guard reports."""
        said = b""
        with contextlib.suppress(OSError):
            while chunk := self.channel.recv(4096):
                said += chunk
        self.process.wait()
        return said.decode("utf-8", "replace").strip()

    def close(self):
        self.end()
        self.wait()
        self.channel.close()
        for thread in self.readers:
            thread.join(1)
        for stream in (self.process.stdout, self.process.stderr):
            stream.close()


class Run:
    """One run of a program, from its request to its output."""

    def __init__(self, program, log, progress, timeout):
        self.program, self.log, self.progress = program, log, progress
        self.ends_at = time.monotonic() + timeout if timeout else math.inf
        self.timeout = timeout
        self.output = self.error = None
        self.last = collections.deque(maxlen=REASON_LINES)
        self.is_late = False

    def follow(self):
        open_streams = 2
        while open_streams:
            wait = self.progress.flush()
            left = self.ends_at - time.monotonic()
            if left <= 0 and not self.is_late:
                self.is_late = True
                self.program.end()
            wait = min(1.0, wait or 1.0, max(0.0, left) if not self.is_late else 1.0)
            try:
                kind, line = self.program.events.get(timeout=wait)
            except queue.Empty:
                continue
            if line is None:
                open_streams -= 1
            elif kind == "output":
                self.take(line.strip())
            else:
                self.log.line(line)
                if line.strip():
                    self.last.append(line.strip())
        self.progress.flush()

    def take(self, line):
        """Takes a line of the program's output."""
        said = None
        if line.startswith("{"):
            try:
                said = json.loads(line)
            except ValueError as error:
                if '"type"' in line:
                    self.log.line(f"a line that is not of the protocol ({error}): {line}")
                    return
        kind = said.get("type") if isinstance(said, dict) else None
        if kind == "progress":
            self.progress.note(said.get("percent"), said.get("message"))
        elif kind == "log":
            self.log.line(str(said.get("message", "")))
        elif kind == "output" and isinstance(said.get("output"), dict):
            self.output = said["output"]
        elif kind == "error":
            self.error = str(said.get("message", "it failed"))
            self.log.line(f"error: {self.error}")
        elif line:
            self.log.line(line)

    def conclude(self, command, ended):
        """The output, or the reason why there is none."""
        reason = f": {' / '.join(self.last)}" if self.last else ""
        what, _, value = ended.partition(" ")
        if self.is_late:
            raise Failure(f"it took longer than {self.timeout:g} s and was ended")
        if what == "error":
            raise Failure(f"{command[0]} cannot be started: {value}")
        if self.error:
            raise Failure(self.error)
        if what != "exit":
            raise Failure(f"{command[0]} ended, and nothing is known of how{reason}")
        code = int(value)
        if code:
            how = f"exit code {code}" if code > 0 else f"signal {-code}"
            raise Failure(f"{command[0]} failed with {how}{reason}")
        if self.output is None:
            raise Failure(
                f"{command[0]} ended without an output line; it must write "
                f'{{"type":"output","output":{{...}}}}{reason}'
            )
        return self.output


def environment_of(names, extra, asked):
    """What the program gets of the environment: what all programs do, and what its node names."""

    def is_wanted(variable):
        return any(
            variable.startswith(name[:-1]) if name.endswith("*") else variable == name for name in (*INHERITED, *names)
        )

    environment = {name: value for name, value in os.environ.items() if is_wanted(name)}
    mark = f"{asked['run_id']}/{asked['attempt']}"
    return {**environment, "PYTHONUNBUFFERED": "1", "ONCEOVER_RUN": mark, **extra}


def run_node(context, asked, log, progress):
    """Runs the node that a context asks for. Returns its output."""
    files = asked.get("files")
    place = StoredFiles(context, files, log) if files else SharedFiles(context)
    program = None
    try:
        command, names, variables = find_command(asked, asked.get("definition"))
        if files:
            place.fetch()
        name = asked["node"]
        stages = {
            stage: record.get("output") or {}
            for stage, record in (context.get("stages") or {}).items()
            if stage != name and record.get("status") == "SUCCESS"
        }
        request = {
            "protocol": PROTOCOL,
            "task_id": context["workflow_id"],
            "task_name": name,
            "run_id": asked["run_id"],
            "attempt": asked["attempt"],
            "input": place.localize(context["input_params"].get("input_data") or {}),
            "stages": place.localize(stages),
            "output_dir": place.folder,
            "uploads": bool(asked.get("uploads")),
        }
        environment = environment_of(names, variables, asked)
        program = Program(command, environment, float(asked.get("grace_seconds") or 3), place.folder)
        # As the daemon writes it: without blanks, which programs in shell look for.
        line = json.dumps(request, ensure_ascii=False, separators=(",", ":"))
        program.ask(line.encode("utf-8", "surrogatepass") + b"\n")
        run = Run(program, log, progress, float(asked.get("timeout_seconds") or 0))
        run.follow()
        output = run.conclude(command, program.wait())
        return place.give_back(output)
    finally:
        if program:
            program.close()
        place.close()


def answer(context, asked, status, output, error, started, log):
    """The context with the stage that has ended. It has neither the programs nor the URLs of the message."""
    answered = copy.copy(context)
    answered["onceover"] = {"version": VERSION, "log": log.lines()}
    answered["stages"] = {
        **(context.get("stages") or {}),
        asked["node"]: {
            "status": status,
            "input_params": context["input_params"].get("input_data") or {},
            "output": output,
            "error": error,
            "duration": round(time.time() - started, 3),
        },
    }
    answered["error"] = error
    return answered


class MessageHold:
    """Keeps a message from being run twice at a time: a broker gives it out again when the worker's connection breaks,
    although its program goes on. The hold is a key beside the results, which its worker renews."""

    def __init__(self, task):
        self.backend, self.id = task.backend, task.request.id
        self.client = getattr(task.backend, "client", None)
        self.is_again = bool((task.request.delivery_info or {}).get("redelivered"))
        self.key, self.holder = f"onceover-run-{self.id}", task.request.hostname
        self.ended = threading.Event()

    def take(self):
        """Waits until no other process runs the message. Returns its result where one has done it meanwhile."""
        while True:
            is_held = self.acquire()
            done = self.read_result() if self.is_again else None
            if done is not None:
                if is_held:
                    self.release()
                return done
            if is_held:
                threading.Thread(target=self.renew, daemon=True).start()
                return None
            self.is_again = True
            time.sleep(HOLD_LOOK)

    def acquire(self):
        if self.client is None:
            return True
        try:
            return bool(self.client.set(self.key, self.holder, nx=True, ex=HOLD_SECONDS))
        except SoftTimeLimitExceeded:
            raise
        except Exception as error:  # A run that may be the second is better than none.
            logger.warning("it is not known whether another process runs %s: %s", self.id, error)
            return True

    def read_result(self):
        try:
            known = self.backend.get_task_meta(self.id, cache=False)
        except SoftTimeLimitExceeded:
            raise
        except Exception as error:  # Then it runs once more.
            logger.warning("it is not known whether a message given out again was done: %s", error)
            return None
        return known.get("result") if known.get("status") == "SUCCESS" else None

    def renew(self):
        while self.client is not None and not self.ended.wait(HOLD_SECONDS / 4):
            with contextlib.suppress(Exception):
                self.client.set(self.key, self.holder, ex=HOLD_SECONDS)

    def release(self):
        self.ended.set()
        if self.client is None:
            return
        try:
            # The result is written after this: those who wait must see it before they take the message.
            self.client.expire(self.key, HOLD_AFTER)
        except SoftTimeLimitExceeded:
            raise
        except Exception as error:  # It expires.
            logger.warning("the hold of %s is not released: %s", self.id, error)


def clear_folder(folder):
    """Removes what a run that was lost has left in the run's folder: all but the daemon's log."""
    if not os.path.isdir(folder):
        return
    for entry in os.scandir(folder):
        if entry.name == LOG_NAME or entry.name.startswith(f"{LOG_NAME}."):
            continue
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            os.unlink(entry.path)


@app.task(bind=True, name="onceover.run")
def run(self, context):
    """Runs the node that the context asks for."""
    started, log = time.time(), Log()
    asked = context.get("onceover")
    if not isinstance(asked, dict) or asked.get("version") != VERSION:
        version = asked.get("version") if isinstance(asked, dict) else None
        asked = {"node": context["input_params"]["task_name"]}
        why = (
            f"this worker knows version {VERSION} of what messages say of a node, and this one has {version}; set worker = "
            '"onceover" for its service, and take the onceover_worker.py that belongs to the daemon'
        )
        return answer(context, asked, "FAILED", {}, why, started, log)
    hold = MessageHold(self)
    done = hold.take()
    if done is not None:
        return done

    def report(meta):
        try:
            self.update_state(state="PROGRESS", meta=meta)
        except SoftTimeLimitExceeded:
            raise
        except Exception as error:  # Redis is unreachable: the result is what counts.
            logger.warning("progress of %s is not reported: %s", asked["node"], error)

    try:
        if hold.is_again and not asked.get("files"):
            clear_folder(context["shared_storage_path"])
        output = run_node(context, asked, log, Progress(report))
    except Failure as error:
        return answer(context, asked, "FAILED", {}, str(error), started, log)
    except OSError as error:
        why = f"the worker {self.request.hostname} cannot run it: {error}"
        return answer(context, asked, "FAILED", {}, why, started, log)
    finally:
        hold.release()
    return answer(context, asked, "SUCCESS", output, None, started, log)
