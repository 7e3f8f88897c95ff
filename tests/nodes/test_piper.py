"""The engine piper without its libraries: which voice is taken, what is made of a text before a voice speaks it."""

import json
import pathlib
import types
import unittest
import unittest.mock

from programs import NODES, NodeTest, ask, defaults, load

import onceover_node

piper = load("piper.speak")
SPEAK = "indextts.generate_speech"
ENGLISH = {"espeak": {"voice": "en-us"}}


class Voices(NodeTest):
    def setUp(self):
        super().setUp()
        variables = unittest.mock.patch.dict(piper.os.environ, ONCEOVER_MODELS=str(self.dir), HF_HUB_OFFLINE="1")
        variables.start()
        self.addCleanup(variables.stop)

    def put(self, name, code, english, below="piper"):
        """Puts a voice below the models folder; its model is empty."""
        path = self.dir / below / f"{name}.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        settings = {"audio": {"sample_rate": 16000}, "language": {"code": code, "name_english": english}}
        path.with_name(f"{name}.onnx.json").write_text(json.dumps(settings))
        return path

    def chosen(self, **given):
        return piper.choose(types.SimpleNamespace(input=given, progress=lambda *_: None))[0]

    def test_the_voice_is_the_one_named_else_one_of_the_language(self):
        self.put("de_DE-eva_k-x_low", "de_DE", "German")
        self.put("de_DE-thorsten-medium", "de_DE", "German", "piper/de/de_DE/thorsten/medium")
        self.put("en_GB-alan-low", "en_GB", "English")
        self.put("en_US-zed-low", "en_US", "English")
        self.put("mine", "pt_BR", "Portuguese")
        (self.dir / "piper" / "en_AU-half-low.onnx").write_bytes(b"")
        piper.settings_of(self.put("broken", "en_GB", "English")).write_text("{")
        for given, voice in (
            ({}, "en_GB-alan-low"),
            ({"language": "en-US"}, "en_US-zed-low"),
            ({"language": "en_US"}, "en_US-zed-low"),
            # No voice of Ireland is here.
            ({"language": "en-IE"}, "en_GB-alan-low"),
            ({"language": "eng"}, "en_GB-alan-low"),
            ({"language": "English"}, "en_GB-alan-low"),
            # That of the table goes before others of the language.
            ({"language": "de"}, "de_DE-thorsten-medium"),
            ({"language": "de", "voice": "de_DE-eva_k-x_low"}, "de_DE-eva_k-x_low"),
            ({"voice": "mine"}, "mine"),
            ({"voice": "pt"}, "mine"),
            ({"language": "German,English"}, "de_DE-thorsten-medium"),
        ):
            self.assertEqual(self.chosen(**given), voice, given)

    def test_a_voice_that_is_not_here_is_that_of_the_hub_for_the_language(self):
        asked = []
        with unittest.mock.patch.object(piper, "fetch", lambda run, name: asked.append(name)):
            for given in ({}, {"language": "zh-CN"}, {"language": "nb"}, {"voice": "fr_FR-tom-medium"}):
                self.chosen(**given)
        self.assertEqual(
            asked, ["en_US-joe-medium", "zh_CN-huayan-medium", "no_NO-talesyntese-medium", "fr_FR-tom-medium"]
        )
        for name in piper.DEFAULTS.values():
            self.assertTrue(piper.NAME.fullmatch(name), name)

    def test_a_language_without_a_voice_and_a_broken_voice_are_failures_that_say_what_to_do(self):
        for given in ({"language": "tlh"}, {"voice": "../../etc/passwd"}):
            with self.assertRaisesRegex(onceover_node.Failure, f"input_data.{next(iter(given))}.*{self.dir}/piper.*espeak"):
                self.chosen(**given)
        path = self.put("en_US-zed-low", "en_US", "English")
        for settings, why in (
            ({"audio": {}}, "has no audio.sample_rate"),
            ({"audio": {"sample_rate": 8000}, "phoneme_id_map": {"_": [0], "^": [1]}}, r"has no phoneme_id_map.\$"),
            ({"phoneme_type": "pinyin"}, "pinyin"),
            ([], "no object"),
        ):
            piper.settings_of(path).write_text(json.dumps(settings))
            with self.assertRaisesRegex(onceover_node.Failure, why):
                piper.load("zed", path)

    def test_missing_things_are_named(self):
        def said(**given):
            program = ["-S", NODES / "piper" / "speak.py"]
            models = {"ONCEOVER_MODELS": str(self.dir)}
            return ask(program, SPEAK, self.dir / "run", {**defaults(SPEAK), "engine": "piper", **given}, **models).error

        self.assertIn("input_data.text", said())
        self.assertIn("input_data.text is blank", said(text=" "))
        self.assertIn("input_data.device", said(text="Hi", device="cuda"))
        self.assertIn("onceoverd nodes install piper", said(text="Hi"))


class Texts(unittest.TestCase):
    def test_marks_end_clauses_and_those_within_words_do_not(self):
        for text, clauses in (
            ("Hello, world. How?", [("Hello", ","), (" world", "."), (" How", "?")]),
            ('He said: "Come!" And left', [("He said", ":"), (' "Come', "!"), (" And left", "")]),
            ("It is 3.5 km, e.g. here", [("It is 3.5 km", ","), (" e.g. here", "")]),
            ("Wait... what?!", [("Wait", ","), (" what", "?")]),
            ("Well… Perhaps", [("Well", "."), (" Perhaps", "")]),
            ("你好，世界。再见", [("你好", ","), ("世界", "."), ("再见", "")]),
            ("你好。ok", [("你好", "."), ("ok", "")]),
            ("...", [("", ".")]),
            ("", []),
        ):
            self.assertEqual(list(piper.clauses(text)), clauses, text)

    def test_a_text_becomes_a_line_of_signs_for_each_sentence(self):
        made = piper.sentences("Hello, world. [[How]] are you?", ENGLISH)
        self.assertEqual(made, ["həlˈoʊ, wˈɜːld.", "hˈaʊ ɑːɹ juː?"])
        self.assertEqual(piper.sentences("... ♪", ENGLISH), [])
        # An accent is a separate sign.
        self.assertEqual(piper.sentences("É", {"phoneme_type": "text"}), ["e\u0301"])
        with self.assertRaisesRegex(onceover_node.Failure, "'xx-none'"):
            piper.sentences("Hello", {"espeak": {"voice": "xx-none"}})

    def test_a_sentence_is_cut_between_words_where_it_is_long(self):
        with unittest.mock.patch.object(piper, "LONGEST", 10):
            self.assertEqual(list(piper.pieces("one two three four")), ["one two ", "three four"])
            self.assertEqual(list(piper.pieces("x" * 25)), ["x" * 10, "x" * 10, "x" * 5])

    def test_signs_that_a_voice_does_not_know_are_left_out(self):
        known = {"_": [0], "^": [1], "$": [2], "a": [3], "b": [4, 5]}
        self.assertEqual(piper.as_ids("ab?", known), [1, 0, 3, 0, 4, 5, 0, 2])
        self.assertIsNone(piper.as_ids("?!", known))


if __name__ == "__main__":
    unittest.main()
