"""The locked packages of services: made of the requirements that there are, whole, and from PyPI alone."""

import hashlib
import re
import unittest

from programs import NODES

PROFILES = ("cpu", "cuda")
# What torch for a processor does without, and what comes from another index then.
OF_CUDA = re.compile(r"(nvidia-|cuda-|triton==|torch==|torchaudio==|torchvision==|torchcodec==)")


def services():
    return sorted(path.parent for path in NODES.glob("*/requirements.txt"))


def locks():
    for service in services():
        for profile in PROFILES:
            yield service, profile, service / f"locked-{profile}.txt"


class Locks(unittest.TestCase):
    def test_each_service_is_locked_for_each_profile_from_the_requirements_it_has(self):
        self.assertGreater(len(services()), 5)
        for service, profile, path in locks():
            with self.subTest(service=service.name, profile=profile):
                own = service / f"requirements-{profile}.txt"
                requirements = own if own.is_file() else service / "requirements.txt"
                digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
                made_of = f"# made of {requirements.name} sha256:{digest}"
                self.assertIn(made_of, path.read_text().splitlines(), "run: make lock-nodes")

    def test_every_package_is_pinned_with_hashes_and_none_is_taken_from_elsewhere(self):
        for service, profile, path in locks():
            with self.subTest(service=service.name, profile=profile):
                text = path.read_text()
                self.assertNotRegex(text, r"://|--index|--find-links|@")
                lines = [line for line in text.splitlines() if not line.startswith("#")]
                pins = [at for at, line in enumerate(lines) if not line.startswith(" ")]
                self.assertTrue(pins)
                for at in pins:
                    self.assertRegex(lines[at], r"^[a-z0-9][a-z0-9.-]*==\S+( ; .+)? \\$")
                    self.assertRegex(lines[at + 1], r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")

    def test_what_the_requirements_pin_is_what_is_locked(self):
        for service, profile, path in locks():
            with self.subTest(service=service.name, profile=profile):
                text = path.read_text()
                for line in (service / "requirements.txt").read_text().splitlines():
                    name, same, version = line.partition("==")
                    if not same or line.startswith("#") or (profile == "cuda" and name == "onnxruntime"):
                        continue
                    name = name.split("[")[0].lower().replace(".", "-").replace("_", "-")
                    self.assertRegex(text, rf"(?m)(^|# torch: .*){re.escape(name)}=={re.escape(version)}\b")

    def test_the_profile_of_processors_has_nothing_of_cuda(self):
        for service, profile, path in locks():
            if profile == "cpu":
                with self.subTest(service=service.name):
                    self.assertEqual([line for line in path.read_text().splitlines() if OF_CUDA.match(line)], [])


if __name__ == "__main__":
    unittest.main()
