"""Keeps the check at home: callbacks that would be sent to made-up hosts are sent to one that never exists."""

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
