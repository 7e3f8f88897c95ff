"""Stands in for a node whose model cannot be had: gives the documented output, with the files it names.

usage: stand_in.py OUTPUT.json  (the command protocol on standard input and output)

In the output's texts "@file:NAME" is a file and "@dir:NAME" a folder with a file in it, made below the run's folder.
"""

import json
import os
import sys


def made(value, folder):
    if isinstance(value, dict):
        return {name: made(inner, folder) for name, inner in value.items()}
    if isinstance(value, list):
        return [made(inner, folder) for inner in value]
    if not isinstance(value, str) or not value.startswith(("@file:", "@dir:")):
        return value
    kind, name = value.split(":", 1)
    path = os.path.join(folder, name)
    file = path if kind == "@file" else os.path.join(path, "made_by_the_stand_in")
    os.makedirs(os.path.dirname(file), exist_ok=True)
    with open(file, "w") as written:
        written.write("made by the stand-in\n")
    return path


request = json.load(sys.stdin)
with open(sys.argv[1]) as template:
    output = made(json.load(template), request["output_dir"])
print(json.dumps({"type": "output", "output": output}))
