// node follow-events.mjs TASK [LAST_EVENT_ID]
import { call } from "./onceover-client.mjs";

const [task, last] = process.argv.slice(2);
const headers = last ? { "last-event-id": last } : {};
const stream = (await call("/v1/events", { headers })).body.pipeThrough(new TextDecoderStream());
let text = "";
reading: for await (const piece of stream) {
  const lines = (text + piece).split("\n");
  text = lines.pop();
  for (const line of lines.filter((line) => line.startsWith("data:"))) {
    const event = JSON.parse(line.slice(5));
    if (event.task_id !== task) continue;
    console.log(event.seq, event.kind);
    if (["succeeded", "failed", "cancelled"].includes(event.kind)) break reading;
  }
}
