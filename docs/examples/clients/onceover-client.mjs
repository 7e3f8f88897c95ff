export const url = process.env.ONCEOVER_DAEMON ?? "http://localhost:8788";
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

export async function call(path, options = {}) {
  const headers = { ...options.headers };
  if (process.env.ONCEOVER_TOKEN) headers.authorization = `Bearer ${process.env.ONCEOVER_TOKEN}`;
  let answer;
  for (const wait of [1000, 2000, 4000, 8000, null]) {
    answer = await fetch(url + path, { ...options, headers });
    if (answer.status !== 503 || wait === null) break;
    await pause(wait);
  }
  if (answer.ok) return answer;
  const problem = await answer.json();
  const fields = (problem.errors ?? []).map((error) => `${error.field}: ${error.message}`).join("; ");
  throw new Error(`${problem.title}: ${fields || problem.detail}`);
}

export async function submit(request) {
  const headers = { "content-type": "application/json" };
  return (await call("/v1/tasks", { method: "POST", headers, body: JSON.stringify(request) })).json();
}

// Submits, waits for the end and returns the node result.
export async function run(request) {
  let { result } = await submit(request);
  while (!result || ["PENDING", "RUNNING"].includes(result.status)) {
    await pause(1000);
    const query = new URLSearchParams({ task_name: request.task_name });
    ({ result } = await (await call(`/v1/tasks/${request.task_id}/status?${query}`)).json());
  }
  if (result.status !== "SUCCESS") throw new Error(`${request.task_name} ${result.status}: ${result.error}`);
  return result;
}
