// node submit-and-poll.mjs TASK VIDEO
import { openAsBlob } from "node:fs";
import { writeFile } from "node:fs/promises";
import { call, run } from "./onceover-client.mjs";

const [task_id, video] = process.argv.slice(2);
try {
  const body = new FormData();
  body.set("file", await openAsBlob(video), "video.mp4");
  await call(`/v1/files/upload?file_path=${task_id}/in/video.mp4`, { method: "POST", body });
  const input_data = { video_path: "in/video.mp4" };
  const result = await run({ task_name: "ffmpeg.extract_audio", task_id, input_data });
  const path = result.output.audio_path.split("/share/workflows/")[1];
  await writeFile("audio.wav", (await call(`/v1/files/download/${path}`)).body);
  console.log(path);
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
