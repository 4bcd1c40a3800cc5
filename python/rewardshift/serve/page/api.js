// The server: what it is asked, and what can go wrong.

import { events } from "./sse.js";
import { session } from "./storages.js";

const KEY = "rewardshift/key";

/** The server's own error, or what its status says. `status` is 0 for one in mid-answer. */
export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** Nobody answered, or the connection broke. */
export class LostError extends Error {}

/** The key lives as long as the tab; it is never written to where it would stay. */
export function setKey(key) {
  session.setItem(KEY, key);
}

async function request(path, options = {}) {
  const key = session.getItem(KEY);
  const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  let response;
  try {
    response = await fetch(path, { cache: "no-store", ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new LostError("The server does not answer.");
  }
  if (!response.ok) throw new ApiError(await reason(response), response.status);
  return response;
}

async function reason(response) {
  const text = await response.text().catch(() => "");
  try {
    return JSON.parse(text).error.message;
  } catch {
    return `${response.status} ${response.statusText}`.trim();
  }
}

export async function props() {
  return (await request("props")).json();
}

/** What the server says that it answers: OpenAPI. */
export async function description() {
  return (await request("openapi.json")).json();
}

/** Throws as long as the server cannot answer questions. */
export async function health() {
  await request("health", { signal: AbortSignal.timeout(5000) });
}

/**
 * The chunks of an answer; the last has a finish_reason. Throws ApiError for an error of the
 * server's, also in mid-answer, LostError where it breaks off, and AbortError where we stopped it.
 */
export async function* chat(body, signal) {
  const response = await request("v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...body, stream: true }),
    signal,
  });
  let finished = false;
  try {
    for await (const data of events(response.body)) {
      if (data === "[DONE]") break;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new ApiError(chunk.error.message, 0);
      finished ||= Boolean(chunk.choices?.[0]?.finish_reason);
      yield chunk;
    }
  } catch (error) {
    if (error instanceof ApiError || error.name === "AbortError") throw error;
    throw new LostError("The connection broke.");
  }
  if (!finished) throw new LostError("The answer broke off.");
}
