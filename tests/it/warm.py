"""A node that keeps a "model": what a process does that takes runs one after another."""

import os
import pathlib
import subprocess
import sys
import threading
import time

import onceover_node

FOLDER = pathlib.Path(__file__).parent


def load():
    return {"uses": 0, "ballast": []}


def wait_for(run):
    """Reports until the file is there."""
    count = 0
    while not (FOLDER / run.input["until"]).exists():
        count += 1
        run.progress(10, f"waiting {count}")
        time.sleep(0.01)


def write_late(run):
    """Writes lines of the run once it is over."""
    def write():
        while not (FOLDER / run.input["until"]).exists():
            time.sleep(0.01)
        run.send({"type": "output", "output": {"late": True}})
        run.log("a late line of " + run.task_id)

    threading.Thread(target=write, daemon=True).start()


def work(run):
    began = time.time()
    model = run.keep(("model",), load)
    model["uses"] += 1
    output = {"pid": os.getpid(), "uses": model["uses"], "began": began}
    output["gpus"] = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    print("printed in " + run.task_id)
    print("complained in " + run.task_id, file=sys.stderr)
    run.log("logged in " + run.task_id)
    does = run.input.get("does")
    if does == "waits":
        wait_for(run)
    elif does == "hangs":
        run.progress(10, "hangs")
        time.sleep(60)
    elif does == "grows":
        model["ballast"].append(b"x" * (64 << 20))
    elif does == "leaves":
        output["left"] = subprocess.Popen(["sleep", "60"], start_new_session=True).pid
    elif does == "is late":
        write_late(run)
    return output


onceover_node.main(work)
