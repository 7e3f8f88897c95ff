"""The programs that read burnt-in subtitles: the vote for the subtitle area and the way back from stacks to frames,
and what they say when something is missing. The libraries themselves are tried by `make test-nodes`."""

import importlib.util
import json
import random
import sys
import types
import unittest
import unittest.mock
import zipfile

import programs
from programs import NodeTest

sys.path.append(str(programs.NODES / "paddleocr"))

import constant  # noqa: E402
import engines  # noqa: E402
import frames  # noqa: E402
import onceover_node  # noqa: E402
import pictures  # noqa: E402
import subtitle_area  # noqa: E402


def quad(left, top, right, bottom):
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


class Device(unittest.TestCase):
    def read(self, device, gpus):
        """Whether RapidOCR is set to use CUDA, and whether its libraries were loaded, with ONNX Runtime for CUDA."""
        given, loaded = {}, []
        onnxruntime = types.SimpleNamespace(
            get_available_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
            preload_dlls=lambda: loaded.append(True),
        )
        library = types.SimpleNamespace(RapidOCR=lambda params: given.update(params))
        run = types.SimpleNamespace(input={"device": device})
        with (
            unittest.mock.patch.dict(sys.modules, {"onnxruntime": onnxruntime}),
            unittest.mock.patch.object(onceover_node, "cuda_devices", lambda: gpus),
        ):
            engines._rapidocr(run, library)
        return given["EngineConfig.onnxruntime.use_cuda"], bool(loaded)

    def test_a_library_for_cuda_reads_on_the_processor_where_there_is_no_gpu(self):
        self.assertEqual(self.read("auto", 0), (False, False))
        with self.assertRaisesRegex(onceover_node.Failure, "no CUDA GPU"):
            self.read("cuda", 0)

    def test_cudas_libraries_are_loaded_for_a_gpu_alone(self):
        self.assertEqual(self.read("auto", 1), (True, True))
        self.assertEqual(self.read("cpu", 1), (False, False))


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


def map_back(manifest, readings):
    """Per frame its text, the box around it and how sure the reader was."""
    return {frame: frames.joined(texts) for frame, texts in frames.by_frame(manifest, readings).items()}


def strip(frame, height, y_offset, x_offset=5):
    return {"frame_idx": frame, "height": height, "y_offset": y_offset, "x_offset": x_offset}


class BackToFrames(unittest.TestCase):
    manifest = {
        "mf_00000001.jpg": {"stitched_height": 40, "sub_images": [strip(11, 20, 0), strip(2, 20, 20)]},
        "mf_00000002.jpg": {"stitched_height": 24, "sub_images": [strip(3, 24, 0)]},
    }

    def test_the_middle_of_a_box_decides_and_boxes_move_into_the_frame(self):
        readings = {
            "mf_00000001.jpg": [[quad(1, 12, 30, 26), "first", 0.9], [quad(1, 21, 30, 39), "second", 0.8]],
            "mf_00000002.jpg": [],
        }
        expected = {2: ["second", quad(6, 1, 35, 19), 0.8], 11: ["first", quad(6, 12, 35, 26), 0.9]}
        back = map_back(self.manifest, readings)
        self.assertEqual(back, expected)
        self.assertEqual(list(back), [2, 11])

    def test_lines_of_a_frame_stay_lines_in_reading_order(self):
        strips = {"mf_1.jpg": {"stitched_height": 80, "sub_images": [strip(3, 80, 0)]}}
        readings = [
            [quad(40, 43, 90, 61), "line", 1.0],
            [quad(10, 12, 60, 30), "First", 0.5],
            [quad(70, 10, 99, 29), "one", 0.5],
            [quad(5, 42, 35, 60), "second", 1.0],
        ]
        expected = ["First one\nsecond line", quad(10, 10, 104, 61), round((8 * 0.5 + 10) / 18, 4)]
        for _ in range(10):
            random.Random(3).shuffle(readings)
            self.assertEqual(map_back(strips, {"mf_1.jpg": readings}), {3: expected})

    def test_boxes_outside_of_every_strip_and_empty_texts_are_left_out(self):
        readings = {"mf_00000002.jpg": [[quad(0, 24, 9, 30), "below", 1.0], [quad(0, 2, 9, 10), " ", 1.0]]}
        self.assertEqual(map_back(self.manifest, readings), {})

    def test_a_strip_speaks_for_all_frames_it_stands_for(self):
        kept = {**strip(11, 20, 0), "first": 10, "last": 12, "stretch": 7}
        manifest = {"mf_00000001.jpg": {"stitched_height": 40, "sub_images": [kept, strip(2, 20, 20)]}}
        results = {2: ["second", [], 0.8], 11: ["first", [], 0.9]}
        first = ["first", [], 0.9, 11, 7]
        expected = {2: ["second", [], 0.8], 10: first, 11: first, 12: first}
        self.assertEqual(frames.stood_for(results, manifest), expected)
        self.assertEqual(frames.count(manifest), 4)

    def test_strips_are_read_together_as_high_as_they_are_wide(self):
        strips = [strip(number, 100, 100 * number) for number in range(30)]
        parts = frames.parts(strips, 1280)
        self.assertEqual([(top, bottom) for top, bottom, _ in parts], [(0, 1200), (1200, 2400), (2400, 3000)])
        self.assertEqual([item for _, _, part in parts for item in part], strips)
        self.assertEqual(len(frames.parts(strips, 320)), 4)
        self.assertEqual(len(frames.parts([strip(1, 5000, 0), strip(2, 5000, 5000)], 640)), 2)


class Constant(unittest.TestCase):
    """A logo is there all the time, subtitles change."""

    logo = (quad(500, 80, 600, 95), "CHANNEL 5")

    def frames(self, count=10):
        lines = ["Where are you", "I have to meet someone", "No", "Look at the river", "So we leave now"]
        return [[self.logo, (quad(100, 70, 300, 96), lines[at % len(lines)])] for at in range(count)]

    def test_a_text_that_is_nearly_always_there_is_left_out(self):
        pictures = self.frames()
        # It is misread now and then, and once it is not seen.
        pictures[3][0] = (quad(502, 81, 601, 95), "CHANNE1 5")
        del pictures[5][0]
        for beside_others in (False, True):
            rest, texts = constant.left_out(pictures, beside_others)
            self.assertEqual(texts, ["CHANNEL 5"])
            self.assertEqual([[text for _, text in items] for items in rest], [[items[-1][1]] for items in pictures])

    def test_few_pictures_and_a_text_that_is_alone_tell_nothing(self):
        self.assertEqual(constant.left_out(self.frames(4)), (self.frames(4), []))
        alone = [[self.logo] for _ in range(20)]
        self.assertEqual(constant.left_out(alone), (alone, []))

    def test_a_subtitle_that_stays_for_long_stands_alone_and_is_kept_in_the_strip(self):
        pictures = [[self.logo] for _ in range(18)] + [[(quad(100, 70, 300, 96), "at last")] for _ in range(3)]
        self.assertEqual(constant.left_out(pictures, beside_others=True), (pictures, []))

    def test_the_area_is_where_texts_change(self):
        found = self.frames(24)
        for items in found:
            items[0] = (quad(20, 10, 180, 30), "A LONG CHANNEL NAME, ALWAYS THERE")
        self.assertEqual(subtitle_area.is_enough(found, (640, 100), 2), False, "five texts are few")
        found[0][1] = (found[0][1][0], "a sixth one")
        self.assertEqual(subtitle_area.is_enough(found, (640, 100), 2), True)
        rest, _ = constant.left_out(found)
        area = subtitle_area.vote([item for items in rest for item in items], 640, 100, padding=0)
        self.assertEqual(area, (0, 69, 640, 96))
        self.assertTrue(subtitle_area.is_one_text([[self.logo]] * 6))
        self.assertFalse(subtitle_area.is_one_text(found))

    def test_of_a_short_clip_no_more_is_read_than_brings_other_texts(self):
        found = self.frames(40)
        self.assertTrue(subtitle_area.is_enough(found, (640, 100), 2))
        self.assertFalse(subtitle_area.is_enough(found[:39], (640, 100), 2), "five texts of 39 frames are few")
        found[33][1] = (found[33][1][0], "a sixth one")
        found[1:] = [items[:1] if items[1][1] == "No" else items for items in found[1:]]
        self.assertFalse(subtitle_area.is_enough(found, (640, 100), 2), "the later half has another text")

    def test_frames_are_looked_at_evenly_spread_and_each_once(self):
        self.assertEqual(subtitle_area.evenly(8), [0, 4, 2, 6, 1, 3, 5, 7])
        for count in range(70):
            self.assertEqual(sorted(subtitle_area.evenly(count)), list(range(count)))


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
            (json.dumps({"a.jpg": {"sub_images": [{**strip(1, 2, 0), "first": 2, "last": 3, "stretch": 1}]}}), "around"),
            (json.dumps({"a.jpg": {"sub_images": [{**strip(1, 2, 0), "first": 0, "last": 10**9, "stretch": 1}]}}), "at most"),
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
