"""Writes stages as the older gateway's workers do: one key a stage, SETEX, the whole context as JSON (wire.md, 7).

Each line of its input is one write, as JSON: task, node, status, and at will spelling ("older": task:service:method),
output, error, progress, ttl (seconds; null for none). Each is answered with the key.
"""

import datetime
import json
import sys

import redis

TTL = 86_400
state = redis.Redis(unix_socket_path=sys.argv[1], db=int(sys.argv[2]), decode_responses=True)

for line in sys.stdin:
    write = json.loads(line)
    task, node = write["task"], write["node"]
    service, method = node.split(".", 1)
    key = f"{task}:{service}:{method}" if write.get("spelling") == "older" else f"{task}:node:{node}"
    if write["status"] is None:
        state.delete(key)
        print(key, flush=True)
        continue
    stage = {
        "status": write["status"],
        "input_params": {},
        "output": write.get("output", {"value": 7} if write["status"] in ("SUCCESS", "completed") else {}),
        "error": write.get("error"),
        "duration": 12.5 if write["status"] in ("SUCCESS", "completed", "FAILED") else 0.0,
    }
    if "progress" in write:
        stage["progress"] = write["progress"]
    context = {
        "workflow_id": task,
        "create_at": datetime.datetime.now().isoformat(),
        "input_params": {"task_name": node, "input_data": {"video_path": "a.mp4"}, "callback_url": None},
        "shared_storage_path": f"/share/workflows/{task}",
        "stages": {node: stage},
        "error": None,
        "status": "running",
        "celery_task_id": "7bd1254a",
    }
    text = json.dumps(context, ensure_ascii=False)
    ttl = write.get("ttl", TTL)
    state.setex(key, ttl, text) if ttl else state.set(key, text)
    print(key, flush=True)
