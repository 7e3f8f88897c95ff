// The same as judge.py, with the official library for JavaScript. Its folder is the first argument.
const { readFileSync } = require("node:fs");
const { createRequire } = require("node:module");
const { Webhook, WebhookVerificationError } = createRequire(process.argv[2] + "/")("standardwebhooks");

function judge({ secret, body, headers }) {
  const webhook = new Webhook(secret);
  let verifies = true;
  try {
    webhook.verify(body, headers);
  } catch (error) {
    if (!(error instanceof WebhookVerificationError)) throw error;
    verifies = false;
  }
  const time = new Date(Number(headers["webhook-timestamp"]) * 1000);
  return { verifies, signature: webhook.sign(headers["webhook-id"], time, body) };
}

process.stdout.write(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(judge)));
