"""Voices without their libraries: separation, diarization and speech, up to where an engine would begin."""

import http.server
import json
import pathlib
import threading
import types
import unittest
import wave

from programs import NODES, NodeTest, ask, defaults, load

import onceover_node
import onceover_speech
import onceover_turns

separator = load("audio_separator.separate_vocals")
diarizer = load("pyannote_audio.diarize_speakers")
speaker = load("indextts.generate_speech")
SEPARATE, DIARIZE, SPEAK = (
    "audio_separator.separate_vocals",
    "pyannote_audio.diarize_speakers",
    "indextts.generate_speech",
)


class Separation(NodeTest):
    def test_the_table_chooses_the_model_and_a_name_wins(self):
        for given, chosen in (
            ({}, ("default", "htdemucs.yaml")),
            ({"quality_mode": "high_quality"}, ("high_quality", "htdemucs_ft.yaml")),
            ({"quality_mode": "fast"}, ("fast", "htdemucs.yaml")),
            ({"model_type": "mdx"}, ("default", "UVR-MDX-NET-Inst_HQ_5.onnx")),
            ({"model_type": "mdx", "quality_mode": "high_quality"}, ("high_quality", "UVR-MDX-NET-Voc_FT.onnx")),
            ({"model_type": "mdx", "quality_mode": "fast"}, ("fast", "UVR-MDX-NET-Inst_3.onnx")),
            ({"model_type": "mdx", "model_name": "other.ckpt"}, ("default", "other.ckpt")),
        ):
            self.assertEqual(separator.choose(given), chosen)

    def test_settings_in_the_nested_object_are_honoured(self):
        request = {
            "quality_mode": "default",
            "audio_separator_config": {"quality_mode": "fast", "model_type": "mdx", "x": 1},
        }
        self.assertEqual(separator.settings(request), {"quality_mode": "fast", "model_type": "mdx"})
        for bad in ({"quality_mode": "best"}, {"model_type": "x"}, {"model_name": "../x.onnx"}):
            ended = self.shipped(SEPARATE, {"audio_path": self.sound(), "audio_separator_config": bad})
            self.assertIn(f"input_data.{next(iter(bad))}", ended.error)

    def test_tracks_are_named_by_their_files(self):
        for name, track in (
            ("song_(Vocals)_htdemucs.flac", "vocals"),
            ("song_(Instrumental)_x.flac", "instrumental"),
            ("song_(No_Vocals)_x.flac", "instrumental"),
            ("a_inst.flac", "instrumental"),
            ("a_(Drums)_x.flac", "drums"),
            ("a_(Bass)_x.flac", "bass"),
            ("a_(Other)_x.flac", "other"),
            ("a_1.flac", None),
        ):
            self.assertEqual(separator.track_of(f"/instruments vocals/{name}"), track)
        files = ["/r/a_(Drums)_m.flac", "/r/a_(Vocals)_m.flac"]
        self.assertEqual(separator.as_tracks(files)["vocals"], files[1])
        self.assertEqual(separator.as_tracks(["/r/a_1.flac", "/r/a_2.flac"]), {"vocals": "/r/a_1.flac"})

    def test_missing_things_are_named(self):
        self.assertIn("input_data.audio_path", self.shipped(SEPARATE, {"audio_path": "/gone.wav"}).error)
        self.assertIn(
            "onceoverd nodes install audio_separator", self.shipped(SEPARATE, {"audio_path": self.sound()}).error
        )


class Spleeter(NodeTest):
    def test_missing_things_are_named(self):
        def error(**more):
            given = {**defaults(SEPARATE), "engine": "spleeter", "audio_path": self.sound(), **more}
            # -S: without the libraries, wherever they may be installed.
            return ask(["-S", NODES / "spleeter/separate_vocals.py"], SEPARATE, self.dir / "run", given).error

        self.assertIn("onceoverd nodes install spleeter", error())
        self.assertIn("input_data.audio_path", error(audio_path="/gone.wav"))
        self.assertIn("input_data.device", error(device="cuda"))


class Diarization(NodeTest):
    def test_speakers_are_read_from_the_data_and_counted(self):
        segments = onceover_turns.as_segments(
            [(2.0, 3.5, "Ann"), (0.0, 1.25, "Bob"), (4.0, 4.0, "Nobody"), (5.0, 6.0, "Bob")]
        )
        self.assertEqual(
            [(s["start"], s["end"], s["speaker"], s["duration"]) for s in segments],
            [(0.0, 1.25, "Bob", 1.25), (2.0, 3.5, "Ann", 1.5), (5.0, 6.0, "Bob", 1.0)],
        )
        statistics = onceover_turns.statistics_of(segments)
        self.assertEqual(list(statistics), ["Ann", "Bob"])
        self.assertEqual(statistics["Bob"], {"segments": 2, "duration": 2.25, "words": 0})

    def test_missing_things_are_named(self):
        self.assertIn("input_data.audio_path", self.shipped(DIARIZE, {"audio_path": "/gone.wav"}).error)
        self.assertIn(
            "onceoverd nodes install pyannote_audio", self.shipped(DIARIZE, {"audio_path": self.sound()}).error
        )
        ended = self.shipped(DIARIZE, {"audio_path": self.sound(), "use_paid_api": True}, PYANNOTEAI_API_KEY="")
        self.assertRegex(ended.error, "use_paid_api.*set PYANNOTEAI_API_KEY in the daemon's environment")
        ended = self.shipped(DIARIZE, {"audio_path": self.sound(), "min_speakers": 3, "max_speakers": 2})
        self.assertIn("input_data.min_speakers", ended.error)


class Service(http.server.BaseHTTPRequestHandler):
    """Speaks the protocol of the paid service: one upload, one job that takes a second look."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, body, self.headers.get("Authorization")))
        if self.server.refuse and self.server.refuse[0][0] == self.path:
            return self.answer(self.server.refuse.pop(0)[1], {"message": "not now"})
        host = f"http://127.0.0.1:{self.server.server_port}"
        self.answer(200, {"url": f"{host}/upload"} if self.path == "/v1/media/input" else {"jobId": "j1"})

    def do_PUT(self):
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, data, self.headers.get("Authorization")))
        self.answer(200, {})

    def do_GET(self):
        self.server.seen.append((self.path, None, self.headers.get("Authorization")))
        turns = [
            {"start": 1.0, "end": 2.0, "speaker": "SPEAKER_01"},
            {"start": 0.0, "end": 1.0, "speaker": "SPEAKER_00"},
        ]
        self.answer(200, {"status": self.server.status, "output": {"diarization": turns, "error": "too quiet"}})

    def answer(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class PaidDiarization(NodeTest):
    def setUp(self):
        super().setUp()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
        self.server.seen, self.server.refuse, self.server.status = [], [], "succeeded"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)

    def ask(self, **input_data):
        request = {"audio_path": self.sound(2.0), "use_paid_api": True, **input_data}
        address = f"http://127.0.0.1:{self.server.server_port}/v1"
        return self.shipped(DIARIZE, request, PYANNOTEAI_API_KEY="sesame-key", PYANNOTEAI_API_URL=address)

    def test_use_paid_api_is_honoured(self):
        ended = self.ask(max_speakers=2)
        self.assertEqual(ended.error, "")
        self.assertEqual(
            {
                name: ended.output[name]
                for name in ("api_type", "use_paid_api", "model_name", "detected_speakers", "total_segments")
            },
            {
                "api_type": "paid",
                "use_paid_api": True,
                "model_name": "pyannote/speaker-diarization-precision-2",
                "detected_speakers": ["SPEAKER_00", "SPEAKER_01"],
                "total_segments": 2,
            },
        )
        file = json.loads(pathlib.Path(ended.output["diarization_file"]).read_text())
        self.assertEqual([s["start"] for s in file["segments"]], [0.0, 1.0])
        self.assertEqual((file["success"], file["total_speakers"]), (True, 2))
        asked = next(body for path, body, _ in self.server.seen if path == "/v1/diarize")
        self.assertEqual((asked["model"], asked["maxSpeakers"]), ("precision-2", 2))

    def test_d36_the_key_is_in_a_header_to_the_service_and_nowhere_else(self):
        ended = self.ask()
        self.assertNotIn("sesame-key", json.dumps(ended.lines) + ended.log)
        for path, _, authorization in self.server.seen:
            self.assertEqual(authorization, None if path == "/upload" else "Bearer sesame-key", path)

    def test_what_the_service_refuses_is_told_and_what_passes_is_tried_again(self):
        self.server.refuse = [("/v1/diarize", 503)]
        self.assertEqual(self.ask().error, "")
        self.server.refuse = [("/v1/media/input", 401)]
        self.assertRegex(self.ask().error, "does not take the key in PYANNOTEAI_API_KEY .401.")
        self.server.status = "failed"
        self.assertRegex(self.ask().error, "ended the job as failed: too quiet")


class Speech(NodeTest):
    def run_with(self, **given):
        """A run that writes into the test's folder and keeps its warnings."""
        self.warned, self.written = [], []
        return types.SimpleNamespace(
            input=given,
            path=lambda *parts: self.dir.joinpath(*parts),
            warn=lambda code, text, **numbers: self.warned.append((code, numbers)),
            write_json=lambda value, *_: self.written.append(value),
        )

    def test_what_is_written_stays_in_the_runs_folder(self):
        for given, name in ((None, "speech.wav"), ("/etc/cron.d/x.wav", "x.wav"), ("../../a.WAV", "a.WAV")):
            self.assertEqual(onceover_speech.target(self.run_with(output_path=given)), self.dir / "audio" / name)
        for bad in ("/tmp/x.sh", "x", "/tmp/.wav"):
            with self.assertRaisesRegex(onceover_node.Failure, "input_data.output_path"):
                onceover_speech.target(self.run_with(output_path=bad))

    def test_every_cue_becomes_a_clip_of_one_file_and_those_without_sound_are_named(self):
        run = self.run_with(segments=[
            {"start": 0.5, "end": 2, "text": "Hello\nthere", "speaker": "A"},
            {"startTime": 3, "endTime": 4, "text": "..."},
            {"id": 9, "start": 5, "end": 6, "text": "Bye"},
        ])
        cues = onceover_speech.wanted(run)
        self.assertEqual([c["text"] for c in cues], ["Hello there", "...", "Bye"])
        target = self.dir / "a.wav"
        made = onceover_speech.speak_all(run, cues, target, 22050, lambda text, before: bytes(2000 * len(text)))
        with wave.open(str(target)) as sound:
            self.assertEqual(sound.getnframes(), 11000 + 4410 + 3000 + 4410)
        clips = self.written[0]["clips"]
        self.assertEqual([(c["id"], c["start"], c["speaker"]) for c in clips], [(1, 0.5, "A"), (9, 5.0, None)])
        self.assertAlmostEqual(clips[1]["offset"], 11 / 22.05 + 0.2, 3)
        self.assertEqual((made["clips_count"], made["cues_count"], made["text_length"]), (2, 3, 14))
        self.assertEqual(self.warned, [("lines_left_out", {"lines": 1, "of": 3})])
        for bad, why in (({"a": 1}, "no segments"), ([{"start": 1, "text": "x"}], "number 1 has no number 'end'")):
            run.input["segments"] = bad
            with self.assertRaisesRegex(onceover_node.Failure, why):
                onceover_speech.wanted(run)

    def test_an_emotion_is_eight_strengths(self):
        self.assertEqual(speaker.emotions([0, 1, 0, 0, 0, 0, 0, 0.5])[1], 1.0)
        self.assertIsNone(speaker.emotions(None))
        for bad in ([1], "happy", [0] * 7 + ["x"], [-1] * 8, [True] * 8):
            with self.assertRaisesRegex(onceover_node.Failure, "input_data.emotion_vector"):
                speaker.emotions(bad)

    def test_d44_an_engine_that_fails_is_a_failed_stage(self):
        ended = self.shipped(SPEAK, {"text": "Hello", "spk_audio_prompt": self.sound(), "output_path": "/x/hello.wav"})
        self.assertEqual((ended.code, ended.of("output")), (1, []))
        self.assertIn("onceoverd nodes install indextts", ended.error)

    def test_missing_things_are_named(self):
        self.assertIn("input_data.text", self.shipped(SPEAK, {"spk_audio_prompt": self.sound()}).error)
        self.assertIn("input_data.text", self.shipped(SPEAK, {"text": "  ", "spk_audio_prompt": self.sound()}).error)
        self.assertIn("input_data.spk_audio_prompt", self.shipped(SPEAK, {"text": "Hi"}).error)
        ended = self.shipped(SPEAK, {"text": "Hi", "spk_audio_prompt": self.sound(), "emo_audio_prompt": "/gone"})
        self.assertIn("input_data.emo_audio_prompt", ended.error)


if __name__ == "__main__":
    unittest.main()
