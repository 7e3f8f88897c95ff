"""Who speaks when, without the libraries: the engine campplus up to where its networks begin, and the error rate by which
`make test-nodes` judges it."""

import unittest

import programs
from diarization_error import error_rate
from programs import NODES, NodeTest, ask, defaults

NODE = "pyannote_audio.diarize_speakers"
PROGRAM = NODES / "campplus/diarize_speakers.py"
diarizer = programs.load("campplus.diarize_speakers")


class ErrorRate(unittest.TestCase):
    TRUE = [(0.0, 4.0, "Ann"), (5.0, 9.0, "Bob")]

    def test_labels_do_not_count_and_every_kind_of_error_does(self):
        for found, rate in (
            ([(0.0, 4.0, "x"), (5.0, 9.0, "y")], 0.0),
            ([(0.0, 4.0, "Bob"), (5.0, 9.0, "Ann")], 0.0),
            # Missed, false, confused.
            ([(0.0, 4.0, "x"), (5.0, 7.0, "y")], 0.25),
            ([(0.0, 5.0, "x"), (5.0, 9.0, "y")], 0.125),
            ([(0.0, 4.0, "x"), (5.0, 7.0, "x"), (7.0, 9.0, "y")], 0.25),
            ([(0.0, 9.0, "x")], 0.625),
            ([(0.0, 2.0, "x"), (2.0, 4.0, "y"), (5.0, 9.0, "z")], 0.25),
        ):
            self.assertAlmostEqual(error_rate(self.TRUE, found), rate, 2, found)

    def test_frames_near_the_ends_of_true_turns_are_left_out_by_a_collar(self):
        late = [(start + 0.2, end + 0.2, speaker) for start, end, speaker in self.TRUE]
        self.assertAlmostEqual(error_rate(self.TRUE, late), 0.1, 2)
        self.assertEqual(error_rate(self.TRUE, late, 0.25), 0.0)

    def test_speech_of_two_at_once_counts_for_both(self):
        both = [(0.0, 4.0, "Ann"), (2.0, 4.0, "Bob")]
        self.assertAlmostEqual(error_rate(both, [(0.0, 4.0, "x")]), 2 / 6, 2)
        self.assertEqual(error_rate(both, both), 0.0)


class Campplus(NodeTest):
    def ask(self, **more):
        given = {**defaults(NODE), "engine": "campplus", "audio_path": self.sound(), **more}
        # -S: without the libraries, wherever they may be installed.
        return ask(["-S", PROGRAM], NODE, self.dir / "run", given)

    def test_missing_things_are_named(self):
        self.assertIn("onceoverd nodes install campplus", self.ask().error)
        self.assertIn("input_data.audio_path", self.ask(audio_path="/gone.wav").error)
        self.assertIn("input_data.use_paid_api", self.ask(use_paid_api=True).error)
        self.assertIn("input_data.device", self.ask(device="cuda").error)
        self.assertIn("input_data.min_speakers", self.ask(min_speakers=3, max_speakers=2).error)

    def test_who_speaks_first_is_the_first_speaker(self):
        found = [(0, 1, 4), (1, 2, 0), (2, 3, 4)]
        self.assertEqual(diarizer.labels(found), ["SPEAKER_00", "SPEAKER_01", "SPEAKER_00"])


if __name__ == "__main__":
    unittest.main()
