"""follow_events.py TASK [LAST_EVENT_ID]"""

import json
import sys

from onceover_client import Onceover

task, *last = sys.argv[1:]
onceover = Onceover()
headers = {"Last-Event-ID": last[0]} if last else {}
# The daemon sends a comment every few seconds: longer silence is a lost connection.
with onceover.call("GET", "/v1/events", headers=headers, stream=True) as answer:
    for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
        if not line.startswith("data:"):
            continue
        event = json.loads(line.removeprefix("data:"))
        if event.get("task_id") == task:
            print(event["seq"], event["kind"], flush=True)
            if event["kind"] in ("succeeded", "failed", "cancelled"):
                break
