"""What programs ask of their libraries, with stand-ins for these: models that are partly here, settings that arrive, tracks
that are put together, sound in batches."""

import array
import contextlib
import os
import pathlib
import subprocess
import types
import unittest
import unittest.mock
import wave

from programs import NodeTest, load

import onceover_node
import onceover_transcript as transcript

whisper = load("faster_whisper.transcribe_audio")
qwen = load("qwen3_asr.transcribe_audio")
funasr = load("funasr.transcribe_audio")
separator = load("audio_separator.separate_vocals")
diarizer = load("pyannote_audio.diarize_speakers")
speaker = load("indextts.generate_speech")

OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


class EngineTest(NodeTest):
    def run_of(self, node, **input_data):
        """A run whose lines are kept in `self.lines`."""
        request = {"protocol": 1, "task_id": "t1", "task_name": node, "input": input_data}
        run = onceover_node.Run({**request, "output_dir": str(self.dir / "run")}, None)
        self.lines = []
        run.send = self.lines.append
        return run

    def percents(self):
        return [line["percent"] for line in self.lines if line["type"] == "progress"]

    @contextlib.contextmanager
    def libraries(self, **named):
        """Stand-ins for libraries, by name with `_` for a dot; torch sees no GPU."""
        torch = types.SimpleNamespace(
            cuda=types.SimpleNamespace(is_available=lambda: named.get("has_cuda", False)),
            bfloat16="bfloat16",
            float32="float32",
            device=lambda name: name,
        )
        known = {"torch": torch, **named}
        with unittest.mock.patch.object(onceover_node, "library", lambda name, _: known[name.replace(".", "_")]):
            yield


class Models(EngineTest):
    """The hub is asked for what is not here, and for that alone."""

    def folders(self, *names, **more):
        """The folders of models, and whether libraries may ask the hub after it."""
        models = self.dir / "models"
        (models / "here").mkdir(parents=True, exist_ok=True)
        hub = types.SimpleNamespace(snapshot_download=lambda name: f"/fetched/{name}")
        changes = {"ONCEOVER_MODELS": str(models), "HTTPS_PROXY": "http://proxy"}
        clean = {name: value for name, value in os.environ.items() if name not in OFFLINE}
        with unittest.mock.patch.dict("os.environ", {**clean, **changes}, clear=True):
            with self.libraries(huggingface_hub=hub):
                found = onceover_node.hub_folders(self.run_of("x.y"), names, "demo", **more)
            return found, not any(os.environ.get(name) for name in OFFLINE)

    def test_one_local_model_of_several_does_not_keep_the_others_from_the_hub(self):
        here = str(self.dir / "models" / "here")
        self.assertEqual(self.folders("here", "Qwen/aligner"), ([here, "/fetched/Qwen/aligner"], True))
        self.assertEqual(self.folders("Qwen/asr", "here"), (["/fetched/Qwen/asr", here], True))
        self.assertEqual(self.folders("Qwen/asr"), (["/fetched/Qwen/asr"], True))
        self.assertEqual(self.folders("here", "here"), ([here, here], False))

    def test_models_that_a_library_fetches_itself_keep_it_from_being_cut_off(self):
        here = str(self.dir / "models" / "here")
        self.assertEqual(self.folders("here", more=("facebook/w2v-bert-2.0",)), ([here], True))

    def test_a_model_of_others_is_refused_before_anything_is_fetched(self):
        with self.assertRaisesRegex(onceover_node.Failure, "ONCEOVER_TRUST_REMOTE_CODE"):
            self.folders("Qwen/asr", "evil/x", owners=("Qwen",))

    def test_a_pipeline_names_the_models_that_its_library_fetches(self):
        text = (
            "pipeline:\n  params:\n    embedding: pyannote/wespeaker-voxceleb\n"
            '    segmentation: "pyannote/segmentation-3.0"\n    plda: $model/plda\n    # old: pyannote/gone\n'
        )
        (self.dir / "config.yaml").write_text(text)
        self.assertEqual(diarizer.named_by(self.dir), ["pyannote/wespeaker-voxceleb", "pyannote/segmentation-3.0"])
        self.assertEqual(diarizer.named_by(self.dir / "gone"), [])
        self.assertEqual(diarizer.named_by(None), [])


class Funasr(EngineTest):
    def transcribed(self, answer, **input_data):
        """What the library is made with and asked for, and the transcript."""
        seen = {}

        class AutoModel:
            model = object()

            def __init__(self, **made):
                seen["made"] = made

            def inference(self, *_, **__):
                return []

            def generate(self, input, **asked):
                seen["asked"] = asked
                return [answer]

        library = types.SimpleNamespace(AutoModel=AutoModel)
        folders = unittest.mock.patch.object(funasr, "folder", lambda run, name, *_: f"/models/{name}")
        samples = unittest.mock.patch.object(funasr, "read_samples", lambda path: [0.0] * 16000)
        there = unittest.mock.patch.object(onceover_node, "offline_without_hub", lambda *_: True)
        run = self.run_of("funasr.transcribe_audio", audio_path=self.sound(), model_name="m", **input_data)
        with self.libraries(funasr=library), folders, samples, there:
            seen["output"] = funasr.transcribe(run)
        return seen

    def test_merge_length_s_is_given_where_the_library_reads_it(self):
        seen = self.transcribed({"text": "a"}, merge_length_s=33)
        self.assertEqual(seen["made"]["merge_length_s"], 33)
        self.assertNotIn("merge_length_s", seen["asked"])

    def test_sentences_are_asked_for_with_and_without_a_model_for_punctuation(self):
        for models in ({}, {"punc_model": "ct-punc"}):
            self.assertIs(self.transcribed({"text": "a"}, **models)["asked"]["sentence_timestamp"], True)

    def test_tags_of_the_model_are_no_text_and_name_the_language(self):
        tagged = "<|zh|><|NEUTRAL|><|Speech|><|withitn|>你好。 <|zh|><|HAPPY|><|BGM|><|woitn|>再见"
        output = self.transcribed({"text": tagged})["output"]
        self.assertEqual(output["language"], "zh")
        [one] = funasr.segments_of({"text": tagged}, 3.0, True)
        self.assertEqual(one["text"], "你好。 再见")
        # As a model for punctuation leaves them.
        self.assertEqual(funasr.untagged("< | en | > < | EMO_UNKNOWN | >hello"), " hello")
        sentences = {"text": tagged, "sentence_info": [{"text": "<|yue|><|SAD|>唔該", "start": 0, "end": 900}]}
        [one] = funasr.segments_of(sentences, 3.0, False)
        self.assertEqual(one["text"], "唔該")
        self.assertEqual(funasr.segments_of({"text": "<|nospeech|><|Event_UNK|>"}, 3.0, True), [])

    def test_a_language_that_was_asked_for_is_named(self):
        for asked, answer, named in (
            ("en", {"text": "<|zh|>a"}, "en"),
            ("auto", {"text": "<|ja|>a"}, "ja"),
            (None, {"text": "a", "language": "ko"}, "ko"),
            (None, {"text": "<|NEUTRAL|>a"}, None),
        ):
            self.assertEqual(funasr.language_of(asked, answer), named)


class Separation(EngineTest):
    def tone(self, name, frequency):
        path = str(self.dir / name)
        source = f"aevalsrc=0.2*sin(2*PI*{frequency}*t):s=44100:d=1"
        subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, path], check=True)
        return path

    def samples(self, path):
        plain = str(self.dir / "plain.wav")
        subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", path, "-c:a", "pcm_s16le", plain], check=True)
        with wave.open(plain) as sound:
            return array.array("h", sound.readframes(sound.getnframes()))

    def separated(self, *names, **input_data):
        """What the program gives for a library that makes these tracks, and what that is made with."""
        made, followed = {}, []

        class Separator:
            def __init__(self, **given):
                made.update(given)

            def load_model(self, model_filename):
                made["model"] = model_filename
                self.model_instance = types.SimpleNamespace()

            def separate(inner, sound):
                made["asked"] = (inner.output_dir, inner.model_instance.output_dir)
                for at, name in enumerate(names):
                    os.replace(self.tone(name, 200 * (at + 1)), os.path.join(inner.output_dir, name))
                return list(names)

        library = types.SimpleNamespace(Separator=Separator)
        there = unittest.mock.patch.object(onceover_node, "offline_without_hub", lambda *_: True)
        found = unittest.mock.patch.object(onceover_node, "library_folder", lambda *_: "/x")
        bars = unittest.mock.patch.object(separator, "follow_bars", lambda run, expected: followed.append(expected))
        plain = self.sound(1.0)
        run = self.run_of("audio_separator.separate_vocals", audio_path=plain, **input_data)
        with self.libraries(audio_separator_separator=library), there, found, bars:
            output = separator.separate(run)
        return output, made, followed[0]

    def test_the_default_gives_the_accompaniment_as_the_sum_of_all_that_is_not_the_voice(self):
        names = [f"sound_({track})_htdemucs.flac" for track in ("Drums", "Bass", "Other", "Vocals")]
        output, made, _ = self.separated(*names)
        self.assertEqual(pathlib.Path(output["vocal_audio"]).name, names[3])
        path = pathlib.Path(output["instrumental_audio"])
        self.assertEqual(path.name, "sound_(Instrumental)_htdemucs.flac")
        self.assertEqual(output["all_audio_files"][-1], str(path))
        tracks = [self.samples(str(path.parent / name)) for name in names[:3]]
        for whole, parts in zip(self.samples(str(path)), zip(*tracks, strict=True), strict=True):
            self.assertAlmostEqual(whole, sum(parts), delta=3)
        # With a limit below 1 a loud track would be made quieter than the others.
        self.assertEqual(made["normalization_threshold"], 1.0)

    def test_the_track_beside_the_voice_is_the_accompaniment_and_without_a_voice_there_is_none(self):
        both = ("sound_(Vocals)_x.flac", "sound_(Other)_x.flac")
        output, _, _ = self.separated(*both)
        self.assertEqual(pathlib.Path(output["instrumental_audio"]).name, both[1])
        self.assertEqual(len(output["all_audio_files"]), 2)
        output, _, _ = self.separated("sound_(Vocals)_x.flac", "sound_(Instrumental)_x.flac")
        self.assertEqual(pathlib.Path(output["instrumental_audio"]).name, "sound_(Instrumental)_x.flac")
        output, _, _ = self.separated("sound_(Reverb)_x.flac", "sound_(No Reverb)_x.flac")
        self.assertNotIn("instrumental_audio", output)

    def test_fast_goes_over_the_sound_less_often_than_the_default_and_high_quality_more_often(self):
        passes = {}
        for mode in separator.MODES:
            output, made, passes[mode] = self.separated("sound_(Vocals)_x.flac", quality_mode=mode)
            # As the library counts: shifted passes, else one; each by every model of a bag.
            bag = 4 if "_ft" in made["model"] else 1
            self.assertEqual(passes[mode], max(made["demucs_params"]["shifts"], 1) * bag)
            self.assertEqual(output["quality_mode"], mode)
        self.assertLess(passes["fast"], passes["default"])
        self.assertLess(passes["default"], passes["high_quality"])

    def test_results_lie_in_the_runs_folder(self):
        _, made, _ = self.separated("sound_(Vocals)_x.flac")
        self.assertEqual(made["asked"], (str(self.dir / "run" / "audio"),) * 2)


class Batches(EngineTest):
    def test_whisper_takes_several_pieces_at_a_time_where_that_is_asked_for_or_a_gpu_may(self):
        for asked, device, size in (
            ({}, "cpu", 1),
            ({}, "cuda", 1),
            ({"vad_filter": True}, "cpu", 1),
            ({"vad_filter": True}, "cuda", 8),
            ({"vad_filter": True, "batch_size": 1}, "cuda", 1),
            ({"batch_size": 4}, "cpu", 4),
        ):
            self.assertEqual(whisper.batch_size(asked, device), size, (asked, device))

    def test_a_piece_of_whisper_becomes_its_sentences(self):
        said = [(" One", 0.0, 0.4), (" two.", 0.4, 1.0), (" Three", 1.2, 1.6), (" four", 4.0, 4.5)]
        words = [types.SimpleNamespace(word=w, start=s, end=e, probability=0.5) for w, s, e in said]
        sure = {"temperature": 0.0, "avg_logprob": -0.25, "compression_ratio": 1.5, "no_speech_prob": 0.01}
        piece = types.SimpleNamespace(words=words, **sure)
        segments = whisper.sentences_of(piece, 3, True)
        self.assertEqual(
            [(s["id"], s["start"], s["end"], s["text"]) for s in segments],
            [(4, 0.0, 1.0, " One two."), (5, 1.2, 1.6, " Three"), (6, 4.0, 4.5, " four")],
        )
        self.assertEqual([len(s["words"]) for s in segments], [2, 1, 1])
        self.assertEqual(segments[0]["avg_logprob"], -0.25)
        self.assertNotIn("words", whisper.sentences_of(piece, 0, False)[0])
        self.assertEqual(transcript.sentences([]), [])

    def transcribed(self, seconds, **input_data):
        """How many pieces the model got at each call, of a sound of so many seconds."""
        calls = []

        class Model:
            def transcribe(self, audio, language, return_time_stamps):
                calls.append(len(audio))
                return [types.SimpleNamespace(text="a b.", language="English", time_stamps=[]) for _ in audio]

        def pieces(path, length):
            starts = range(0, int(seconds), int(length))
            return [([0] * int(16000 * min(length, seconds - at)), float(at)) for at in starts]

        more = (
            unittest.mock.patch.object(qwen, "load", lambda *_: Model()),
            unittest.mock.patch.object(qwen, "pieces_of", pieces),
            unittest.mock.patch.object(qwen, "has_vllm", lambda: False),
            unittest.mock.patch.object(onceover_node, "hub_folders", lambda run, names, *_: [f"/{n}" for n in names]),
        )
        asked = {"audio_path": self.sound(seconds), "enable_word_timestamps": False, **input_data}
        run = self.run_of("qwen3_asr.transcribe_audio", **asked)
        with contextlib.ExitStack() as stack:
            for one in more:
                stack.enter_context(one)
            stack.enter_context(self.libraries(qwen_asr=None, has_cuda=input_data.get("device") == "cuda"))
            output = qwen.transcribe(run)
        self.assertEqual(output["segments_count"], sum(calls))
        return calls

    def test_qwen_gets_pieces_in_batches_and_reports_after_each(self):
        self.assertEqual(self.transcribed(630, batch_size=4), [4] * 5 + [1])
        self.assertEqual(len([p for p in self.percents() if p > 5]), 6)
        self.assertEqual(self.percents()[-1], 99.0)
        self.assertEqual(self.transcribed(60), [1, 1])
        self.assertEqual(self.transcribed(240, device="cuda"), [8])

    def test_pieces_are_short_enough_for_many_reports_and_not_shorter_than_needed(self):
        for duration, size, length in ((10, 1, 30), (600, 1, 30), (3600, 1, 180), (7200, 1, 180), (7200, 8, 45)):
            self.assertEqual(qwen.piece_length(duration, size), length)
        self.assertGreaterEqual(3600 / qwen.piece_length(3600, 1), 20)


if __name__ == "__main__":
    unittest.main()
