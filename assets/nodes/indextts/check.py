"""Checks the environment of indextts."""

import onceover_check

if __name__ == "__main__":
    onceover_check.main(("indextts2-inference", "torch"), ("indextts",), onceover_check.torch_devices, onceover_check.multiply)
