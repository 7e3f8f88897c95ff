"""submit_and_poll.py TASK VIDEO"""

import sys

from onceover_client import Onceover, Problem

task, video = sys.argv[1:]
onceover = Onceover()
try:
    with open(video, "rb") as file:
        where = {"file_path": f"{task}/in/video.mp4"}
        onceover.call("POST", "/v1/files/upload", params=where, files={"file": file})
    result = onceover.run("ffmpeg.extract_audio", task, {"video_path": "in/video.mp4"})
except (Problem, RuntimeError) as error:
    sys.exit(str(error))
path = result["output"]["audio_path"].split("/share/workflows/")[1]
with onceover.call("GET", f"/v1/files/download/{path}", stream=True) as answer, open("audio.wav", "wb") as file:
    for piece in answer.iter_content(1 << 20):
        file.write(piece)
print(path)
