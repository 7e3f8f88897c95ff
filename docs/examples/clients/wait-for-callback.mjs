// node wait-for-callback.mjs TASK VIDEO
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import { submit } from "./onceover-client.mjs";

function isOurs(secret, headers, body) {
  const sent = headers["webhook-timestamp"];
  if (Math.abs(Date.now() / 1000 - Number(sent)) > 300) return false;
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const signed = Buffer.concat([Buffer.from(`${headers["webhook-id"]}.${sent}.`), body]);
  const right = Buffer.from(`v1,${createHmac("sha256", key).update(signed).digest("base64")}`);
  const given = headers["webhook-signature"].split(" ").map((one) => Buffer.from(one));
  return given.some((one) => one.length === right.length && timingSafeEqual(one, right));
}

const [task_id, video_path] = process.argv.slice(2);
const server = createServer(async (request, response) => {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  const body = Buffer.concat(pieces);
  const good = isOurs(process.env.CALLBACK_SECRET, request.headers, body);
  response.writeHead(good ? 204 : 401, { connection: "close" }).end();
  if (!good) return;
  const { status, result } = JSON.parse(body);
  console.log(status, result.error ?? result.output.audio_path);
  server.close();
});
server.listen(0, "127.0.0.1", async () => {
  const callback = `http://127.0.0.1:${server.address().port}/`;
  await submit({ task_name: "ffmpeg.extract_audio", task_id, input_data: { video_path }, callback });
});
