// The openai npm package, in the version that the editor has pinned. Reads JSON lines: jobs {id, base_url,
// key, max_retries, call, request, headers, leave_after} and {abort: id}. Prints a line {id, …} for each job
// that ended: what openai_clients.Outcome says of it.
import OpenAI from "openai";
import { createInterface } from "node:readline";

const running = new Map();

const CALLS = {
  chat: (client, request, options) => client.chat.completions.create(request, options),
  embeddings: (client, request, options) => client.embeddings.create(request, options),
  images: (client, request, options) => client.images.generate(request, options),
  models: (client, _, options) => client.models.list(options),
};

/** Puts the deltas of a stream together, as the editor does. */
async function collected(stream, controller, leaveAfter) {
  const outcome = { text: "", reasoning: "", details: [], tool_calls: [], chunks: 0 };
  for await (const chunk of stream) {
    outcome.chunks += 1;
    const choice = chunk.choices[0]; // the editor reads the field of every chunk
    const delta = choice?.delta ?? {};
    outcome.text += delta.content ?? "";
    outcome.reasoning += delta.reasoning ?? delta.reasoning_content ?? "";
    outcome.details.push(...(delta.reasoning_details ?? []));
    for (const piece of delta.tool_calls ?? []) {
      const call = (outcome.tool_calls[piece.index] ??= { id: "", name: "", arguments: "" });
      call.id ||= piece.id ?? "";
      call.name ||= piece.function?.name ?? "";
      call.arguments += piece.function?.arguments ?? "";
    }
    outcome.finish = choice?.finish_reason ?? outcome.finish;
    outcome.usage = chunk.usage ?? outcome.usage;
    if (outcome.chunks === leaveAfter) controller.abort();
  }
  return outcome;
}

/** What a whole answer holds. */
function read(call, answer) {
  if (call === "embeddings") return { vectors: answer.data.map((one) => Array.from(one.embedding)) };
  if (call === "images") return { images: answer.data.map((one) => one.b64_json ?? one.url) };
  if (call === "models") return { models: answer.data.map((one) => one.id) };
  const [{ message, finish_reason: finish }] = answer.choices;
  return {
    text: message.content ?? "",
    reasoning: message.reasoning ?? "",
    details: message.reasoning_details ?? [],
    tool_calls: (message.tool_calls ?? []).map(({ id, function: f }) => ({ id, name: f.name, arguments: f.arguments })),
    images: (message.images ?? []).map((one) => one.image_url.url),
    finish,
    usage: answer.usage,
  };
}

function described(error) {
  const { status, code, param, message } = error;
  const retryAfter = error.headers?.get("retry-after");
  return { kind: error.constructor.name, status, code, param, message, retry_after: retryAfter };
}

async function run({ id, base_url: baseURL, key: apiKey, max_retries: maxRetries, ...job }) {
  const { call, request, headers, leave_after: leaveAfter } = job;
  const client = new OpenAI({ baseURL, apiKey, maxRetries });
  const controller = new AbortController();
  running.set(id, controller);
  let outcome;
  try {
    const answer = await CALLS[call](client, request, { headers, signal: controller.signal });
    outcome = request.stream ? await collected(answer, controller, leaveAfter) : read(call, answer);
  } catch (error) {
    if (!(error instanceof OpenAI.APIError)) throw error;
    outcome = { error: described(error) };
  }
  console.log(JSON.stringify({ id, ...outcome }));
}

for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line);
  if (job.abort) running.get(job.abort).abort();
  else run(job);
}
