"""Checks the environment of audio_separator: its models run by torch (Demucs) and by ONNX Runtime (MDX)."""

import onceover_check

if __name__ == "__main__":
    onceover_check.main(
        ("audio-separator", "torch"),
        ("torch", "onnxruntime", "audio_separator.separator"),
        onceover_check.torch_devices,
        onceover_check.multiply,
    )
