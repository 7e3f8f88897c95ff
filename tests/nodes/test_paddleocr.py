"""The programs that read burnt-in subtitles: the vote for the subtitle area and the way back from stacks to
frames. The libraries themselves are tried by `make test-nodes`."""

import pathlib
import random
import sys
import tempfile
import unittest

import programs

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


class Inputs(unittest.TestCase):
    def test_frames_come_as_people_count_and_other_files_do_not_count(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            for name in ("frame_10.jpg", "frame_9.JPG", "notes.txt", "1.png"):
                (folder / name).touch()
            names = [path.name for path in pictures.listed(folder)]
        self.assertEqual(names, ["1.png", "frame_9.JPG", "frame_10.jpg"])


if __name__ == "__main__":
    unittest.main()
