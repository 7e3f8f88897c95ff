"""Sends tasks to the workers of `worker_app.py` as any Celery program does, and waits for their results.

    plain_client.py TASK COUNT INPUT            all at once; prints the seconds until the last result was there
    plain_client.py TASK COUNT INPUT --single   one after another; TASK returns when it began (`at`, nanoseconds since
                                                1970), and the milliseconds until then are printed, one a line

INPUT is the input of the node, as JSON. Tasks get the context that the daemon sends.
"""

import json
import sys
import time

from worker_app import app

QUEUE = "probe_queue"
PATIENCE = 120


def context(node, number, data):
    return {
        "workflow_id": f"plain-{number}",
        "create_at": "2026-11-28T09:43:59.726Z",
        "input_params": {"task_name": node, "input_data": data, "callback_url": None},
        "stages": {
            node: {"status": "pending", "input_params": {}, "output": {}, "error": None, "duration": 0.0},
        },
        "error": None,
        "status": "pending",
        "shared_storage_path": f"/tmp/plain-{number}",
    }


def main():
    node, count, data = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
    task = app.tasks[node]

    def send(number):
        return task.apply_async(kwargs={"context": context(node, number, data)}, queue=QUEUE)

    # Connects to broker and results.
    send("first").get(timeout=PATIENCE)
    if "--single" in sys.argv[4:]:
        for number in range(count):
            sent = time.time_ns()
            ended = send(number).get(timeout=PATIENCE)
            print((ended["stages"][node]["output"]["at"] - sent) / 1e6)
        return
    begun = time.monotonic()
    results = [send(number) for number in range(count)]
    for result in results:
        result.get(timeout=PATIENCE)
    print(time.monotonic() - begun)


main()
