"""Judges deliveries as a receiver with the official library would: JSON in, JSON out.

In: [{"secret", "body", "headers": {...}}, ...], what came with a delivery. Out: for each {"verifies": whether it would be
accepted, "signature": what the library itself would have signed with that id and time}.
"""

import json
import sys
from datetime import datetime, timezone

from standardwebhooks import Webhook, WebhookVerificationError


def judge(one):
    webhook = Webhook(one["secret"])
    try:
        webhook.verify(one["body"], one["headers"])
        verifies = True
    except WebhookVerificationError:
        verifies = False
    time = datetime.fromtimestamp(int(one["headers"]["webhook-timestamp"]), tz=timezone.utc)
    return {"verifies": verifies, "signature": webhook.sign(one["headers"]["webhook-id"], time, one["body"])}


json.dump([judge(one) for one in json.load(sys.stdin)], sys.stdout)
