"""Who speaks when, by the engine campplus with its real networks: the error rate on synthetic conversations, beside that of
an answer which takes everybody for one. `make test-nodes` runs it.

    ONCEOVER_ENVIRONMENTS=... ONCEOVER_SPEECH_MODELS=... python3 tests/nodes/real_diarization.py
"""

import json
import os
import pathlib
import shutil
import time
import unittest

import dialogue
from diarization_error import error_rate
from programs import NODES, NodeTest, ask, defaults

PYTHON = pathlib.Path(os.environ["ONCEOVER_ENVIRONMENTS"]) / "campplus/venv/bin/python"
MODELS = pathlib.Path(os.environ["ONCEOVER_SPEECH_MODELS"])
NODE = "pyannote_audio.diarize_speakers"
# Seconds around the ends of true turns that do not count.
COLLAR = 0.25
# What an answer may have of the error of one speaker for all, and how much faster than the sound it must be.
MOST, FASTER = 0.5, 1.0


@unittest.skipUnless(PYTHON.is_file() and any(MODELS.glob("campplus/*.pt")), "the weights of CAM++ cannot be fetched")
class RealDiarization(NodeTest):
    def turns(self, path, **more):
        """Turns (start, end, speaker) of a file, and the output."""
        given = {**defaults(NODE), "engine": "campplus", "audio_path": str(path), **more}
        program = [NODES / "campplus/diarize_speakers.py"]
        ended = ask(program, NODE, self.dir / "run", given, python=PYTHON, ONCEOVER_MODELS=str(MODELS))
        self.assertEqual(ended.error, "")
        segments = json.loads(pathlib.Path(ended.output["diarization_file"]).read_text())["segments"]
        return [(one["start"], one["end"], one["speaker"]) for one in segments], ended.output

    def judge(self, name, voices):
        path = self.dir / "conversation.wav"
        true, _ = dialogue.make(voices, path, len(voices))
        start = time.monotonic()
        found, output = self.turns(path)
        speed = true[-1][1] / (time.monotonic() - start)
        together = [(begin, end, "all") for begin, end, _ in true]
        rates = [error_rate(true, found, collar) for collar in (0.0, COLLAR)]
        alone = [error_rate(true, together, collar) for collar in (0.0, COLLAR)]
        print(
            f"campplus, {len(voices)} voices of {name}: {output['total_speakers']} found, DER {rates[0]:.1%} "
            f"({rates[1]:.1%} with a collar of {COLLAR} s); one speaker for all: {alone[0]:.1%} ({alone[1]:.1%}); "
            f"{speed:.1f} s of sound a second"
        )
        self.assertEqual(output["total_speakers"], len(voices))
        for rate, other in zip(rates, alone, strict=True):
            self.assertLessEqual(rate, other * MOST)
        self.assertGreater(speed, FASTER)
        return path

    def test_two_and_three_voices_are_told_apart_with_half_of_the_errors_of_one_for_all(self):
        for name, voices in (("flite", dialogue.PERSONS), ("espeak-ng", dialogue.RULES)):
            program = next(iter(voices.values()))[0]
            if shutil.which(program) is None:
                print(f"campplus, voices of {name}: not run, {program} is not installed (make test-deps)")
                continue
            for count in (2, 3):
                self.judge(name, dict(list(voices.items())[:count]))

    def test_the_number_of_speakers_that_is_asked_for_is_kept_to(self):
        path = self.dir / "conversation.wav"
        dialogue.make(dict(list(dialogue.RULES.items())[:2]), path, 2, turns=8)
        for limits, speakers in (
            ({"num_speakers": 1}, 1),
            ({"max_speakers": 1}, 1),
            ({"num_speakers": 3}, 3),
            ({"min_speakers": 2, "max_speakers": 2}, 2),
        ):
            self.assertEqual(self.turns(path, **limits)[1]["total_speakers"], speakers, limits)

    def test_a_voice_alone_is_one_speaker(self):
        path = self.dir / "alone.wav"
        true, _ = dialogue.make(dict(list(dialogue.RULES.items())[:1]), path, 1, turns=8)
        found, output = self.turns(path)
        self.assertEqual(output["total_speakers"], 1)
        self.assertLess(error_rate(true, found, COLLAR), 0.05)


if __name__ == "__main__":
    unittest.main()
