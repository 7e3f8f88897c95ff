"""wait_for_callback.py TASK VIDEO"""

import base64
import hashlib
import hmac
import http.server
import json
import os
import sys
import time

from onceover_client import Onceover


def is_ours(secret, headers, body):
    sent = headers["webhook-timestamp"]
    if abs(time.time() - int(sent)) > 300:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{sent}.".encode() + body
    right = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return any(hmac.compare_digest(right, one) for one in headers["webhook-signature"].split(" "))


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        good = is_ours(os.environ["CALLBACK_SECRET"], self.headers, body)
        self.send_response(204 if good else 401)
        self.end_headers()
        if good:
            self.server.callback = json.loads(body)


task, video = sys.argv[1:]
server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
server.callback = None
url = f"http://127.0.0.1:{server.server_port}/"
Onceover().submit("ffmpeg.extract_audio", task, {"video_path": video}, callback=url)
while server.callback is None:
    server.handle_request()
result = server.callback["result"]
print(server.callback["status"], result["error"] or result["output"]["audio_path"])
