"""Speech to text without its libraries: what the three programs make of requests and of the engines' answers."""

import array
import json
import pathlib
import subprocess
import types
import unittest
import unittest.mock
import wave

from programs import NodeTest, load

import onceover_node
import onceover_sound
import onceover_transcript as transcript

whisper = load("faster_whisper.transcribe_audio")
qwen = load("qwen3_asr.transcribe_audio")
funasr = load("funasr.transcribe_audio")
NODES = ("faster_whisper.transcribe_audio", "qwen3_asr.transcribe_audio", "funasr.transcribe_audio")


def texts(words):
    return [(one["word"], one["start"], one["end"]) for one in words]


class Requests(NodeTest):
    def test_a_file_that_is_not_there_is_named_before_anything_is_loaded(self):
        for node in NODES:
            ended = self.shipped(node, {"audio_path": str(self.dir / "gone.wav")})
            self.assertEqual(ended.code, 1)
            self.assertRegex(ended.error, "input_data.audio_path is '.*gone.wav': there is no such file")
            self.assertEqual(ended.of("output"), [])

    def test_a_missing_library_names_the_command_that_installs_it(self):
        for node in NODES:
            ended = self.shipped(node, {"audio_path": self.sound()})
            self.assertIn(f"onceoverd nodes install {node.split('.')[0]}", ended.error)

    def test_a_bad_value_is_named(self):
        for node, value, named in (
            ("faster_whisper.transcribe_audio", {"temperature": [0.0, 2]}, "input_data.temperature"),
            ("faster_whisper.transcribe_audio", {"temperature": []}, "input_data.temperature"),
            ("faster_whisper.transcribe_audio", {"model_name": "/etc"}, "models folder"),
            ("qwen3_asr.transcribe_audio", {"language": "Klingon"}, "input_data.language"),
            ("qwen3_asr.transcribe_audio", {"model_size": "7B"}, "input_data.model_size"),
            ("qwen3_asr.transcribe_audio", {"device": "cpu", "backend": "vllm"}, "input_data.backend"),
            ("funasr.transcribe_audio", {"hotwords": [1, 2]}, "input_data.hotwords"),
            ("funasr.transcribe_audio", {"hotwords": '["a"'}, "input_data.hotwords"),
            ("funasr.transcribe_audio", {"model_name": "somebody/evil"}, "ONCEOVER_TRUST_REMOTE_CODE"),
        ):
            ended = self.shipped(node, {"audio_path": self.sound(), **value})
            self.assertIn(named, ended.error, value)

    def test_a_request_cannot_make_the_worker_load_remote_code(self):
        ended = self.shipped("funasr.transcribe_audio", {"audio_path": self.sound(), "remote_code": "model.py"})
        self.assertIn("only the operator can allow", ended.error)
        with unittest.mock.patch.dict("os.environ", ONCEOVER_TRUST_REMOTE_CODE=""):
            self.assertFalse(onceover_node.remote_code_is_trusted())
        with unittest.mock.patch.dict("os.environ", ONCEOVER_TRUST_REMOTE_CODE="1"):
            self.assertTrue(onceover_node.remote_code_is_trusted())


class Sound(NodeTest):
    def run_of(self, path):
        return onceover_node.Run(
            {"protocol": 1, "input": {"audio_path": str(path)}, "output_dir": str(self.dir / "run")}, None
        )

    def test_plain_wav_is_taken_as_it_is_and_anything_else_is_decoded_and_removed_after(self):
        path = self.sound(0.5)
        with onceover_sound.decoded(self.run_of(path), "audio_path") as (given, length):
            self.assertEqual((given, length), (path, 0.5))
        run = self.run_of(self.sound(0.5, rate=8000))
        with onceover_sound.decoded(run, "audio_path") as (given, length):
            self.assertEqual(pathlib.Path(given).name, "sound.wav")
            self.assertIn(run.output_dir, pathlib.Path(given).parents)
            self.assertAlmostEqual(length, 0.5, places=2)
        self.assertEqual(list(run.output_dir.iterdir()), [])

    def decoded(self, path, **more):
        """The samples of a file, the fields it adds to the output, and what is warned of."""
        run = self.run_of(path)
        run.input.update(more)
        with onceover_sound.decoded(run, "audio_path") as (given, _), wave.open(given, "rb") as sound:
            samples = array.array("h", sound.readframes(sound.getnframes()))
        return samples, run._facts, [warning["code"] for warning in run._warnings]

    def ffmpeg(self, name, *args):
        subprocess.run(["ffmpeg", "-v", "error", "-y", *args, str(self.dir / name)], check=True)
        return self.dir / name

    def test_sound_is_on_the_clock_of_the_video_and_holes_are_silence(self):
        picture, tone = ("-f", "lavfi", "-i", "testsrc=d=4:s=64x48:r=5"), ("-f", "lavfi", "-i", "sine=d=3")
        hole = ("-af", "aselect='not(between(t,1.5,2.5))'", "-c:v", "mpeg4", "-c:a", "aac")
        for name in ("late.mkv", "late.mp4", "late.ts"):
            path = self.ffmpeg(name, *picture, "-itsoffset", "1", *tone, "-map", "0", "-map", "1", *hole)
            samples, facts, codes = self.decoded(path)
            loud = [any(abs(one) > 500 for one in samples[at * 1600 : at * 1600 + 1600]) for at in range(40)]
            self.assertEqual((loud[5], loud[12], loud[20], loud[30]), (False, True, False, True), name)
            self.assertEqual((facts, codes), ({"audio_track": 0}, ["gap"]), name)

    def test_the_track_is_the_default_one_unless_the_request_names_another(self):
        tones = ("-f", "lavfi", "-i", "sine=440:d=1", "-f", "lavfi", "-i", "anullsrc", "-t", "1", "-map", "0", "-map", "1")
        marks = ("-metadata:s:a:0", "language=jpn", "-metadata:s:a:1", "language=eng", "-disposition:a:0", "0")
        path = self.ffmpeg("two.mkv", *tones, *marks, "-disposition:a:1", "default", "-c:a", "flac")
        default = self.decoded(path)
        self.assertEqual(default[1:], ({"audio_track": 1, "audio_language": "eng"}, ["silence"]))
        for wanted in ("ja", 0, "0"):
            self.assertEqual(self.decoded(path, audio_track=wanted)[1]["audio_track"], 0)
        with self.assertRaisesRegex(onceover_node.Failure, r"it has 0 \(jpn, flac\), 1 \(eng, flac, default\)"):
            self.decoded(path, audio_track="fr")

    def test_a_file_that_is_cut_off_is_told(self):
        path = self.ffmpeg("cut.mkv", "-f", "lavfi", "-i", "sine=d=8", "-c:a", "aac")
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        self.assertEqual(self.decoded(path)[2], ["truncated_source"])

    def test_a_playlist_and_what_holds_no_sound_are_refused(self):
        (self.dir / "list.m3u8").write_text(f"#EXTM3U\n#EXTINF:1,\n{self.sound()}\n")
        (self.dir / "text.wav").write_text("no sound")
        (self.dir / "empty.wav").write_bytes(b"")
        for name in ("list.m3u8", "text.wav", "empty.wav"):
            with self.assertRaisesRegex(onceover_node.Failure, "input_data.audio_path.*no sound"):
                with onceover_sound.decoded(self.run_of(self.dir / name), "audio_path"):
                    pass


class Transcripts(NodeTest):
    def test_the_file_has_metadata_segments_and_statistics(self):
        run = onceover_node.Run(
            {"protocol": 1, "task_id": "task-12345", "task_name": "x.transcribe", "output_dir": str(self.dir)}, None
        )
        words = [transcript.word(" Hi", 0.5, 0.9, 0.987654), transcript.word(" Ann.", 0.9, 1.5, float("nan"))]
        segments = [transcript.segment(0, 0.5, 1.5, " Hi Ann.", words), transcript.segment(1, 2, 4.0004, "Bye", [])]
        output = transcript.write(
            run,
            segments,
            audio="/a.wav",
            duration=5.0,
            language="en",
            words=True,
            model="m",
            device="cpu",
            method="test",
            seconds=0.25,
        )
        statistics = {
            "total_segments": 2,
            "total_words": 2,
            "transcribe_duration": 0.25,
            "average_segment_duration": 1.5,
        }
        self.assertEqual((output["statistics"], output["segments_count"]), (statistics, 2))
        self.assertEqual(pathlib.Path(output["segments_file"]).name, "transcribe_data_task-123.json")
        file = json.loads(pathlib.Path(output["segments_file"]).read_text())
        self.assertEqual(file["statistics"], statistics)
        self.assertEqual(
            sorted(file["metadata"]),
            sorted(
                "task_name workflow_id audio_file total_duration language word_timestamps_enabled model_name device "
                "transcribe_method created_at".split()
            ),
        )
        self.assertEqual(
            file["segments"][0]["words"][0], {"word": " Hi", "start": 0.5, "end": 0.9, "probability": 0.9877}
        )
        self.assertEqual(file["segments"][0]["words"][1]["probability"], None)

    def test_no_speech_is_a_failure_not_an_empty_success(self):
        run = onceover_node.Run({"protocol": 1, "output_dir": str(self.dir)}, None)
        with self.assertRaisesRegex(onceover_node.Failure, "no speech was recognised in /a.wav"):
            transcript.write(
                run,
                [],
                audio="/a.wav",
                duration=5.0,
                language="en",
                words=True,
                model="m",
                device="cpu",
                method="t",
                seconds=1,
            )


class Whisper(NodeTest):
    def test_languages_are_codes_of_whisper(self):
        for given, code in ((None, None), ("", None), ("auto", None), ("EN", "en"), ("zh-CN", "zh"), ("pt_BR", "pt")):
            self.assertEqual(whisper.language_code(given), code)

    def test_a_segment_is_taken_over_with_what_the_engine_says_of_it(self):
        one = types.SimpleNamespace(
            id=1,
            start=0.0,
            end=1.25,
            text=" a b",
            seek=0,
            tokens=[5, 6],
            temperature=0.2,
            avg_logprob=float("-inf"),
            compression_ratio=1.5,
            no_speech_prob=0.01,
            words=[types.SimpleNamespace(word=" a", start=0.0, end=0.5, probability=0.5)],
        )
        taken = whisper.as_segment(one)
        self.assertEqual(texts(taken["words"]), [(" a", 0.0, 0.5)])
        self.assertEqual((taken["tokens"], taken["temperature"], taken["avg_logprob"]), ([5, 6], 0.2, None))
        one.words = None
        self.assertNotIn("words", whisper.as_segment(one))


class Qwen(NodeTest):
    def test_languages_by_code_and_by_name(self):
        for given, name in (
            ("zh", "Chinese"),
            ("zh-cn", "Chinese"),
            ("cn", "Chinese"),
            ("en", "English"),
            ("en-us", "English"),
            ("auto", None),
            ("", None),
            (None, None),
            ("Japanese", "Japanese"),
            ("yue", "Cantonese"),
        ):
            self.assertEqual(qwen.as_language(given), name)

    def test_the_processor_takes_the_backend_it_can(self):
        for asked, device, vllm, backend in (
            ("auto", "cpu", True, "transformers"),
            ("auto", "cuda", True, "vllm"),
            ("auto", "cuda", False, "transformers"),
            ("transformers", "cuda", True, "transformers"),
            ("vllm", "cuda", False, "vllm"),
        ):
            self.assertEqual(qwen.choose_backend(asked, device, lambda: vllm), backend)
        with self.assertRaisesRegex(onceover_node.Failure, "input_data.backend"):
            qwen.choose_backend("vllm", "cpu", lambda: True)

    def piece(self, text, *times):
        items = [{"text": text, "start": start, "end": end} for text, start, end in times]
        return {"text": text, "language": "English", "times": items, "start": 10.0, "end": 20.0}

    def test_words_keep_blanks_and_marks_and_sentences_become_segments(self):
        piece = self.piece(
            'Well, "it\'s late." Go home now',
            ("Well", 10, 10.4),
            ("it's", 10.5, 10.8),
            ("late", 10.8, 11.2),
            ("Go", 11.4, 11.6),
            ("home", 11.6, 12),
            ("now", 14, 14.5),
        )
        segments = qwen.segments_of(piece, True)
        self.assertEqual(
            [(s["start"], s["end"], s["text"]) for s in segments],
            [(10.0, 11.2, 'Well, "it\'s late."'), (11.4, 12.0, "Go home"), (14.0, 14.5, "now")],
        )
        self.assertEqual([w["word"] for w in segments[0]["words"]], ["Well,", " \"it's", ' late."'])
        self.assertEqual("".join(w["word"] for s in segments for w in s["words"]), piece["text"])

    def test_characters_of_a_script_without_blanks_are_words(self):
        piece = self.piece(
            "你好，世界。再见",
            ("你", 10, 10.2),
            ("好", 10.2, 10.4),
            ("世", 11, 11.2),
            ("界", 11.2, 11.4),
            ("再", 12, 12.2),
            ("见", 12.2, 12.5),
        )
        segments = qwen.segments_of(piece, True)
        self.assertEqual([s["text"] for s in segments], ["你好，世界。", "再见"])
        self.assertEqual([w["word"] for w in segments[0]["words"]], ["你", "好，", "世", "界。"])

    def test_without_times_a_piece_is_a_segment_and_silence_none(self):
        self.assertEqual(qwen.segments_of(self.piece(" "), True), [])
        whole = qwen.segments_of(self.piece("All of it."), False)
        self.assertEqual([(s["start"], s["end"], s["text"]) for s in whole], [(10.0, 20.0, "All of it.")])
        self.assertNotIn("words", whole[0])

    def test_both_files_are_written_and_the_shared_one_can_be_merged(self):
        run = onceover_node.Run(
            {
                "protocol": 1,
                "task_id": "t1",
                "task_name": NODES[1],
                "input": {"audio_path": "/a.wav"},
                "output_dir": str(self.dir),
            },
            None,
        )
        pieces = [self.piece("One two.", ("One", 10, 11), ("two", 11, 12)), self.piece("Three.", ("Three", 20, 21))]
        output = qwen.finish(run, pieces, 30.0, True, "Qwen/x", "transformers", "cpu", 3.0)
        self.assertEqual(
            (output["text"], output["language"], output["segments_count"]), ("One two. Three.", "English", 2)
        )
        self.assertEqual([item["text"] for item in output["time_stamps"]], ["One", "two", "Three"])
        shared = json.loads(pathlib.Path(output["segments_file"]).read_text())
        self.assertEqual([(s["id"], s["text"]) for s in shared["segments"]], [(0, "One two."), (1, "Three.")])
        result = json.loads(pathlib.Path(output["transcribe_result_file"]).read_text())
        self.assertEqual(
            sorted(result), ["audio_duration", "language", "metadata", "text", "time_stamps", "transcribe_duration"]
        )


class Funasr(NodeTest):
    def test_hotwords_are_a_list_a_json_list_words_with_commas_or_one(self):
        for given, words in (
            (None, []),
            ([" a ", ""], ["a"]),
            ('["a b", "c"]', ["a b", "c"]),
            ("a, b，c", ["a", "b", "c"]),
            ("魔搭", ["魔搭"]),
            ("", []),
        ):
            self.assertEqual(funasr.as_hotwords(given), words)

    def test_sentences_become_segments_with_words_and_speakers(self):
        result = {
            "text": "你好。 hello, world",
            "sentence_info": [
                {"text": "你好。", "start": 100, "end": 900, "timestamp": [[100, 400], [400, 900]], "spk": 0},
                {
                    "text": " hello, world",
                    "start": 1000,
                    "end": 2000,
                    "timestamp": [[1000, 1400], [1500, 2000]],
                    "spk": 12,
                },
            ],
        }
        first, second = funasr.segments_of(result, 3.0, True)
        self.assertEqual((first["id"], first["start"], first["end"], first["speaker"]), (0, 0.1, 0.9, "SPEAKER_00"))
        self.assertEqual(texts(first["words"]), [("你", 0.1, 0.4), ("好。", 0.4, 0.9)])
        self.assertEqual(texts(second["words"]), [(" hello,", 1.0, 1.4), (" world", 1.5, 2.0)])
        self.assertEqual((second["speaker"], second["words"][0]["probability"]), ("SPEAKER_12", None))

    def test_without_sentences_one_segment_spans_the_words_or_the_whole_sound(self):
        times = [[500, 900], [900, 1300]]
        self.assertEqual(
            [
                (s["id"], s["start"], s["end"])
                for s in funasr.segments_of({"text": "你好", "timestamp": times}, 3.0, True)
            ],
            [(0, 0.5, 1.3)],
        )
        whole = funasr.segments_of({"text": "hello"}, 3.0, False)
        self.assertEqual([(s["start"], s["end"]) for s in whole], [(0.0, 3.0)])
        self.assertNotIn("words", whole[0])
        self.assertEqual(funasr.segments_of({"text": " "}, 3.0, True), [])

    def test_words_whose_count_is_not_that_of_the_times_are_none(self):
        self.assertEqual(funasr.words_of("one two three", [[0, 1], [1, 2]]), [])


if __name__ == "__main__":
    unittest.main()
