"""Checks the environment of paddleocr, by reading a word: the weights are in the package."""

import importlib
import os

import onceover_check
import onceover_node

# The folder's own module, which has the name of no library.
import engines


def devices():
    onnxruntime = importlib.import_module("onnxruntime")
    built = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    return onceover_node.cuda_devices() if built else 0


def read_word(device):
    asked = {"engine": "rapidocr", "device": device, "language": "en"}
    with open(os.devnull, "wb") as nowhere:
        _, read = engines.start(onceover_node.Run({"protocol": onceover_node.PROTOCOL, "input": asked}, nowhere))
        words = [text for _, text, _ in read(engines.sample())]
    if words != ["text"]:
        raise onceover_check.Fault(f"of a picture of the word 'text' it reads {words}")
    return f"RapidOCR reads a word on {device}"


if __name__ == "__main__":
    onceover_check.main(("rapidocr",), ("rapidocr", "onnxruntime", "cv2"), devices, read_word)
