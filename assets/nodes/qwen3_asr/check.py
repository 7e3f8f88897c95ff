"""Checks the environment of qwen3_asr."""

import onceover_check

if __name__ == "__main__":
    onceover_check.main(("qwen-asr", "torch"), ("qwen_asr",), onceover_check.torch_devices, onceover_check.multiply)
