import os
import time

import requests


class Problem(Exception):
    """What the daemon refused, and why."""

    def __init__(self, document):
        fields = "; ".join(f"{error['field']}: {error['message']}" for error in document.get("errors", []))
        super().__init__(f"{document['title']}: {fields or document['detail']}")
        self.document = document


class Onceover:
    def __init__(self):
        self.url = os.environ.get("ONCEOVER_DAEMON", "http://localhost:8788")
        self.session = requests.Session()
        if token := os.environ.get("ONCEOVER_TOKEN"):
            self.session.headers["Authorization"] = f"Bearer {token}"

    def call(self, method, path, **more):
        for wait in (1, 2, 4, 8, None):
            answer = self.session.request(method, self.url + path, timeout=60, **more)
            if answer.status_code != 503 or wait is None:
                break
            time.sleep(wait)
        if "problem+json" in answer.headers.get("content-type", ""):
            raise Problem(answer.json())
        answer.raise_for_status()
        return answer

    def submit(self, task_name, task_id, input_data, **more):
        body = {"task_name": task_name, "task_id": task_id, "input_data": input_data, **more}
        return self.call("POST", "/v1/tasks", json=body).json()

    def run(self, task_name, task_id, input_data):
        """Submits, waits for the end and returns the node result."""
        result = self.submit(task_name, task_id, input_data).get("result")
        while result is None or result["status"] in ("PENDING", "RUNNING"):
            time.sleep(1)
            path = f"/v1/tasks/{task_id}/status"
            result = self.call("GET", path, params={"task_name": task_name}).json()["result"]
        if result["status"] != "SUCCESS":
            raise RuntimeError(f"{task_name} {result['status']}: {result['error']}")
        return result
