"""Checks the environment of funasr."""

import onceover_check

if __name__ == "__main__":
    onceover_check.main(("funasr", "torch"), ("funasr", "torchaudio"), onceover_check.torch_devices, onceover_check.multiply)
