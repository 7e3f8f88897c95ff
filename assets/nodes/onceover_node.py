"""What the Python programs of nodes have in common: the request, the lines of the command protocol, files of
the run, clear errors. It needs only the standard library; your programs may use it, but need not:

    import onceover_node

    def measure(run):
        sound = run.file("audio_path")
        run.progress(50, "measuring")
        return {"lufs": -23.1}

    onceover_node.main(measure)

While a program runs, everything that libraries print goes to the run's log: only this module writes the protocol.
"""

import ctypes
import importlib
import importlib.util
import json
import os
import pathlib
import signal
import socket
import sys
import threading
import time
import traceback
import urllib.parse

PROTOCOL = 1

# Variables whose values appear in no line of the program.
SECRETS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "PYANNOTEAI_API_KEY")

# Seconds a program gets to unwind after SIGTERM; the daemon kills it soon after (runs.grace).
UNWIND = 1.0

HUB = "https://huggingface.co"


class Failure(Exception):
    """Ends the run as FAILED with this text, which says what was tried, what went wrong and what to do. `limit` is the name
    of the daemon's limit (docs/limits.md) that the input goes over, which the daemon counts."""

    def __init__(self, text, limit=None):
        super().__init__(text)
        self.limit = limit


class Run:
    """One request, and the way back to the daemon."""

    def __init__(self, request, protocol):
        if not isinstance(request, dict) or request.get("protocol") != PROTOCOL:
            raise Failure(f"this program needs a request of protocol {PROTOCOL} on its standard input")
        self.task_id = request.get("task_id", "")
        self.node = request.get("task_name", "")
        # With defaults and values of earlier stages filled in.
        self.input = {name: value for name, value in request.get("input", {}).items() if value is not None}
        # Outputs of the task's successful stages, by node.
        self.stages = request.get("stages", {})
        self.output_dir = pathlib.Path(request.get("output_dir") or ".").resolve()
        # Whether the daemon uploads the result's files to the object store.
        self.uploads = bool(request.get("uploads"))
        self._protocol = protocol
        self._lock = threading.Lock()
        self._warnings = []
        self._facts = {}
        self._told = (-1.0, None)

    def keep(self, key, load):
        """What `load()` returns, which takes long: a model. A program that takes runs one after another keeps it for the
        next run with the same key; `key` is a tuple of what the request says of the model."""
        return load()

    def keeps(self, key):
        """Whether `keep` has something for this key, so that nothing has to be searched or loaded."""
        return False

    def at_end(self, undo):
        """Has `undo()` called when the run ends, if the program goes on after it: for what the run changed of a library."""

    def send(self, line):
        """Writes one line of the protocol."""
        text = redacted(json.dumps(line, ensure_ascii=False, allow_nan=False, default=_plain))
        with self._lock:
            self._protocol.write(text.encode("utf-8", "replace") + b"\n")
            self._protocol.flush()

    def progress(self, percent, message=None):
        """Reports how much is done, 0 to 100. A step back and a repetition are omitted."""
        percent = round(max(min(float(percent), 100.0), self._told[0]), 1)
        if (percent, message) == self._told:
            return
        self._told = (percent, message)
        self.send({"type": "progress", "percent": percent, "message": message})

    def log(self, message):
        """Adds a line to the run's log."""
        self.send({"type": "log", "message": str(message)})

    def warn(self, code, text, retryable=False, **numbers):
        """Adds a reason to doubt the result: a word for programs, a sentence, what was measured, and whether running again
        could help."""
        warning = {"code": code, "text": text, "retryable": retryable}
        self._warnings.append({**warning, "numbers": numbers} if numbers else warning)

    def tell(self, name, value):
        """Adds a field to the output, beside what the program answers."""
        self._facts[name] = value

    def require(self, name):
        """The value of a parameter, which must be there."""
        value = self.input.get(name)
        if value is None or value == "":
            raise Failure(f"input_data.{name} is missing: {self.node} needs it")
        return value

    def choice(self, name, allowed, default=None):
        """The value of a parameter, one of `allowed`."""
        value = self.input.get(name, default)
        if value not in allowed:
            raise Failure(f"input_data.{name} is {value!r}; it must be one of {', '.join(map(str, allowed))}")
        return value

    def file(self, name):
        """The path of an input file, which must be there."""
        path = str(self.require(name))
        if not os.path.isfile(path):
            raise Failure(f"input_data.{name} is '{path}': there is no such file")
        if not os.access(path, os.R_OK):
            raise Failure(f"input_data.{name} is '{path}': the daemon's user may not read it")
        return path

    def path(self, *parts):
        """A path below the run's own folder, whose folders are made. A path that leads out of it is refused."""
        path = self.output_dir.joinpath(*map(str, parts)).resolve()
        if path == self.output_dir or self.output_dir not in path.parents:
            raise Failure(f"'{'/'.join(map(str, parts))}' is not a file below the run's folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write_json(self, value, *parts):
        """Writes a JSON file below the run's folder, whole or not at all. Returns its path."""
        path = self.path(*parts)
        text = json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False, default=_plain)
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            unfinished.write_text(text + "\n", encoding="utf-8", errors="replace")
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
        return str(path)


def main(work):
    """Runs `work(run)`, which returns the stage's output, and ends the program. With ONCEOVER_SERVE=1 it takes runs one
    after another instead."""
    if os.environ.get("ONCEOVER_SERVE", "").strip() == "1":
        importlib.import_module("onceover_serve").serve(work)
    # A copy of standard output that no library knows and no child gets; their output goes to the log.
    protocol = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    request = sys.stdin.buffer.read()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    prepare()
    run = None
    try:
        try:
            request = json.loads(request)
        except ValueError as why:
            raise Failure(f"the request on standard input is not JSON: {why}") from None
        run = Run(request, protocol)
        run.send(output_line(run, work))
        status = 0
    except Exception as error:  # noqa: BLE001, every error is reported
        line = error_line(error)
        if run is None:
            protocol.write(json.dumps(line).encode() + b"\n")
        else:
            run.send(line)
        status = 1
    leave(protocol, status)


def prepare():
    """Sets what libraries find: the end on SIGTERM, the search path, CUDA's libraries, quiet variables."""
    _end_on_sigterm()
    _forget_own_folder()
    _load_cublas()
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TQDM_MININTERVAL", "5")


def output_line(run, work):
    """Does the work; the line with its output."""
    output = {**work(run), **run._facts}
    if run._warnings:
        output = {**output, "warnings": output.get("warnings", []) + run._warnings}
    return {"type": "output", "output": output}


def error_line(error):
    """The line of a failed run. What is no Failure is a fault of the program, and the log has where it was."""
    if not isinstance(error, Failure):
        sys.stderr.write(redacted("".join(traceback.format_exception(type(error), error, error.__traceback__))))
    line = {"type": "error", "message": in_words(error)}
    if getattr(error, "limit", None):
        line["limit"] = error.limit
    return line


def leave(protocol, status):
    """Ends at once: threads that libraries left would keep the program alive."""
    protocol.flush()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass
    os._exit(status)


def _end_on_sigterm():
    """Makes SIGTERM end the program: the work unwinds, and if it is deep inside a library, without it."""
    # The signal's number goes through this pipe even while the main thread is in native code.
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)

    def unwind(number, frame):
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, unwind)

    def watch():
        number = os.read(reader, 1)
        time.sleep(UNWIND)
        os._exit(128 + (number[0] if number else 0))

    threading.Thread(target=watch, daemon=True).start()


def _forget_own_folder():
    """Takes the folder of this module off the search path: the services' folders in it have names of libraries."""
    here = os.path.dirname(os.path.abspath(__file__))
    if here == os.path.dirname(os.path.abspath(sys.argv[0])):
        return
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != here]


def _load_cublas():
    """Loads cuBLAS 12 where a package of the environment has it (nvidia-cublas-cu12), for CTranslate2, which asks for it by
    its bare name. Without the package the machine's is taken."""
    found = importlib.util.find_spec("nvidia")
    if found is None or not cuda_devices():
        return
    for folder in found.submodule_search_locations or ():
        # In this order: the second one needs the first.
        for name in ("libcublasLt.so.12", "libcublas.so.12"):
            path = os.path.join(folder, "cublas", "lib", name)
            if os.path.isfile(path):
                ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)


def cuda_devices():
    """How many CUDA GPUs the driver shows to this program, whatever a library was built for."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def _plain(value):
    """Numbers and arrays of numerical libraries, and paths, as JSON has them."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    for name in ("tolist", "item"):
        if hasattr(value, name):
            return getattr(value, name)()
    raise TypeError(f"{type(value).__name__} is not a value of JSON")


def redacted(text):
    """The text without the values of secret variables."""
    for name in SECRETS:
        secret = os.environ.get(name, "").strip()
        if len(secret) > 3:
            text = text.replace(secret, "***")
    return text


def in_words(error):
    """An exception as the line of a failed stage."""
    if isinstance(error, Failure):
        return str(error)
    name = type(error).__name__
    said = " ".join(str(error).split())[:600]
    if isinstance(error, MemoryError) or "out of memory" in said.lower():
        return (
            "the memory of this machine or of its GPU is too small for this model; take a smaller model, "
            f"or device 'cpu' ({name}: {said})"
        )
    return f"{name}: {said}" if said else name


def library(module, service):
    """Imports a library of the service's environment."""
    try:
        return importlib.import_module(module)
    except ImportError as why:
        raise _no_library(module, service, why) from why


def library_folder(module, service):
    """The folder of a library, found without loading it."""
    spec = importlib.util.find_spec(module)
    # A folder without code is no library.
    if spec is None or spec.origin is None:
        raise _no_library(module, service, "it is not installed")
    return os.path.dirname(spec.origin)


def _no_library(module, service, why):
    return Failure(
        f"the Python library {module} cannot be loaded ({why}); install it with: onceoverd nodes install {service}"
    )


def device(wanted, cuda_is_there):
    """`cuda` or `cpu`, from the parameter `device` (auto, cuda, cpu) and whether the library sees a GPU."""
    if wanted == "auto":
        return "cuda" if cuda_is_there else "cpu"
    if wanted == "cuda" and not cuda_is_there:
        raise Failure(
            "input_data.device is 'cuda', but no CUDA GPU can be used here: take 'cpu' or 'auto', "
            "or check the driver with nvidia-smi"
        )
    if wanted not in ("cuda", "cpu"):
        raise Failure(f"input_data.device is {wanted!r}; it must be one of auto, cuda, cpu")
    return wanted


def token(variable, why, source):
    """A secret from the environment, which is the only source of secrets."""
    value = os.environ.get(variable, "").strip()
    if not value:
        raise Failure(f"{why}: set {variable} in the daemon's environment ({source}) and restart it")
    return value


def models_folder():
    """The folder of models that were put on this machine by hand."""
    given = os.environ.get("ONCEOVER_MODELS", "").strip()
    if given:
        return pathlib.Path(given).expanduser().resolve()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return pathlib.Path(cache).expanduser().resolve() / "onceover" / "models"


def local_model(name):
    """The folder of a model below the models folder, by its name or absolute path; None if there is none. A
        path to elsewhere is refused: requests name models, and files of models can contain code."""
    root = models_folder()
    path = (root / name).resolve()
    if root == path or root not in path.parents:
        if os.path.isabs(name) or ".." in pathlib.PurePath(name).parts:
            raise Failure(
                f"the model '{name}' is not below the models folder {root}; ONCEOVER_MODELS names another one"
            )
        return None
    return path if path.exists() else None


def model(name, owners=None):
    """A model's folder below the models folder, else its name for the library to fetch. With `owners`, a name
    that a hub knows (`owner/name`) must be of one of them, as its files can carry code."""
    found = local_model(name)
    if found is not None:
        return str(found)
    owner = name.split("/")[0] if "/" in name else None
    if owner is not None and owners is not None and owner not in owners and not remote_code_is_trusted():
        raise Failure(
            f"the model '{name}' is of none of {', '.join(owners)}, and its files can carry code; put it below "
            f"{models_folder()}, or let the operator set ONCEOVER_TRUST_REMOTE_CODE=1"
        )
    return name


def remote_code_is_trusted():
    """The operator's setting; no request can turn it on."""
    return os.environ.get("ONCEOVER_TRUST_REMOTE_CODE", "").strip() == "1"


def offline_without_hub(run, hub=None, seconds=3.0):
    """Checks whether the model hub answers. If not, libraries are set to use models of this machine alone, so that
    they fail at once instead of trying again for minutes. Must be called before they are imported. Returns whether
    the hub answers."""
    if is_offline():
        return False
    proxies = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
    if any(os.environ.get(name) for name in proxies):
        return True
    address = urllib.parse.urlsplit(hub or os.environ.get("HF_ENDPOINT") or HUB)
    answers = []

    def ask():
        port = address.port or (80 if address.scheme == "http" else 443)
        try:
            socket.create_connection((address.hostname or "", port), seconds).close()
            answers.append(None)
        except OSError as why:
            answers.append(why)

    # In a thread, since resolving a name has no time limit.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(seconds)
    why = answers[0] if answers else f"no answer in {seconds:g} s"
    if why is None:
        return True
    run.log(f"{address.hostname} cannot be reached ({why}): only models on this machine are used")
    set_offline()
    return False


def fetched(load, *names, how=None):
    """Returns what `load` returns, which may fetch models from the Hugging Face hub. A failure says how to get them: `how`,
    where their names alone do not say it."""
    try:
        return load()
    except Exception as error:
        kinds = {kind.__name__ for why in causes(error) for kind in type(why).__mro__}
        models = "the model " + " or ".join(f"'{name}'" for name in names)
        if "GatedRepoError" in kinds:
            raise Failure(
                f"{models} is given only to accounts that accepted its conditions: accept them at {HUB}/{names[0]}, make "
                f"a token at {HUB}/settings/tokens, set HF_TOKEN in the daemon's environment and restart it"
            ) from error
        if "RepositoryNotFoundError" in kinds:
            raise Failure(f"the hub has no {models}, or HF_TOKEN may not see it") from error
        if kinds & HUB_ERRORS or any("offline mode" in str(why).lower() for why in causes(error)):
            raise Failure(f"{models} is not on this machine and cannot be fetched: {how or fetch_in_words(*names)}") from error
        raise


def hub_folders(run, names, service, owners=None, more=()):
    """The folders of models, in the order of their names: below the models folder, or of the Hugging Face hub, fetched if
    they are not on this machine. `more` names models that the library itself fetches. Only if nothing of them all is the
    hub's are libraries kept from asking it. Must be called before libraries that ask the hub are imported."""
    folders = [model(name, owners) for name in names]
    missing = [name for name, folder in zip(names, folders, strict=True) if folder == name]
    if not missing and not more:
        set_offline()
        return folders
    offline_without_hub(run)
    if missing:
        hub = library("huggingface_hub", service)
    for at, name in enumerate(names):
        if name in missing:
            run.progress(0, f"looking for {name}")
            folders[at] = fetched(lambda name=name: hub.snapshot_download(name), name)
    return folders


def is_offline():
    """Whether libraries are kept from asking the hub."""
    return os.environ.get("HF_HUB_OFFLINE", "").strip().upper() in ("1", "TRUE", "YES", "ON")


def set_offline():
    """Keeps libraries from asking the hub. They read this when they are imported."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TRANSFORMERS_OFFLINE"] = "1"


# Classes of huggingface_hub and of what it calls, for a file that is not here and cannot be fetched.
HUB_ERRORS = {"LocalEntryNotFoundError", "OfflineModeIsEnabled", "HfHubHTTPError", "ConnectionError", "TransportError"}


def causes(error):
    """The exception and its causes."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def fetch_in_words(*names):
    """Says how models of the Hugging Face hub are put on a machine."""
    command = os.path.join(os.path.dirname(sys.executable), "hf")
    words = "where there is a network, run: " + "; ".join(f"{command} download {name}" for name in names)
    if len(names) > 1:
        return f"{words}; on another machine, then bring its folder of models (HF_HOME) here"
    return f"{words}; on another machine add --local-dir FOLDER, bring FOLDER into {models_folder()} here, and send its name"
