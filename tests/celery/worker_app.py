"""A Celery app whose tasks take and return contexts as the workers of the older gateway do.

Each task takes `kwargs={"context": {...}}` and returns the context with its stage SUCCESS or FAILED; a handled failure is
a Celery SUCCESS. The tests of the dispatching runner start unmodified workers with it:

    celery -A worker_app worker -Q probe_queue -n w1@host -P prefork -c 2

The environment decides what differs between deployments:

    CELERY_BROKER_URL, CELERY_RESULT_BACKEND    where the broker and the results are
    WORKER_ACKS         "late" or "early" (the default of Celery)
    WORKER_REJECT_LOST  "1": a message whose process was killed goes back to the queue
    WORKER_STARTED      "0": no STARTED records
    WORKER_PREFETCH     the prefetch multiplier, 1 if omitted
    WORKER_VISIBILITY   the visibility timeout in seconds, 3600 if omitted
    WORKER_KEYPREFIX    the global key prefix of broker and results
    WORKER_MASTER       the name of the master, where broker and results are behind Sentinel
    WORKER_STATE        the Redis with the state of tasks, for the tasks that write their stage themselves
"""

import copy
import json
import os
import signal
import threading
import time

import redis
from celery import Celery
from celery.exceptions import Ignore

app = Celery("probe")
transport_options = {"visibility_timeout": int(os.environ.get("WORKER_VISIBILITY", "3600"))}
backend_options = {}
if os.environ.get("WORKER_KEYPREFIX"):
    transport_options["global_keyprefix"] = os.environ["WORKER_KEYPREFIX"]
    backend_options["global_keyprefix"] = os.environ["WORKER_KEYPREFIX"]
if os.environ.get("WORKER_MASTER"):
    transport_options["master_name"] = os.environ["WORKER_MASTER"]
    backend_options["master_name"] = os.environ["WORKER_MASTER"]
app.conf.update(
    broker_url=os.environ.get("CELERY_BROKER_URL", "redis://127.0.0.1:6379/0"),
    result_backend=os.environ.get("CELERY_RESULT_BACKEND", "redis://127.0.0.1:6379/1"),
    broker_connection_retry_on_startup=True,
    broker_transport_options=transport_options,
    result_backend_transport_options=backend_options,
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    task_acks_late=os.environ.get("WORKER_ACKS", "early") == "late",
    task_reject_on_worker_lost=os.environ.get("WORKER_REJECT_LOST", "0") == "1",
    task_track_started=os.environ.get("WORKER_STARTED", "1") == "1",
    worker_prefetch_multiplier=int(os.environ.get("WORKER_PREFETCH", "1")),
)


def stage_of(context):
    """Name and input of the node that a context asks for."""
    asked = context["input_params"]
    return asked["task_name"], asked.get("input_data") or {}


def end(context, status, output, error, started):
    """The context with the stage that has ended; the one that came in is not changed."""
    name, data = stage_of(context)
    ended = copy.deepcopy(context)
    ended.setdefault("stages", {})[name] = {
        "status": status,
        "input_params": data,
        "output": output,
        "error": error,
        "duration": round(time.time() - started, 3),
    }
    ended["error"] = error
    return ended


def write_stage(context):
    """Writes the stage of a context to the state of tasks, and counts that, as the workers of the older gateway do."""
    state = redis.Redis.from_url(os.environ["WORKER_STATE"].replace("redis+unix://", "unix://"))
    task = context["workflow_id"]
    state.setex(f"{task}:node:{stage_of(context)[0]}", 86_400, json.dumps(context, ensure_ascii=False))
    state.incr(f"written:{task}")


@app.task(name="probe.noop")
def noop(context):
    return end(context, "SUCCESS", {"value": stage_of(context)[1].get("value", 1)}, None, time.time())


@app.task(name="probe.stamp")
def stamp(context):
    """Returns when it began, in nanoseconds since 1970."""
    return end(context, "SUCCESS", {"at": time.time_ns()}, None, time.time())


@app.task(name="probe.wait")
def wait(context):
    """Sleeps for `seconds`."""
    started = time.time()
    time.sleep(float(stage_of(context)[1].get("seconds", 0)))
    return end(context, "SUCCESS", {"value": 1}, None, started)


@app.task(name="probe.plain")
def plain(context):
    """Returns something that is no context."""
    return {"frames": 2}


@app.task(bind=True, name="probe.sleep")
def sleep(self, context):
    """Sleeps for `seconds` and writes a custom state `PROGRESS` at each of its `steps`."""
    started = time.time()
    data = stage_of(context)[1]
    steps = int(data.get("steps", 4))
    for step in range(1, steps + 1):
        time.sleep(float(data.get("seconds", 1)) / steps)
        self.update_state(state="PROGRESS", meta={"current": step, "total": steps, "phase": "sleep"})
    return end(context, "SUCCESS", {"value": steps}, None, started)


@app.task(bind=True, name="probe.write")
def write(self, context):
    """Writes `text` to the file `name` below the task's folder and appends a line a run to `runs` beside it."""
    started = time.time()
    data = stage_of(context)[1]
    folder = context["shared_storage_path"]
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, data.get("name", "out.txt"))
    time.sleep(float(data.get("seconds", 0)))
    with open(path, "w", encoding="utf-8") as file:
        file.write(data.get("text", "written by a worker\n"))
    with open(os.path.join(folder, "runs"), "a", encoding="utf-8") as file:
        file.write(f"{self.request.id} {os.getpid()}\n")
    return end(context, "SUCCESS", {"path": path, "value": 1}, None, started)


@app.task(name="probe.own")
def write_own(context):
    """Writes its stage itself when it begins and when it has ended; with `late`, so many seconds after that."""
    started = time.time()
    data = stage_of(context)[1]
    write_stage(end(context, "RUNNING", {}, None, started))
    time.sleep(float(data.get("seconds", 0)))
    ended = end(context, "SUCCESS", {"value": data.get("value", 1)}, None, started)
    if "late" in data:
        threading.Timer(float(data["late"]), write_stage, [ended]).start()
    else:
        write_stage(ended)
    return ended


@app.task(name="probe.fail")
def fail(context):
    """Fails as nodes of the older workers do: handled, so that Celery's state is SUCCESS."""
    return end(context, "FAILED", {}, stage_of(context)[1].get("error", "no such codec"), time.time())


@app.task(name="probe.raise")
def raise_error(context):
    raise ValueError(stage_of(context)[1].get("error", "no such codec"))


@app.task(bind=True, name="probe.retry", max_retries=3)
def retry(self, context):
    """Asks Celery for `retries` further tries before it succeeds."""
    tries = self.request.retries
    if tries < int(stage_of(context)[1].get("retries", 1)):
        raise self.retry(exc=RuntimeError(f"try {tries}"), countdown=0)
    return end(context, "SUCCESS", {"value": tries}, None, time.time())


@app.task(name="probe.kill")
def kill_itself(context):
    """Kills its process as the kernel does where memory is short."""
    time.sleep(float(stage_of(context)[1].get("seconds", 0)))
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(bind=True, name="probe.stubborn")
def ignore_sigterm(self, context):
    """Ignores SIGTERM and catches what a soft time limit raises, for `seconds`."""
    started = time.time()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    until = started + float(stage_of(context)[1].get("seconds", 5))
    while time.time() < until:
        try:
            time.sleep(0.05)
        except Exception:  # noqa: BLE001  SoftTimeLimitExceeded
            continue
    return end(context, "SUCCESS", {"value": 1}, None, started)


@app.task(bind=True, name="probe.ignore")
def ignore(self, context):
    """Ends with a custom state and without a result, as tasks do that write their record themselves."""
    self.update_state(state="SKIPPED", meta={"why": "nothing to do"})
    raise Ignore()


@app.task(name="probe.large")
def large(context):
    """Returns as many bytes as `bytes` says."""
    return end(context, "SUCCESS", {"text": "x" * int(stage_of(context)[1].get("bytes", 1024))}, None, time.time())


@app.task(name="probe.object")
def name_object(context):
    """Names the object `key` of a `bucket`, as a worker does that has left its file in the object store."""
    data = stage_of(context)[1]
    url = f"s3://{data['bucket']}/{data['key']}"
    output = {"audio_path": f"/scratch/{data['key']}", "audio_path_minio_url": url}
    return end(context, "SUCCESS", output, None, time.time())
