"""Keeps the check at home: callbacks that would be sent to made-up hosts are sent to one that never exists. And leaves out
what the description cannot say."""

import re

import schemathesis


def at_home(submit):
    callback = submit.get("callback") if isinstance(submit, dict) else None
    if isinstance(callback, str) and callback.lower().startswith("http") and len(callback) <= 2048:
        submit["callback"] = "http://receiver.invalid/hook"


@schemathesis.hook
def before_call(context, case, kwargs):
    if isinstance(case.body, dict):
        at_home(case.body)
        tasks = case.body.get("tasks")
        for submit in tasks if isinstance(tasks, list) else []:
            at_home(submit)


@schemathesis.hook
def filter_case(context, case):
    # With a task_id the key means nothing, whatever it is: it is not refused for its form then.
    key = (case.headers or {}).get("Idempotency-Key")
    names_its_task = isinstance(case.body, dict) and case.body.get("task_id") is not None
    return not names_its_task or key is None or re.fullmatch("[!-~]{1,255}", str(key)) is not None
