"""The loop of a program that takes runs one after another and keeps its model between them. `onceover_node.main` calls it
where ONCEOVER_SERVE is 1; docs/writing-a-node.md has the protocol. Only the standard library.

The reader of standard input is a thread; runs and models belong to the main thread alone. A run is stopped where it
reports progress, so that libraries are left in order and the model can be used again. A program deep inside a library
hears nothing of it: then SIGTERM ends the whole process, as it ends a program of one run."""

import contextlib
import gc
import json
import os
import queue
import sys
import threading

import onceover_node

# Set while a model is loaded: the daemon ends the processes that a run leaves, but those that have this variable.
KEPT = "ONCEOVER_KEPT"

# The process ends with this code when it may not go on after a run: its GPU or its memory is not in order.
SPENT = 3


class Stopped(BaseException):
    """Ends a run that was asked to stop. No Exception, so that no library takes it for one of its errors."""


class Kept:
    """What runs keep for those after them: one model, since another one would need its memory."""

    def __init__(self):
        self.key, self.value = None, None

    def drop(self):
        self.key, self.value = None, None
        free_memory()

    def has(self, key):
        return self.value is not None and self.key == key

    def get(self, key, load):
        if not self.has(key):
            self.drop()
            os.environ[KEPT] = "1"
            try:
                self.value = load()
            finally:
                del os.environ[KEPT]
            self.key = key
        return self.value


class ServedRun(onceover_node.Run):
    """A run of such a program. Its lines name it."""

    def __init__(self, request, server):
        super().__init__(request, server.protocol)
        self.run_id = request["run_id"]
        self._server = server
        self._undo = contextlib.ExitStack()

    def send(self, line):
        super().send({"run_id": self.run_id, **line})

    def progress(self, percent, message=None):
        # Only the main thread can be stopped here; of another one an exception would go nowhere.
        if threading.current_thread() is threading.main_thread() and self._server.is_stopped(self.run_id):
            raise Stopped
        super().progress(percent, message)

    def keep(self, key, load):
        return self._server.kept.get(key, load)

    def keeps(self, key):
        return self._server.kept.has(key)

    def at_end(self, undo):
        self._undo.callback(undo)

    def restore(self):
        self._undo.close()


class Server:
    """Takes requests, runs them in their order, and answers."""

    def __init__(self, work, requests, protocol):
        self.work = work
        self.protocol = protocol
        self.kept = Kept()
        self._requests = requests
        self._lock = threading.Lock()
        self._waiting = queue.SimpleQueue()
        # Runs that were asked to stop and have not ended.
        self._stopped, self._open = set(), set()

    def read(self):
        """Puts what comes on standard input in order, until it is closed. None is the end, text a fault of the sender."""
        for line in self._requests:
            if not line.strip():
                continue
            try:
                message = json.loads(line)
                run_id = message["run_id"]
                if not isinstance(run_id, str) or not run_id:
                    raise ValueError("run_id is no text")
            except (ValueError, TypeError, KeyError) as why:
                self._waiting.put(f"a line on standard input is no message with a run_id: {onceover_node.in_words(why)}")
                return
            if message.get("type", "run") == "stop":
                self._stop(run_id)
            elif message.get("type", "run") == "run":
                with self._lock:
                    self._open.add(run_id)
                self._waiting.put(message)
            # Messages of other types are of later versions.
        self._waiting.put(None)

    def _stop(self, run_id):
        with self._lock:
            # A run that has ended, or is not known, has nothing to stop.
            if run_id in self._open:
                self._stopped.add(run_id)

    def is_stopped(self, run_id):
        with self._lock:
            return run_id in self._stopped

    def _forget(self, run_id):
        with self._lock:
            self._open.discard(run_id)
            self._stopped.discard(run_id)

    def send(self, line):
        text = onceover_node.redacted(json.dumps(line, ensure_ascii=False))
        self.protocol.write(text.encode("utf-8", "replace") + b"\n")
        self.protocol.flush()

    def serve(self):
        """Runs what comes; the exit code."""
        self.send({"type": "ready", "protocol": onceover_node.PROTOCOL})
        while (message := self._waiting.get()) is not None:
            if isinstance(message, str):
                self.send({"type": "error", "message": message})
                return 2
            ended, usable = self.run(message)
            run_id = message["run_id"]
            free_memory()
            # In the log, lines of the next run come after this one.
            sys.stderr.write(json.dumps({"type": "ended", "run_id": run_id}) + "\n")
            sys.stderr.flush()
            self._forget(run_id)
            self.send({
                "type": "ended",
                "run_id": run_id,
                "end": ended,
                "usable": usable,
                "keeps": self.kept.value is not None,
                **memory(),
            })
            if not usable:
                return SPENT
        return 0

    def run(self, request):
        """One run: how it ended, and whether the process may go on."""
        if self.is_stopped(request["run_id"]):
            return "stopped", True
        variables = dict(os.environ)
        folder = os.getcwd()
        run = None
        try:
            run = ServedRun(request, self)
            # What a library leaves where it works goes with the run.
            os.chdir(run.output_dir)
            run.send(onceover_node.output_line(run, self.work))
            return "success", True
        except Stopped:
            return "stopped", True
        except Exception as error:  # noqa: BLE001, every error is reported
            self.send({**onceover_node.error_line(error), "run_id": request["run_id"]})
            usable = not any(is_of_the_machine(why) for why in onceover_node.causes(error))
            if not (usable and isinstance(error, onceover_node.Failure)):
                # The model may be in any state.
                self.kept.drop()
            return "failed", usable
        finally:
            if run is not None:
                run.restore()
            os.chdir(folder)
            restore_environment(variables)


def is_of_the_machine(error):
    """Whether an error leaves the process without a usable GPU, or short of memory that it will not get back."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, onceover_node.Failure):
        # Its text is for people, and can name a GPU that is not there.
        return False
    said = f"{type(error).__name__} {error}".lower()
    return any(word in said for word in ("out of memory", "cuda", "cublas", "cudnn"))


def restore_environment(variables):
    """Sets the variables as they were before a run; libraries that were kept from asking the hub may ask it again."""
    for name in set(os.environ) - set(variables):
        del os.environ[name]
    os.environ.update(variables)
    if onceover_node.is_offline():
        return
    # They have read it when they were imported.
    for module, name in (("huggingface_hub.constants", "HF_HUB_OFFLINE"), ("transformers.utils.hub", "_is_offline_mode")):
        if getattr(sys.modules.get(module), name, False) is True:
            setattr(sys.modules[module], name, False)


def free_memory():
    """Gives back what no one uses: of this process, and what libraries hold of the GPU's memory for later."""
    gc.collect()
    torch = sys.modules.get("torch")
    with contextlib.suppress(Exception):
        if torch is not None and torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def memory():
    """The bytes that the process has: of the machine's memory, and of the GPU's where the library counts them."""
    found = {}
    with contextlib.suppress(OSError, ValueError, IndexError):
        with open("/proc/self/statm", encoding="ascii") as file:
            found["memory"] = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    torch = sys.modules.get("torch")
    with contextlib.suppress(Exception):
        if torch is not None and torch.cuda.is_initialized():
            found["gpu_memory"] = torch.cuda.memory_reserved()
    return found


def serve(work):
    """Takes runs on standard input until it is closed, and ends the program."""
    protocol = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests = os.fdopen(os.dup(0), "rb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    onceover_node.prepare()
    server = Server(work, requests, protocol)
    threading.Thread(target=server.read, daemon=True).start()
    try:
        status = server.serve()
    except BrokenPipeError:
        # Nobody reads the answers any more, and what is not written yet cannot be.
        os._exit(1)
    onceover_node.leave(protocol, status)
