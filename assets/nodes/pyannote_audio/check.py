"""Checks the environment of pyannote_audio."""

import onceover_check

if __name__ == "__main__":
    onceover_check.main(("pyannote.audio", "torch"), ("pyannote.audio",), onceover_check.torch_devices, onceover_check.multiply)
