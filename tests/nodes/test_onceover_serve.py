"""Programs that take runs one after another: what the daemon sends them and what they answer."""

import json
import os
import pathlib
import signal
import tempfile
import unittest

from programs import NodeTest, Served, program_of

# Loads a "model" and uses it as the request says.
WORK = '''
import os, time
key = (run.input["model"], run.input.get("device", "cpu"), run.input.get("compute_type", "auto"))
def load():
    run.log("loading " + run.input["model"])
    return {"name": run.input["model"], "uses": 0, "is_marked": "ONCEOVER_KEPT" in os.environ}
was_kept = run.keeps(key)
model = run.keep(key, load)
model["uses"] += 1
is_marked = [model["is_marked"], "ONCEOVER_KEPT" in os.environ]
print("a library prints")
if run.input.get("changes"):
    os.environ["CHANGED"] = "1"
    sys.changed = True
    run.at_end(lambda: delattr(sys, "changed"))
fault = run.input.get("fault")
if fault == "bad request":
    raise node.Failure("the request is bad")
if fault == "secret":
    raise node.Failure("the key is " + os.environ["HF_TOKEN"])
if fault == "broken":
    raise ValueError("a library broke")
if fault == "no device":
    raise node.Failure("no CUDA GPU can be used here")
if fault == "memory in words":
    try:
        raise RuntimeError("CUDA out of memory")
    except RuntimeError as why:
        raise node.Failure("the model cannot be loaded") from why
if fault == "memory":
    raise RuntimeError("CUDA out of memory")
done = 0
while run.input.get("hangs"):
    done += 1
    run.progress(min(done / 100, 99), f"step {done}")
    time.sleep(0.005)
run.progress(50, "used")
changed = [os.environ.get("CHANGED"), getattr(sys, "changed", False)]
return {"uses": model["uses"], "was_kept": was_kept, "changed": changed, "folder": os.getcwd(), "is_marked": is_marked}
'''


PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "writing-a-node.md"
# What the example of the page loads.
LOAD = """
class Model:
    uses, resets = 0, 0
    def transcribe(self, path):
        self.uses += 1
        return f"{self.uses} uses, {self.resets} resets"
    def reset(self):
        self.resets += 1

def load(name, device, compute_type):
    return Model()
"""


class Worker(Served):
    """Such a program of a test, which uses a model."""

    def __init__(self, folder, text, **variables):
        program = pathlib.Path(folder) / "program.py"
        program.write_text(text, encoding="utf-8")
        super().__init__(folder, program, "mine.test", **variables)

    def ask(self, run_id, **input_data):
        """Sends a run."""
        self.send_run(run_id, {"model": "base", **input_data})

    def until(self, kind):
        """The lines up to the first of a kind."""
        lines = [self.line()]
        while lines[-1]["type"] != kind:
            lines.append(self.line())
        return lines

    def answer(self, run_id, **input_data):
        """Sends a run and waits for its end: its lines by their kinds."""
        self.ask(run_id, **input_data)
        lines = self.until("ended")
        return {line["type"]: line for line in lines}, lines


class Serving(NodeTest):
    def worker(self, text=program_of(WORK), **variables):
        folder = tempfile.TemporaryDirectory()
        worker = Worker(folder.name, text, **variables)

        def clear():
            worker.process.kill()
            if not worker.log.closed:
                worker.end()
            folder.cleanup()

        self.addCleanup(clear)
        self.assertEqual(worker.line(), {"type": "ready", "protocol": 1})
        return worker

    def test_a_model_is_loaded_once_and_each_line_names_its_run(self):
        worker = self.worker()
        first, _ = worker.answer("r1")
        second, lines = worker.answer("r2")
        self.assertEqual([first["output"]["output"]["uses"], first["output"]["output"]["was_kept"]], [1, False])
        self.assertEqual([second["output"]["output"]["uses"], second["output"]["output"]["was_kept"]], [2, True])
        self.assertIn("log", first)
        self.assertNotIn("log", second)
        self.assertEqual({line["run_id"] for line in lines}, {"r2"})
        ended = second["ended"]
        self.assertEqual((ended["end"], ended["usable"], ended["keeps"]), ("success", True, True))
        self.assertGreater(ended["memory"], 1 << 20)
        code, log = worker.end()
        self.assertEqual(code, 0)
        # What libraries print is between the ends of the runs.
        said = [line for line in log.splitlines() if line]
        self.assertEqual(said, ["a library prints", '{"type": "ended", "run_id": "r1"}'] + [
            "a library prints",
            '{"type": "ended", "run_id": "r2"}',
        ])

    def test_another_model_device_or_compute_type_is_another_one_and_takes_its_place(self):
        worker = self.worker()
        for position, asked in enumerate(
            ({}, {"model": "large"}, {"device": "cuda"}, {"device": "cuda", "compute_type": "int8"}, {"device": "cuda"})
        ):
            lines, _ = worker.answer(f"r{position}", **asked)
            self.assertEqual(lines["output"]["output"]["uses"], 1, asked)

    def test_requests_that_come_together_are_run_in_their_order(self):
        worker = self.worker()
        for run_id in ("r1", "r2", "r3"):
            worker.ask(run_id)
        ends = [worker.until("ended")[-1]["run_id"] for _ in range(3)]
        self.assertEqual(ends, ["r1", "r2", "r3"])

    def test_a_stop_ends_its_run_alone_and_the_model_stays(self):
        worker = self.worker()
        worker.ask("r1", hangs=True)
        worker.ask("r2")
        worker.ask("r3")
        worker.until("progress")
        worker.write(json.dumps({"type": "stop", "run_id": "r3"}))
        worker.write(json.dumps({"type": "stop", "run_id": "unknown"}))
        worker.write(json.dumps({"type": "stop", "run_id": "r1"}))
        first, second, third = worker.until("ended"), worker.until("ended"), worker.until("ended")
        self.assertEqual((first[-1]["run_id"], first[-1]["end"]), ("r1", "stopped"))
        self.assertEqual([line["type"] for line in first if line["type"] in ("output", "error")], [])
        self.assertEqual((second[-1]["run_id"], second[-1]["end"]), ("r2", "success"))
        self.assertEqual([line["output"]["uses"] for line in second if line["type"] == "output"], [2])
        # It had not begun.
        self.assertEqual([(line["type"], line.get("end")) for line in third], [("ended", "stopped")])
        # A run of the same name as one that was stopped is a run.
        self.assertEqual(worker.answer("r3")[0]["ended"]["end"], "success")

    def test_a_bad_request_keeps_the_model_and_a_fault_does_not(self):
        worker = self.worker()
        worker.answer("r1")
        bad, _ = worker.answer("r2", fault="bad request")
        self.assertEqual((bad["error"]["message"], bad["ended"]["end"]), ("the request is bad", "failed"))
        self.assertTrue(bad["ended"]["keeps"])
        self.assertEqual(worker.answer("r3")[0]["output"]["output"]["uses"], 3)
        broken, _ = worker.answer("r4", fault="broken")
        self.assertIn("a library broke", broken["error"]["message"])
        self.assertEqual((broken["ended"]["usable"], broken["ended"]["keeps"]), (True, False))
        self.assertEqual(worker.answer("r5")[0]["output"]["output"]["uses"], 1)

    def test_a_process_whose_memory_is_not_in_order_says_so_and_ends(self):
        for fault in ("memory", "memory in words"):
            worker = self.worker()
            self.assertTrue(worker.answer("r1", fault="no device")[0]["ended"]["usable"])
            answer, _ = worker.answer("r2", fault=fault)
            ended = answer["ended"]
            self.assertEqual((ended["end"], ended["usable"], ended["keeps"]), ("failed", False, False))
            self.assertEqual(worker.process.wait(20), 3)

    def test_what_a_run_changes_is_not_there_for_the_next(self):
        worker = self.worker()
        self.assertEqual(worker.answer("r1", changes=True)[0]["output"]["output"]["changed"], ["1", True])
        self.assertEqual(worker.answer("r2")[0]["output"]["output"]["changed"], [None, False])

    def test_each_run_works_in_its_folder_and_what_a_model_starts_is_marked_as_kept(self):
        worker = self.worker()
        for run_id in ("r1", "r2"):
            output = worker.answer(run_id)[0]["output"]["output"]
            self.assertEqual(output["folder"], str((worker.dir / run_id).resolve()))
            self.assertEqual(output["is_marked"], [True, False])

    def test_a_request_of_another_protocol_fails_and_what_is_no_message_ends_the_program(self):
        worker = self.worker()
        worker.write(json.dumps({"protocol": 9, "run_id": "r1"}))
        lines = worker.until("ended")
        self.assertIn("protocol 1", lines[0]["message"])
        self.assertEqual((lines[0]["run_id"], lines[-1]["end"]), ("r1", "failed"))
        worker.write(json.dumps({"type": "of a later version", "run_id": "r1"}))
        self.assertEqual(worker.answer("r2")[0]["ended"]["end"], "success")
        worker.write("no JSON")
        self.assertIn("no message with a run_id", worker.line()["message"])
        self.assertEqual(worker.end()[0], 2)

    def test_closing_its_input_ends_it_after_the_runs_it_has(self):
        worker = self.worker()
        worker.ask("r1")
        worker.ask("r2")
        worker.process.stdin.close()
        self.assertEqual([worker.until("ended")[-1]["end"] for _ in range(2)], ["success"] * 2)
        self.assertEqual(worker.end()[0], 0)

    def test_sigterm_ends_it_in_the_middle_of_a_run(self):
        worker = self.worker()
        worker.ask("r1", hangs=True)
        worker.until("progress")
        os.kill(worker.process.pid, signal.SIGTERM)
        self.assertEqual(worker.process.wait(20), 128 + signal.SIGTERM)

    def test_secrets_are_in_no_line(self):
        worker = self.worker(HF_TOKEN="sesame-token")
        answer, lines = worker.answer("r1", fault="secret")
        self.assertEqual(answer["error"]["message"], "the key is ***")
        self.assertNotIn("sesame-token", json.dumps(lines))

    def test_the_example_of_the_page_keeps_its_model(self):
        blocks = PAGE.read_text(encoding="utf-8").split("```")[1::2]
        [text] = [block.removeprefix("python\n") for block in blocks if "run.keep(" in block]
        worker = self.worker(LOAD + text)
        asked = {"model_name": "base", "audio_path": self.sound()}
        said = [worker.answer(run_id, **asked)[0]["output"]["output"]["text"] for run_id in ("r1", "r2")]
        self.assertEqual(said, ["1 uses, 0 resets", "2 uses, 1 resets"])

    def test_a_program_that_does_not_serve_keeps_nothing(self):
        ended = self.snippet("a = run.keep(1, list)\nreturn {'same': a is run.keep(1, list), 'keeps': run.keeps(1)}")
        self.assertEqual(ended.output, {"same": False, "keeps": False})


if __name__ == "__main__":
    unittest.main()
