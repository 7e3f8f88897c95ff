"""A daemon that is asked over HTTP, and a language model for it. Only the standard library."""

import http.server
import json
import os
import pathlib
import subprocess
import threading
import time
import urllib.error
import urllib.request

LISTENS = "onceoverd listens on http://127.0.0.1:"
# Seconds until it is ready, until a stage ends, and between two questions.
STARTS, LONGEST, EVERY = 60, 900, 0.1


class NotReady(Exception):
    """What a node lacks on this machine, in the words of the daemon."""


class Failed(Exception):
    """Why a stage failed, or why a request was refused."""


class ServedDaemon:
    """Runs until the context ends. Its files are below a folder."""

    def __init__(self, program, folder, config, media, **variables):
        self.folder = pathlib.Path(folder)
        path = self.folder / "onceover.toml"
        path.write_text(config, encoding="utf-8")
        self.log = (self.folder / "daemon.log").open("wb+")
        command = [program, "--listen", "127.0.0.1:0", "--data", self.folder / "data", "--config", path]
        for root in media:
            command += ["--media-root", root]
        environment = {**os.environ, "NO_PROXY": "127.0.0.1", "HF_HUB_OFFLINE": "1", **variables}
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=environment
        )

    def __enter__(self):
        end = time.monotonic() + STARTS
        while time.monotonic() < end and self.process.poll() is None:
            said = (self.folder / "daemon.log").read_text(errors="replace")
            if LISTENS in said:
                self.address = "http://127.0.0.1:" + said.split(LISTENS)[1].split(";")[0]
                if self.is_ready():
                    return self
            time.sleep(EVERY)
        self.__exit__()
        raise AssertionError(f"onceoverd does not get ready: {(self.folder / 'daemon.log').read_text(errors='replace')}")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(STARTS)
        self.log.close()

    def is_ready(self):
        try:
            return self.call("GET", "/readyz") is not None
        except (OSError, Failed):
            return False

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.address + path, data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as why:
            problem = json.loads(why.read() or b"{}")
            kind = NotReady if why.code == 409 else Failed
            raise kind(problem.get("detail") or problem.get("title") or str(why)) from None

    def nodes(self):
        return self.call("GET", "/v1/nodes")["nodes"]

    def run(self, task, node, **input_data):
        """Runs a node to its end: its output, and the seconds that it took."""
        self.call("POST", "/v1/tasks", {"task_id": task, "task_name": node, "input_data": input_data})
        begun = time.monotonic()
        while time.monotonic() < begun + LONGEST:
            answer = self.call("GET", f"/v1/tasks/{task}/status?task_name={node}")
            if answer["status"] == "completed":
                return answer["output"], answer["duration"]
            if answer["status"] in ("failed", "cancelled"):
                raise Failed(answer["error"] or answer["status"])
            time.sleep(EVERY)
        raise Failed(f"it has not ended after {LONGEST} s")


class Translator(http.server.ThreadingHTTPServer):
    """A language model behind the API of OpenAI that knows some lines, and repeats all others. It is a part of the test: what
    a real one makes of a line is not judged here."""

    def __init__(self, known):
        self.known = {letters(line): translated for line, translated in known.items()}
        super().__init__(("127.0.0.1", 0), Completion)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def config(self):
        """The language model of a daemon's configuration."""
        url = f"http://127.0.0.1:{self.server_port}/v1"
        return f"[llm]\nprovider = 'local'\n[llm.providers.local]\nurl = '{url}'\nmodel = 'lines-of-the-test'\nkey_env = ''\n"

    def reply(self, question):
        """Lines of four columns, `key | seconds | budget | text`, as `key | text`; any other text as it is."""
        lines = [line.split(" | ", 3) for line in question.splitlines()]
        lines = [line for line in lines if len(line) == 4 and line[0].isdecimal()]
        if not lines:
            return question
        return "\n".join(f"{key} | {self.known.get(letters(text), text)}" for key, _, _, text in lines)


class Completion(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = next(one["content"] for one in asked["messages"] if one["role"] == "user")
        message = {"role": "assistant", "content": self.server.reply(question)}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        body = json.dumps(
            {"id": "1", "object": "chat.completion", "model": asked["model"], "choices": choices, "usage": usage}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def letters(text):
    """Letters and digits alone, by which readings are compared."""
    return "".join(sign for sign in text.lower() if sign.isalnum())
