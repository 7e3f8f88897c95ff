"""Celery tasks of `make demo-workers`: two nodes of the service ffmpeg, as workers of the older gateway have them. A task
takes the context of a stage, does the work with ffmpeg, and returns the context with the stage's output. It knows nothing
of Onceover."""

import os
import subprocess
import time

from celery import Celery

app = Celery("demo", broker=os.environ["DEMO_BROKER"], backend=os.environ["DEMO_RESULTS"])
app.conf.update(
    accept_content=["json"],
    broker_connection_retry_on_startup=True,
    result_serializer="json",
    task_serializer="json",
    task_track_started=True,
    worker_prefetch_multiplier=1,
)


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *arguments], check=True, capture_output=True, text=True)


def run_stage(context, work):
    """Returns the context with the stage that it asks for, SUCCESS or FAILED."""
    asked = context["input_params"]
    folder = context["shared_storage_path"]
    os.makedirs(folder, exist_ok=True)
    # The demo kills a worker in the middle of its work, so that has to take a moment.
    while os.path.exists(os.environ["DEMO_HOLD"]):
        time.sleep(0.05)
    started = time.time()
    stage = {"status": "SUCCESS", "input_params": asked["input_data"], "output": {}, "error": None}
    try:
        stage["output"] = work(asked["input_data"], folder)
    except subprocess.CalledProcessError as error:
        stage.update(status="FAILED", error=error.stderr.strip()[-500:] or "ffmpeg failed")
    stage["duration"] = round(time.time() - started, 3)
    context["stages"][asked["task_name"]] = stage
    return context


@app.task(name="ffmpeg.extract_audio")
def extract_audio(context):
    def work(data, folder):
        path = os.path.join(folder, "audio.wav")
        ffmpeg("-i", data["video_path"], "-vn", "-ac", "1", "-ar", "16000", path)
        return {"audio_path": path}

    return run_stage(context, work)


@app.task(name="ffmpeg.extract_keyframes")
def extract_keyframes(context):
    def work(data, folder):
        frames = os.path.join(folder, "keyframes")
        os.makedirs(frames, exist_ok=True)
        ffmpeg("-i", data["video_path"], "-vf", "fps=2", os.path.join(frames, "frame_%04d.jpg"))
        return {"keyframe_dir": frames, "keyframe_files_count": len(os.listdir(frames))}

    return run_stage(context, work)
