"""Programs that take runs one after another, with their real libraries and weights: what the second run saves, and what sound
in batches costs and gives. `make test-nodes` runs it.

    ONCEOVER_ENVIRONMENTS=... ONCEOVER_SPEECH_MODELS=... python3 tests/nodes/real_serving.py
"""

import json
import os
import pathlib
import subprocess
import time
import unittest

from programs import NODES, NodeTest, Served, defaults
from word_errors import word_errors

ENVIRONMENTS = pathlib.Path(os.environ["ONCEOVER_ENVIRONMENTS"])
MODELS = pathlib.Path(os.environ["ONCEOVER_SPEECH_MODELS"])
TRANSCRIBE, READ = "faster_whisper.transcribe_audio", "paddleocr.perform_ocr"
# From the request to the beginning of the work, in seconds, where the model is kept.
SOON = 0.2
TEXT = (
    "The committee met on Tuesday to discuss the harbour. Nobody had expected so many people. The first speaker described "
    "how the old bridge was built, and why it must be repaired before winter comes. After that a long silence followed. "
    "Then an engineer explained the figures, one after another, until everyone had understood them."
)


class RealServing(NodeTest):
    def serve(self, node):
        """Starts a program in its environment; a function that gives it a run."""
        service, method = node.split(".")
        path, python = NODES / service / f"{method}.py", ENVIRONMENTS / service / "venv/bin/python"
        program = Served(self.dir, path, node, python, ONCEOVER_MODELS=str(MODELS))
        self.addCleanup(program.end, 60)

        def ask(run_id, begins, **input_data):
            """The output of a run, seconds until its work began (a line that `begins` knows) and until its end."""
            given = {**defaults(node), **input_data}
            start, begun, output = time.monotonic(), None, None
            program.send_run(run_id, given)
            while True:
                line = program.line()
                self.assertNotEqual(line["type"], "error", line)
                if begun is None and begins(line):
                    begun = time.monotonic() - start
                if line["type"] == "output":
                    output = line["output"]
                if line["type"] == "ended":
                    return output, begun, time.monotonic() - start

        return ask

    def speech(self, name, times):
        """A file of speech at 16 kHz."""
        spoken, path = self.dir / f"{name}.spoken.wav", self.dir / f"{name}.wav"
        subprocess.run(["espeak-ng", "-v", "en-gb", "-s", "150", "-w", spoken, " ".join([TEXT] * times)], check=True)
        ffmpeg = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-i", spoken, "-ar", "16000", "-ac", "1", path]
        subprocess.run(ffmpeg, check=True)
        return str(path)

    @unittest.skipUnless((MODELS / "speech/model.bin").is_file(), "no ASR weights can be fetched")
    def test_the_second_transcription_begins_at_once_and_batches_lose_few_words(self):
        ask, once, often = self.serve(TRANSCRIBE), self.speech("once", 1), self.speech("often", 4)
        asked = {"model_name": "speech", "device": "cpu", "language": "en", "temperature": [0.0]}

        def begins(line):
            return line["type"] == "progress" and line["message"] == "transcribing"

        _, first, _ = ask("r1", begins, audio_path=once, **asked)
        _, second, _ = ask("r2", begins, audio_path=once, **asked)
        print(f"faster-whisper base: work begins {first:.2f} s after the first request, {second:.3f} s after the second")
        self.assertLess(second, SOON)
        errors = {}
        for name, more in (("one after another", {}), ("in batches of 8", {"batch_size": 8})):
            output, _, seconds = ask(name.replace(" ", "-"), begins, audio_path=often, **asked, **more)
            segments = json.loads(pathlib.Path(output["segments_file"]).read_text())["segments"]
            errors[name] = word_errors(" ".join([TEXT] * 4), " ".join(one["text"] for one in segments))
            times = [(one["start"], one["end"]) for one in segments]
            self.assertEqual(times, sorted(times))
            # Each is a sentence or a part of one, not a piece of half a minute.
            self.assertGreaterEqual(len(segments), 16)
            told = f"{output['audio_duration'] / seconds:.1f} s of sound a second, {errors[name]:.1%} word errors"
            print(f"faster-whisper base, {name}: {told}")
        self.assertLess(max(errors.values()), 0.06)

    def test_the_second_reading_of_pictures_begins_at_once(self):
        ask, pictures = self.serve(READ), self.dir / "pictures"
        pictures.mkdir()
        drawn = "color=black:s=640x64,drawtext=text='Where are you now':fontcolor=white:fontsize=36:x=20:y=12"
        subprocess.run(
            ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", drawn, "-frames:v", "1", pictures / "a.png"], check=True
        )
        strip = {"frame_idx": 3, "height": 64, "y_offset": 0, "x_offset": 0}
        manifest = self.dir / "manifest.json"
        manifest.write_text(json.dumps({"a.png": {"sub_images": [strip]}}))
        asked = {"manifest_path": str(manifest), "multi_frames_path": str(pictures), "device": "cpu", "engine": "rapidocr"}

        def begins(line):
            return line["type"] == "log" and line["message"] == "reading with rapidocr"

        _, first, _ = ask("r1", begins, **asked)
        output, second, _ = ask("r2", begins, **asked)
        print(f"RapidOCR: work begins {first:.2f} s after the first request, {second:.3f} s after the second")
        self.assertLess(second, SOON)
        self.assertIn("Where are you now", pathlib.Path(output["ocr_results_path"]).read_text())


if __name__ == "__main__":
    unittest.main()
