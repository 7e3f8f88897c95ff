"""The life of a task with the client that is generated from /openapi.json (README.md says how).

    python scenario.py http://127.0.0.1:8788 /videos/lecture-07.mp4
"""

import os
import sys
import time
import uuid

from onceover_client import AuthenticatedClient, Client
from onceover_client.api.nodes import get_node, get_node_schema, list_nodes
from onceover_client.api.system import list_queues
from onceover_client.api.tasks import (
    cancel_task,
    delete_task,
    explain_reuse,
    get_task_status,
    list_tasks,
    resubmit_stage,
    submit_task,
)
from onceover_client.models import (
    DeleteRequest,
    FfmpegExtractAudioInput,
    FfmpegExtractAudioSubmit,
    FfmpegExtractKeyframesInput,
    FfmpegExtractKeyframesSubmit,
    Problem,
    ResubmitRequest,
    ReuseDecision,
    ReuseMode,
    TaskStatus,
)

AUDIO = "ffmpeg.extract_audio"
KEYFRAMES = "ffmpeg.extract_keyframes"


def connect(url):
    token = os.environ.get("ONCEOVER_TOKEN")
    return AuthenticatedClient(base_url=url, token=token) if token else Client(base_url=url)


def accepted(answer):
    """The answer, unless it is a refusal."""
    if answer is None or isinstance(answer, Problem):
        sys.exit(f"refused: {answer}")
    return answer


def wait(client, task, node, until):
    """Asks for the node until it is in one of these states."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        view = accepted(get_task_status.sync(task, client=client, task_name=node))
        if view.status in until:
            return view
        time.sleep(0.05)
    sys.exit(f"{node} of {task} is still {view.status}")


def main(url, video):
    client = connect(url)
    task = f"client-{uuid.uuid4()}"
    ended = {TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED}

    nodes = accepted(list_nodes.sync(client=client))
    node = accepted(get_node.sync(AUDIO, client=client))
    schema = accepted(get_node_schema.sync(AUDIO, client=client))
    print(f"nodes: {nodes.total_count}; {node.name} takes {', '.join(schema['properties'])}")

    extract = FfmpegExtractAudioSubmit(
        task_name=AUDIO, task_id=task, input_data=FfmpegExtractAudioInput(video_path=video)
    )
    first = accepted(submit_task.sync(client=client, body=extract))
    print(f"submit: {first.status}, {first.reuse_info.reason}")
    view = wait(client, task, AUDIO, ended)
    print(f"status: {view.status}, {view.result.output['audio_path']}")

    again = accepted(submit_task.sync(client=client, body=extract))
    print(f"hit: {again.status}, reused: {again.reuse_info.reuse_hit}, {again.result.output['audio_path']}")

    page = accepted(list_tasks.sync(client=client, search=task))
    print(f"list: {[item.task_id for item in page.items]}")

    explanation = accepted(explain_reuse.sync(task, AUDIO, client=client))
    print(f"explanation: a submit would {explanation.decision}, {explanation.message}")
    assert explanation.decision == ReuseDecision.HIT

    resubmitted = accepted(
        resubmit_stage.sync(task, AUDIO, client=client, body=ResubmitRequest(reuse=ReuseMode.NEVER))
    )
    print(f"resubmit: {resubmitted.status}, {resubmitted.reuse_info.reason}")
    wait(client, task, AUDIO, ended)

    keyframes = FfmpegExtractKeyframesSubmit(
        task_name=KEYFRAMES, task_id=task, input_data=FfmpegExtractKeyframesInput(video_path=video)
    )
    accepted(submit_task.sync(client=client, body=keyframes))
    wait(client, task, KEYFRAMES, ended | {TaskStatus.RUNNING})
    cancelled = cancel_task.sync(task, client=client, task_name=KEYFRAMES)
    # A short video's processing may have ended before: then this is refused, which does no harm.
    if isinstance(cancelled, Problem):
        print(f"cancel: {cancelled.detail}")
    else:
        print(f"cancel: cancelled {cancelled.cancelled}")

    queues = accepted(list_queues.sync(client=client))
    print(f"queues: {', '.join(f'{queue.name} {queue.running}/{queue.slots}' for queue in queues.queues)}")

    wrong = FfmpegExtractAudioSubmit(task_name=AUDIO, input_data=FfmpegExtractAudioInput(video_path=7))
    problem = submit_task.sync(client=client, body=wrong)
    assert isinstance(problem, Problem), problem
    print(f"problem: {problem.status} {problem.type_}: {[error.field for error in problem.errors]}")

    report = accepted(delete_task.sync(task, client=client, body=DeleteRequest(force=True)))
    gone = get_task_status.sync(task, client=client)
    print(f"delete: {report.status}, then {gone.status}")


if __name__ == "__main__":
    main(*sys.argv[1:])
