"""The shared module of the programs: what reaches the daemon, whatever a library does."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import unittest
import unittest.mock

from programs import NodeTest, environment

import onceover_node


class Lines(NodeTest):
    def test_what_libraries_print_cannot_break_the_protocol(self):
        ended = self.snippet(
            """
import os, subprocess
print('{"type":"output","output":{"n":"printed"}}')
os.write(1, b"raw\\n")
subprocess.run(["echo", "from a child"])
assert sys.stdin.read() == ""
run.log("logged")
return {"n": 1}
"""
        )
        self.assertEqual([line["type"] for line in ended.lines], ["log", "output"])
        self.assertEqual(ended.output, {"n": 1})
        for text in ("printed", "raw", "from a child"):
            self.assertIn(text, ended.log)

    def test_v3_progress_never_goes_back_and_says_nothing_twice(self):
        ended = self.snippet("for p in (10, 10.01, 5, 50.55, 300): run.progress(p)\nreturn {}")
        self.assertEqual([line["percent"] for line in ended.of("progress")], [10.0, 50.5, 100.0])

    def test_an_exception_is_an_error_line_with_its_class_and_its_trace_is_in_the_log(self):
        ended = self.snippet("raise ValueError('bad\\n  header')")
        self.assertEqual((ended.code, ended.error), (1, "ValueError: bad header"))
        self.assertIn("Traceback", ended.log)
        ended = self.snippet("raise node.Failure('say what to do')")
        self.assertEqual(ended.error, "say what to do")
        self.assertNotIn("Traceback", ended.log)
        self.assertNotIn("limit", ended.lines[-1])
        ended = self.snippet("raise node.Failure('it is too large', limit='archive')")
        self.assertEqual(ended.lines[-1]["limit"], "archive")

    def test_cublas_of_the_environment_is_loaded_where_there_is_a_gpu(self):
        # Another library in its place: what is looked at is that it is loaded.
        mapped = {line.split()[-1] for line in pathlib.Path("/proc/self/maps").read_text().splitlines()}
        some = next(path for path in sorted(mapped) if "/libm." in path or "/libm-" in path)
        folder = self.dir / "packages" / "nvidia" / "cublas" / "lib"
        folder.mkdir(parents=True)
        for name in ("libcublasLt.so.12", "libcublas.so.12"):
            shutil.copyfile(some, folder / name)
        program = """
import onceover_node
onceover_node.cuda_devices = lambda: {gpus}
onceover_node.prepare()
print([name for name in ("libcublasLt.so.12", "libcublas.so.12") if name in open("/proc/self/maps").read()])
"""
        for gpus, loaded in ((1, "['libcublasLt.so.12', 'libcublas.so.12']"), (0, "[]")):
            clean = environment()
            paths = os.pathsep.join([clean["PYTHONPATH"], str(self.dir / "packages")])
            done = subprocess.run(
                [sys.executable, "-c", program.format(gpus=gpus)],
                capture_output=True,
                text=True,
                env={**clean, "PYTHONPATH": paths},
            )
            self.assertEqual((done.stdout.strip(), done.stderr), (loaded, ""))

    def test_a_request_that_is_none_is_an_error_line(self):
        for text in ("", "[1]", '{"protocol": 2}'):
            program = "import onceover_node; onceover_node.main(dict)"
            done = subprocess.run(
                [sys.executable, "-c", program],
                input=text,
                capture_output=True,
                text=True,
                env=environment(),
            )
            self.assertEqual((done.returncode, json.loads(done.stdout)["type"]), (1, "error"))

    def test_a_token_is_in_no_line(self):
        ended = self.snippet(
            "run.log('with sesame-1'); raise ValueError('https://x/?token=sesame-1')", HF_TOKEN="sesame-1"
        )
        self.assertNotIn("sesame-1", json.dumps(ended.lines) + ended.log)
        self.assertIn("***", ended.error)

    def test_threads_a_library_left_do_not_keep_the_program(self):
        ended = self.snippet(
            "import threading, time\nthreading.Thread(target=time.sleep, args=(100,)).start()\nreturn {}"
        )
        self.assertEqual((ended.code, ended.output), (0, {}))


class Ends(NodeTest):
    def stop(self, body):
        """SIGTERM as soon as the work has begun; the exit code and what was printed then."""
        program = (
            f"import hashlib, sys, time\nimport onceover_node as node\ndef work(run):\n    {body}\nnode.main(work)\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        process.stdin.write(json.dumps({"protocol": 1, "output_dir": str(self.dir)}))
        process.stdin.close()
        process.stdin = None
        self.assertIn("begun", process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=30)
        return process.returncode, stderr

    def test_sigterm_unwinds_the_work(self):
        code, stderr = self.stop("try: run.log('begun'), time.sleep(60)\n    finally: sys.stderr.write('unwound')")
        self.assertEqual((code, stderr), (143, "unwound"))

    def test_sigterm_ends_work_that_is_deep_in_native_code(self):
        # Like a decoder it lets other threads run, but no signal handler of Python's.
        code, _ = self.stop("run.log('begun'), hashlib.pbkdf2_hmac('sha512', b'x', b'y', 2**31 - 1)")
        self.assertEqual(code, 143)


class Files(NodeTest):
    def run_of(self, **input_data):
        return onceover_node.Run({"protocol": 1, "input": input_data, "output_dir": str(self.dir / "run")}, None)

    def test_files_are_written_whole_and_below_the_runs_folder(self):
        run = self.run_of()
        path = run.write_json({"text": "日本\ud800", "list": [1.5, None]}, "data", "x.json")
        self.assertEqual(json.loads(pathlib.Path(path).read_text("utf-8")), {"text": "日本?", "list": [1.5, None]})
        with self.assertRaises(TypeError):
            run.write_json({"x": object()}, "data", "x.json")
        self.assertEqual([file.name for file in (self.dir / "run" / "data").iterdir()], ["x.json"])
        (self.dir / "run" / "out").symlink_to("/tmp")
        for bad in ("../x.json", "/tmp/x.json", "", ".", "a/../..", "out/x.json"):
            with self.assertRaises(onceover_node.Failure, msg=bad):
                run.path(bad)

    def test_an_input_file_must_be_there(self):
        (self.dir / "a").write_text("x")
        self.assertEqual(self.run_of(a=str(self.dir / "a")).file("a"), str(self.dir / "a"))
        for bad in (None, "", str(self.dir), str(self.dir / "b")):
            with self.assertRaisesRegex(onceover_node.Failure, "input_data.a"):
                self.run_of(a=bad).file("a")

    def test_a_model_is_a_folder_of_the_operators_or_a_name_for_the_hub(self):
        folder = self.dir / "models"
        (folder / "small").mkdir(parents=True)
        with unittest.mock.patch.dict("os.environ", ONCEOVER_MODELS=str(folder), ONCEOVER_TRUST_REMOTE_CODE=""):
            self.assertEqual(onceover_node.model("small"), str(folder / "small"))
            self.assertEqual(onceover_node.model(str(folder / "small")), str(folder / "small"))
            self.assertEqual(onceover_node.model("Systran/x"), "Systran/x")
            self.assertEqual(onceover_node.model("Systran/x", ["Systran"]), "Systran/x")
            for bad in ("/etc", "../small", str(folder), "x/../../y"):
                with self.assertRaisesRegex(onceover_node.Failure, "models folder"):
                    onceover_node.model(bad)
            with self.assertRaisesRegex(onceover_node.Failure, "ONCEOVER_TRUST_REMOTE_CODE"):
                onceover_node.model("evil/x", ["Systran"])


class Missing(NodeTest):
    def test_a_missing_library_gpu_or_token_names_what_to_do(self):
        with self.assertRaisesRegex(onceover_node.Failure, "onceoverd nodes install demo"):
            onceover_node.library("no_such_library", "demo")
        self.assertEqual(onceover_node.device("auto", False), "cpu")
        self.assertEqual(onceover_node.device("auto", True), "cuda")
        self.assertEqual(onceover_node.device("cpu", True), "cpu")
        with self.assertRaisesRegex(onceover_node.Failure, "input_data.device.*no CUDA GPU"):
            onceover_node.device("cuda", False)
        with self.assertRaisesRegex(onceover_node.Failure, "set NO_SUCH_TOKEN in the daemon's environment"):
            onceover_node.token("NO_SUCH_TOKEN", "the service needs a key", "from its site")

    def test_libraries_are_not_found_in_the_folder_of_the_services(self):
        ended = self.snippet("import faster_whisper\nreturn {}")
        self.assertIn("ModuleNotFoundError", ended.error)

    def test_a_hub_that_does_not_answer_is_not_asked_again(self):
        body = "import os\nthere = node.offline_without_hub(run, seconds=1)\nreturn {'there': there, 'off': os.environ.get('HF_HUB_OFFLINE')}"
        ended = self.snippet(body, HF_HUB_OFFLINE="0", HF_ENDPOINT="http://127.0.0.1:1", HTTPS_PROXY="", https_proxy="")
        self.assertEqual(ended.output, {"there": False, "off": "1"})
        self.assertIn("127.0.0.1 cannot be reached", ended.of("log")[0]["message"])


if __name__ == "__main__":
    unittest.main()
