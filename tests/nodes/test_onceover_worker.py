"""The worker for machines without the daemon: what it makes of messages, and that nothing outlives a run."""

import base64
import hashlib
import http.server
import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
import types
import unittest
from unittest import mock

WORKER = pathlib.Path(__file__).resolve().parents[2] / "assets" / "celery" / "onceover_worker.py"


def load():
    """The worker as a module. Celery is not needed for what is tested here: its task is a plain function."""

    class App:
        def __init__(self, *_):
            self.conf = {}

        def task(self, **_):
            return lambda function: function

    celery = types.ModuleType("celery")
    celery.Celery = App
    exceptions = types.ModuleType("celery.exceptions")
    exceptions.SoftTimeLimitExceeded = type("SoftTimeLimitExceeded", (Exception,), {})
    log = types.ModuleType("celery.utils.log")
    log.get_task_logger = lambda _: mock.Mock()
    stubs = {"celery": celery, "celery.exceptions": exceptions, "celery.utils": types.ModuleType("celery.utils")}
    with mock.patch.dict(sys.modules, {**stubs, "celery.utils.log": log}):
        spec = importlib.util.spec_from_file_location("onceover_worker", WORKER)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


worker = load()


def programs(files):
    """Programs as a message brings them, by their paths."""
    listed = []
    for path, text in files.items():
        data = text.encode()
        listed.append(
            {
                "path": path,
                "sha256": hashlib.sha256(data).hexdigest(),
                "mode": 0o755,
                "data": base64.b64encode(data).decode(),
            }
        )
    text = "".join(f"{file['path']}\0{file['sha256']}\0{file['mode']}\n" for file in listed)
    return {"sha256": hashlib.sha256(text.encode()).hexdigest(), "files": listed}


class Store:
    """An object store that knows no signatures: objects by path."""

    def __init__(self):
        self.objects, self.refusals = {}, []
        store = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = store.objects.get(self.path)
                if store.refusals:
                    self.send_error(store.refusals.pop())
                elif body is None:
                    self.send_error(404)
                else:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def do_PUT(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if store.refusals:
                    self.send_error(store.refusals.pop())
                    return
                store.objects[self.path] = body
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, name):
        return f"http://127.0.0.1:{self.server.server_port}/{name}?signature=secret"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Keys:
    """The few calls of a Redis client that the worker needs."""

    def __init__(self):
        self.keys = {}

    def set(self, key, value, nx=False, ex=None):
        if nx and key in self.keys:
            return None
        self.keys[key] = value
        return True

    def expire(self, key, _):
        self.keys.pop(key, None)


class WorkerTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name).resolve()
        self.reports = []
        self.delivery = {}
        self.stored = {}
        self.keys = Keys()
        (self.dir / "work").mkdir()
        variables = {
            "ONCEOVER_CACHE": str(self.dir / "cache"),
            "ONCEOVER_WORK": str(self.dir / "work"),
            "NO_PROXY": "127.0.0.1",
            "SECRET_OF_THE_WORKER": "secret",
        }
        patched = mock.patch.dict(os.environ, variables)
        patched.start()
        self.addCleanup(patched.stop)
        for name in ("ONCEOVER_NODES", "ONCEOVER_SHIPPED", "ONCEOVER_ENVIRONMENTS"):
            os.environ.pop(name, None)

    def context(self, definition, input_data=None, **asked):
        return {
            "workflow_id": "t1",
            "input_params": {"task_name": "mine.node", "input_data": input_data or {}, "callback_url": None},
            "stages": {
                "other.node": {"status": "SUCCESS", "output": {"n": 1}},
                "mine.node": {"status": "pending", "output": {}},
            },
            "shared_storage_path": str(self.dir / "share" / "run"),
            "onceover": {
                "version": 1,
                "node": "mine.node",
                "run_id": "r1",
                "attempt": 1,
                "definition": definition,
                "timeout_seconds": 30,
                "grace_seconds": 1,
                **asked,
            },
        }

    def run_task(self, context):
        def update_state(state, meta):
            self.assertEqual(state, "PROGRESS")
            self.reports.append(meta)

        task = types.SimpleNamespace(
            update_state=update_state,
            request=types.SimpleNamespace(id="m1", hostname="w1@test", delivery_info=self.delivery),
            backend=types.SimpleNamespace(get_task_meta=lambda _, cache: self.stored, client=self.keys),
        )
        return worker.run(task, context)

    def shell(self, script, input_data=None, **asked):
        definition = {"runner": {"command": ["sh", {"file": "run.sh"}]}, "programs": programs({"run.sh": script})}
        return self.run_task(self.context(definition, input_data, **asked))

    def stage(self, answered):
        return answered["stages"]["mine.node"]

    def error(self, script, **asked):
        stage = self.stage(self.shell(script, **asked))
        self.assertEqual(stage["status"], "FAILED", stage)
        return stage["error"]

    def assert_ended(self, pid):
        until = time.monotonic() + 10
        while time.monotonic() < until:
            try:
                state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                return
            if state == "Z":
                return
            time.sleep(0.02)
        self.fail(f"process {pid} is still there")

    def test_a_program_gets_the_request_and_its_output_is_the_stages(self):
        answered = self.shell(
            'read request; echo hello; echo trouble >&2; echo "{\\"type\\":\\"log\\",\\"message\\":\\"a line\\"}"\n'
            'echo "{\\"type\\":\\"output\\",\\"output\\":{\\"request\\":$request,\\"secret\\":\\"$SECRET_OF_THE_WORKER\\"}}"',
            {"text": "ä", "n": 1},
        )
        stage = self.stage(answered)
        self.assertEqual(stage["status"], "SUCCESS", stage)
        self.assertEqual(
            stage["output"]["request"],
            {
                "protocol": 1,
                "task_id": "t1",
                "task_name": "mine.node",
                "run_id": "r1",
                "attempt": 1,
                "input": {"text": "ä", "n": 1},
                "stages": {"other.node": {"n": 1}},
                "output_dir": str(self.dir / "share" / "run"),
                "uploads": False,
            },
        )
        self.assertEqual(stage["output"]["secret"], "", "only what the node names")
        self.assertEqual(answered["stages"]["other.node"]["output"], {"n": 1})
        self.assertLessEqual({"hello", "trouble", "a line"}, set(answered["onceover"]["log"]))
        self.assertNotIn("definition", answered["onceover"])

    def test_the_request_is_written_as_the_daemon_does(self):
        script = 'read request; case $request in *\'"text":"ä b"\'*) echo \'{"type":"output","output":{}}\' ;; esac'
        self.assertEqual(self.stage(self.shell(script, {"text": "ä b"}))["status"], "SUCCESS")

    def test_progress_never_goes_back_and_comes_a_few_times_a_second(self):
        lines = "".join(f'echo \'{{"type":"progress","percent":{p},"message":"at {p}"}}\'\n' for p in [10, 50, 20, -3])
        self.shell(lines + "sleep 0.4; " + 'echo \'{"type":"output","output":{}}\'')
        self.assertEqual(self.reports[0], {"percent": 10.0, "message": "at 10"})
        self.assertEqual(self.reports[-1], {"percent": 50.0, "message": "at -3"})
        self.assertLess(len(self.reports), 4)

    def test_a_failure_has_the_reason_that_the_program_gives(self):
        output = 'echo \'{"type":"output","output":{"n":1}}\''
        self.assertEqual(self.error('echo \'{"type":"error","message":"no model"}\'; ' + output), "no model")
        error = self.error("echo first >&2; echo second >&2; exit 7")
        self.assertTrue("exit code 7" in error and error.endswith("first / second"), error)
        self.assertIn("signal 9", self.error("kill -9 $$"))
        self.assertIn("without an output line", self.error("echo done"))
        self.assertIn("exit code 1", self.error(output + "; exit 1"))
        missing = {"runner": {"command": ["no-such-program"]}, "programs": programs({})}
        self.assertIn("cannot be started", self.stage(self.run_task(self.context(missing)))["error"])
        self.assertIn("this one has None", self.stage(self.run_task({**self.context({}), "onceover": None}))["error"])

    def test_a_run_that_takes_too_long_is_ended_with_all_its_processes(self):
        script = f"setsid sleep 300 & echo $! > {self.dir}/pid; sleep 300"
        self.assertIn("longer than 0.5 s", self.error(script, timeout_seconds=0.5))
        self.assert_ended(int((self.dir / "pid").read_text()))

    def test_nothing_outlives_a_run_that_ends_well(self):
        script = f"setsid sleep 300 >/dev/null 2>&1 & echo $! > {self.dir}/pid\n" + 'echo \'{"type":"output","output":{}}\''
        self.assertEqual(self.stage(self.shell(script))["status"], "SUCCESS")
        self.assert_ended(int((self.dir / "pid").read_text()))

    def test_nothing_outlives_a_worker_that_is_killed(self):
        script = f"trap '' TERM; echo $$ > {self.dir}/pid; while :; do sleep 0.1; done"
        code = (
            "import importlib.util, json, sys; sys.path.insert(0, sys.argv[1])\n"
            "import test_onceover_worker as t\n"
            "p = t.worker.Program(['sh', '-c', sys.argv[2]], None, 0.2, '/')\n"
            "p.ask(b'{}'); p.wait()\n"
        )
        tests = str(pathlib.Path(__file__).parent)
        process = subprocess.Popen([sys.executable, "-c", code, tests, script], start_new_session=True)
        pid = self.dir / "pid"
        until = time.monotonic() + 20
        while not (pid.exists() and pid.read_text().strip()):
            self.assertLess(time.monotonic(), until, "the program begins")
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        self.assert_ended(int(pid.read_text()))

    def test_programs_are_unpacked_once_and_checked_by_their_hash(self):
        script = 'echo "{\\"type\\":\\"output\\",\\"output\\":{\\"at\\":\\"$0\\"}}"'
        at = pathlib.Path(self.stage(self.shell(script))["output"]["at"])
        self.assertEqual(at.parent.parent, self.dir / "cache")
        kept = at.stat().st_ino
        self.shell(script)
        self.assertEqual(at.stat().st_ino, kept)
        # One that was changed gives way to the one that was sent.
        at.write_text("exit 1")
        self.assertEqual(self.stage(self.shell(script))["status"], "SUCCESS")
        for change in ({"data": base64.b64encode(b"exit 0").decode()}, {"path": "../run.sh"}, {"sha256": "0" * 64}):
            sent = programs({"run.sh": script + " # another"})
            sent["files"][0].update(change)
            definition = {"runner": {"command": ["sh", {"file": "run.sh"}]}, "programs": sent}
            self.assertEqual(self.stage(self.run_task(self.context(definition)))["status"], "FAILED", change)
        self.assertFalse((self.dir / "run.sh").exists())

    def test_a_python_node_finds_what_its_programs_share(self):
        main = "import shared, json; print(json.dumps({'type': 'output', 'output': {'n': shared.N}}))"
        sent = programs({"mine/main.py": main, "shared.py": "N = 5"})
        definition = {"runner": {"python": "mine/main.py"}, "programs": sent}
        self.assertEqual(self.stage(self.run_task(self.context(definition)))["output"], {"n": 5})

    def test_a_python_node_runs_in_the_environment_of_its_programs_folder(self):
        python = self.dir / "environments" / "other" / "venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text("#!/bin/sh\necho '{\"type\":\"output\",\"output\":{\"of\":\"other\"}}'\n")
        python.chmod(0o755)
        definition = {"runner": {"python": "other/main.py"}, "programs": programs({"other/main.py": ""})}
        with mock.patch.dict(os.environ, {"ONCEOVER_ENVIRONMENTS": str(self.dir / "environments")}):
            self.assertEqual(self.stage(self.run_task(self.context(definition)))["output"], {"of": "other"})

    @unittest.skipIf(sys.version_info < (3, 11), "node files need tomllib")
    def test_with_a_folder_of_nodes_only_these_are_run(self):
        nodes = self.dir / "nodes"
        nodes.mkdir()
        os.environ["ONCEOVER_NODES"] = str(nodes)
        self.assertIn("runs only nodes of", self.error("exit 0"))
        (nodes / "mine.toml").write_text("name = 'mine.node'\nrunner = { command = ['sh', './own.sh'] }")
        (nodes / "own.sh").write_text('echo \'{"type":"output","output":{"own":true}}\'')
        self.assertEqual(self.stage(self.shell("exit 1"))["output"], {"own": True})
        (nodes / "mine.toml").unlink()
        os.environ["ONCEOVER_SHIPPED"] = "accept"
        self.assertEqual(self.stage(self.shell('echo \'{"type":"output","output":{}}\''))["status"], "SUCCESS")

    def stored_files(self, store, body=b"one" + b"two!"):
        store.objects["/in?signature=secret"] = body
        hashes = [hashlib.sha256(part).hexdigest() for part in (b"one", b"two!")]
        return {
            "inputs": {
                "url": store.url("in"),
                "roots": ["/srv/films/a.txt", "/srv/frames"],
                "files": [
                    {"root": 0, "path": "", "size": 3, "sha256": hashes[0]},
                    {"root": 1, "path": "deep/b.txt", "size": 4, "sha256": hashes[1]},
                ],
            },
            "output": {"url": store.url("out")},
        }

    COPY = """
import json, pathlib, sys
request = json.load(sys.stdin)
out = pathlib.Path(request["output_dir"])
(out / "d").mkdir()
(out / "d" / "a.txt").write_text(pathlib.Path(request["input"]["text_path"]).read_text() * 2)
(out / "b.txt").write_text((pathlib.Path(request["input"]["frames"]) / "deep/b.txt").read_text())
(out / "empty").touch()
(out / "passwd").symlink_to("/etc/passwd")
output = {"path": str(out / "d" / "a.txt"), "all": [str(out / "b.txt")], "from": request["input"]["text_path"]}
print(json.dumps({"type": "output", "output": output}))
"""

    def copy(self, store, **more):
        sent = programs({"copy.py": self.COPY})
        definition = {"runner": {"command": [sys.executable, {"file": "copy.py"}]}, "programs": sent}
        asked = {"text_path": "/srv/films/a.txt", "frames": "/srv/frames"}
        return self.run_task(self.context(definition, asked, files=self.stored_files(store, **more)))

    def test_files_come_from_the_object_store_and_go_there_with_their_hashes(self):
        store = Store()
        self.addCleanup(store.close)
        store.refusals = [503, 503]
        answered = self.copy(store)
        stage = self.stage(answered)
        self.assertEqual(stage["status"], "SUCCESS", stage)
        share = self.dir / "share" / "run"
        self.assertEqual(stage["output"]["path"], str(share / "d" / "a.txt"))
        self.assertEqual(stage["output"]["all"], [str(share / "b.txt")])
        self.assertEqual(stage["output"]["from"], "/srv/films/a.txt")
        listed = stage["output"]["onceover_files"]
        self.assertEqual([(file["path"], file["size"]) for file in listed], [("b.txt", 4), ("d/a.txt", 6), ("empty", 0)])
        self.assertEqual(store.objects["/out?signature=secret"], b"two!oneone")
        self.assertEqual(listed[1]["sha256"], hashlib.sha256(b"oneone").hexdigest())
        self.assertNotIn("signature", json.dumps(answered))
        self.assertFalse(share.exists(), "no shared folder is used")
        self.assertEqual(list((self.dir / "work").iterdir()), [], "nothing is left behind")

    def test_an_input_that_is_another_and_a_store_that_refuses_are_failures_that_name_no_url(self):
        store = Store()
        self.addCleanup(store.close)
        for body, named in ((b"eno" + b"two!", "its hash is another"), (b"one", "too early"), (b"onetwo!!", "longer")):
            with mock.patch.object(worker.time, "sleep"):
                error = self.stage(self.copy(store, body=body))["error"]
            self.assertIn(named, error)
        store.refusals = [403]
        error = self.stage(self.copy(store))["error"]
        self.assertIn("answered 403", error)
        self.assertNotIn("signature=", error)
        self.assertEqual(list((self.dir / "work").iterdir()), [])

    def test_a_message_that_is_given_out_again_is_not_done_twice(self):
        self.delivery, self.stored = {"redelivered": True}, {"status": "SUCCESS", "result": {"done": 1}}
        self.assertEqual(self.shell("exit 1"), {"done": 1})
        self.stored = {"status": "STARTED", "result": {}}
        folder = self.dir / "share" / "run"
        (folder / "old").mkdir(parents=True)
        (folder / "run.log").touch()
        self.assertIn("exit code 1", self.error("exit 1"))
        # What the lost run has left is no part of the new one's result.
        self.assertEqual([path.name for path in folder.iterdir()], ["run.log"])

    def test_a_message_that_is_given_out_again_waits_for_the_process_that_runs_it(self):
        self.delivery, self.stored = {"redelivered": True}, {"status": "STARTED", "result": {}}
        self.keys.keys["onceover-run-m1"] = "another"

        def look(_):
            # The other one ends while this one waits.
            self.stored = {"status": "SUCCESS", "result": {"done": 1}}

        with mock.patch.object(worker.time, "sleep", look):
            self.assertEqual(self.shell("exit 1"), {"done": 1})
        self.assertEqual(self.keys.keys, {"onceover-run-m1": "another"})

        def lose(_):
            # Or it is lost, and its hold expires.
            self.stored = {"status": "STARTED", "result": {}}
            self.keys.keys.clear()

        self.stored = {"status": "STARTED", "result": {}}
        with mock.patch.object(worker.time, "sleep", lose):
            self.assertIn("exit code 1", self.error("exit 1"))
        self.assertEqual(self.keys.keys, {}, "it is released")

    def test_a_long_log_has_its_beginning_and_its_end(self):
        log = worker.Log()
        for number in range(20000):
            log.line(f"line {number}\n")
        lines = log.lines()
        self.assertEqual((lines[0], lines[-1]), ("line 0", "line 19999"))
        self.assertTrue(any("are left out" in line for line in lines))
        self.assertLess(sum(map(len, lines)), 150_000)


if __name__ == "__main__":
    unittest.main()
