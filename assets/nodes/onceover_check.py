"""Checks the environment of a service: that its libraries can be imported, which device they use, and a tiny run where
that needs no weights. `onceoverd nodes install --check` runs the check.py of each service with its interpreter:

    python check.py cpu|cuda

It prints a line for each thing, and ends with 1 where one is not in order.
"""

import importlib
import importlib.metadata
import os
import sys
import time

import onceover_node


class Fault(Exception):
    """What is not in order, as a line."""


def main(packages, modules, devices, work):
    """Checks `modules`, tells the releases of `packages`, and does `work(device)`, which returns what it did in words.
    `devices()` is how many CUDA GPUs the libraries can use; None where they use none."""
    profile = sys.argv[1] if len(sys.argv) > 1 else "cpu"
    # What libraries print goes to stderr.
    lines = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    onceover_node.prepare()
    onceover_node.set_offline()
    try:
        for what, check in (
            ("imports", lambda: imports(packages, modules)),
            ("device", lambda: device(profile, devices)),
            ("run", lambda: timed(lambda: work("cuda" if profile == "cuda" and devices and devices() else "cpu"))),
        ):
            lines.write(f"{what:8} {check()}\n")
            lines.flush()
        status = 0
    except Exception as why:  # noqa: BLE001, whatever a library raises is reported
        lines.write(f"{what:8} failed: {why if isinstance(why, Fault) else onceover_node.in_words(why)}\n")
        lines.flush()
        status = 1
    os._exit(status)


def imports(packages, modules):
    for module in modules:
        importlib.import_module(module)
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)


def device(profile, devices):
    """What the libraries compute on. On a machine without a GPU the profile cuda does the same as cpu."""
    if devices is None:
        return "the processor, which is all that it uses"
    there, usable = onceover_node.cuda_devices(), devices()
    if profile == "cpu" or not there:
        return "the processor" + ("" if profile == "cpu" else ", as this machine shows no CUDA GPU")
    if not usable:
        raise Fault(f"the driver shows {there} CUDA GPU(s), but the libraries can use none; is the driver recent enough?")
    return f"{usable} CUDA GPU(s)"


def timed(work):
    begun = time.monotonic()
    did = work()
    return f"{did}, {time.monotonic() - begun:.1f} s"


def torch_devices():
    torch = importlib.import_module("torch")
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def multiply(device):
    """A product of matrices by torch, which no weights are needed for."""
    torch = importlib.import_module("torch")
    ones = torch.ones(64, 64, device=device)
    if float((ones @ ones).sum()) != 64.0**3:
        raise Fault(f"torch multiplies wrongly on {device}")
    return f"torch multiplies on {device}; a model needs its weights"
