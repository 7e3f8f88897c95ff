"""The programs that read burnt-in subtitles: the vote for the subtitle area and the way back from stacks to frames,
and what they say when something is missing. The libraries themselves are tried by `make test-nodes`."""

import importlib.util
import json
import random
import sys
import unittest
import zipfile

import programs
from programs import NodeTest

sys.path.append(str(programs.NODES / "paddleocr"))

import frames  # noqa: E402
import pictures  # noqa: E402
import subtitle_area  # noqa: E402


def quad(left, top, right, bottom):
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


class Vote(unittest.TestCase):
    def test_the_worked_example(self):
        texts = [(quad(20, 80, 180, 90), "hello"), (quad(20, 5, 180, 10), "Title")]
        self.assertEqual(subtitle_area.vote(texts, 200, 100), (0, 69, 200, 100))

    def test_short_texts_count_only_where_there_are_no_others(self):
        short, long = (quad(0, 10, 50, 40), "a"), (quad(0, 60, 50, 90), "words")
        self.assertEqual(subtitle_area.vote([short] * 9 + [long], 200, 100), (0, 49, 200, 100))
        self.assertEqual(subtitle_area.vote([short], 200, 100), (0, 0, 200, 50))

    def test_a_strip_too_low_for_subtitles_is_the_lowest_third(self):
        self.assertEqual(subtitle_area.vote([(quad(0, 52, 50, 53), "words")], 200, 120, padding=0), (0, 80, 200, 110))

    def test_the_upper_half_wins_with_more_text(self):
        texts = [(quad(0, 10, 50, 20), "a long text on top")] * 2 + [(quad(0, 80, 50, 90), "short")]
        self.assertEqual(subtitle_area.vote(texts, 200, 100), (0, 0, 200, 30))

    def test_no_text_is_no_area_and_boxes_beyond_the_picture_are_cut(self):
        self.assertIsNone(subtitle_area.vote([], 200, 100))
        self.assertIsNone(subtitle_area.vote([(quad(0, 130, 50, 150), "words")], 200, 100))
        self.assertEqual(subtitle_area.vote([(quad(0, 85, 50, 150), "words")], 200, 100), (0, 74, 200, 100))

    def test_any_texts_give_an_area_inside_the_picture(self):
        chance = random.Random(7)
        for _ in range(500):
            height = chance.randint(1, 300)
            texts = []
            for _ in range(chance.randint(1, 6)):
                top = chance.randint(-10, height)
                texts.append((quad(0, top, 9, top + chance.randint(0, 60)), "x" * chance.randint(0, 9)))
            area = subtitle_area.vote(texts, 64, height, chance.randint(0, 4), chance.randint(0, 20))
            if area is not None:
                left, top, right, bottom = area
                self.assertEqual((left, right), (0, 64))
                self.assertTrue(0 <= top < bottom <= height, (area, height))


def strip(frame, height, y_offset, x_offset=5):
    return {"frame_idx": frame, "height": height, "y_offset": y_offset, "x_offset": x_offset}


class BackToFrames(unittest.TestCase):
    manifest = {
        "mf_00000001.jpg": {"stitched_height": 40, "sub_images": [strip(11, 20, 0), strip(2, 20, 20)]},
        "mf_00000002.jpg": {"stitched_height": 24, "sub_images": [strip(3, 24, 0)]},
    }

    def test_the_middle_of_a_box_decides_and_boxes_move_into_the_frame(self):
        readings = {
            "mf_00000001.jpg": [[quad(1, 12, 30, 26), "first"], [quad(1, 21, 30, 39), "second"]],
            "mf_00000002.jpg": [],
        }
        expected = {2: ["second", quad(6, 1, 35, 19)], 11: ["first", quad(6, 12, 35, 26)]}
        back = frames.map_back(self.manifest, readings)
        self.assertEqual(back, expected)
        self.assertEqual(list(back), [2, 11])

    def test_texts_of_one_frame_are_joined_and_the_last_box_stays(self):
        readings = {"mf_00000002.jpg": [[quad(0, 2, 9, 10), "two"], [quad(9, 12, 20, 20), "lines"]]}
        self.assertEqual(frames.map_back(self.manifest, readings), {3: ["two lines", quad(14, 12, 25, 20)]})

    def test_boxes_outside_of_every_strip_and_empty_texts_are_left_out(self):
        readings = {"mf_00000002.jpg": [[quad(0, 24, 9, 30), "below"], [quad(0, 2, 9, 10), ""]]}
        self.assertEqual(frames.map_back(self.manifest, readings), {})


class Inputs(NodeTest):
    detect, perform = "paddleocr.detect_subtitle_area", "paddleocr.perform_ocr"

    def setUp(self):
        super().setUp()
        self.frames = self.dir / "frames"
        self.frames.mkdir()

    def broken_library(self, name):
        """A library that is there and cannot be used."""
        folder = self.dir / "libraries"
        folder.mkdir()
        (folder / f"{name}.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
        return f"{programs.NODES}:{folder}"

    def test_frames_come_as_people_count_and_other_files_do_not_count(self):
        for name in ("frame_10.jpg", "frame_9.JPG", "notes.txt", "1.png"):
            (self.frames / name).touch()
        names = [path.name for path in pictures.listed(self.frames)]
        self.assertEqual(names, ["1.png", "frame_9.JPG", "frame_10.jpg"])

    def test_an_empty_folder_says_what_to_run(self):
        ended = self.shipped(self.detect, {"keyframe_dir": str(self.frames)})
        self.assertIn("ffmpeg.extract_keyframes", ended.error)

    @unittest.skipIf(importlib.util.find_spec("rapidocr"), "RapidOCR is installed for this very Python")
    def test_a_library_that_is_missing_or_broken_fails_the_run_and_names_the_command(self):
        (self.frames / "frame_1.jpg").touch()
        for engine in ("auto", "rapidocr", "paddleocr"):
            ended = self.shipped(self.detect, {"keyframe_dir": str(self.frames), "engine": engine})
            self.assertEqual(ended.code, 1)
            self.assertIn("onceoverd nodes install paddleocr", ended.error)
        broken = self.broken_library("rapidocr")
        ended = self.shipped(self.detect, {"keyframe_dir": str(self.frames)}, PYTHONPATH=broken)
        self.assertIn("libGL.so.1", ended.error)

    def test_d54_a_manifest_without_pictures_or_of_other_pictures_is_an_error(self):
        manifest = self.dir / "manifest.json"
        given = {"manifest_path": str(manifest), "multi_frames_path": str(self.frames)}
        for text, why in (
            ("{}", "lists no pictures"),
            ("[1]", "not a manifest"),
            ('{"../a.jpg": {"sub_images": []}}', "not a manifest"),
            ('{"a.jpg": {"sub_images": [{"frame_idx": 1}]}}', "height"),
            (json.dumps({"a.jpg": {"sub_images": [strip(1, 2, 0)]}}), "a.jpg"),
        ):
            manifest.write_text(text)
            self.assertIn(why, self.shipped(self.perform, given).error)

    def zipped(self, *members):
        path = self.dir / "frames.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for member in members:
                archive.writestr(member, member)
        return str(path)

    def test_a_zip_stands_for_the_folder_of_its_files(self):
        path = self.zipped("frames/", "frames/frame_1.jpg", "frame_2.jpg")
        self.shipped(self.detect, {"keyframe_dir": path})
        unpacked = sorted(file.name for file in (self.dir / "run" / "unpacked" / "keyframe_dir").iterdir())
        self.assertEqual(unpacked, ["frame_1.jpg", "frame_2.jpg"])
        ended = self.shipped(self.detect, {"keyframe_dir": path, "auto_decompress": False})
        self.assertIn("auto_decompress", ended.error)

    def test_d34_a_member_that_leads_out_of_the_archive_is_refused(self):
        for member in ("../evil.jpg", "a/../../evil.jpg", str(self.dir / "evil.jpg")):
            ended = self.shipped(self.detect, {"keyframe_dir": self.zipped(member)})
            self.assertIn("leads out", ended.error)
        self.assertEqual(list(self.dir.rglob("evil.jpg")), [])


if __name__ == "__main__":
    unittest.main()
