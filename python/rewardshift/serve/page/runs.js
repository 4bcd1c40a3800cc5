// Answers under way: each is asked for, grows, and ends in one way or another.

import { ApiError, LostError, chat } from "./api.js";
import { showPieces } from "./pieces.js";

export class Runs {
  #controllers = new Map();
  #onchange;

  /** `onchange(version)` is called whenever there is more of one, and once when it ends. */
  constructor(onchange) {
    this.#onchange = onchange;
  }

  get areAny() {
    return this.#controllers.size > 0;
  }

  stop(version) {
    this.#controllers.get(version.id)?.abort();
  }

  stopAll() {
    for (const controller of this.#controllers.values()) controller.abort();
  }

  /** Has the server answer; returns when that has ended, and what it failed with, if it did. */
  async run(version, messages) {
    const controller = new AbortController();
    this.#controllers.set(version.id, controller);
    let failure = null;
    try {
      await this.#grow(version, messages, controller.signal);
      version.status = "done";
    } catch (error) {
      version.status = controller.signal.aborted ? "stopped" : isLoss(error) ? "lost" : "error";
      failure = controller.signal.aborted ? null : error;
      version.error = failure?.message ?? null;
    }
    this.#controllers.delete(version.id);
    this.#onchange(version);
    return failure;
  }

  async #grow(version, messages, signal) {
    let place = { start: version.prefix, offset: version.text.length };
    let firstAt = null;
    for await (const chunk of chat(body(version, messages), signal)) {
      const choice = chunk.choices?.[0];
      if (!choice) continue; // the chunk with the usage
      const tokens = choice.rewardshift?.tokens ?? [];
      version.tokens.push(...tokens);
      version.text += choice.delta?.content ?? "";
      version.finish = choice.finish_reason ?? null;
      place = showPieces(version.tokens, version.text, place.start, place.offset, version.finish);
      if (tokens.length) {
        version.status = "streaming";
        if (firstAt !== null) version.timed += tokens.length;
        firstAt ??= performance.now();
        version.seconds = (performance.now() - firstAt) / 1000;
      }
      if (version.finish) version.statistics = summary(chunk);
      this.#onchange(version);
    }
  }
}

function body(version, messages) {
  const { strength, temperature, draft, length, seed, deterministic } = version.settings;
  return {
    messages,
    ...(strength ? { strength } : {}),
    temperature,
    ...(draft === null ? {} : { num_draft_tokens: draft }),
    max_tokens: length,
    seed,
    deterministic,
    top_logprobs: 10,
    return_token_info: true,
    ...(version.prefix
      ? { continue_from: version.tokens.slice(0, version.prefix).map((token) => token.id) }
      : {}),
  };
}

function summary(chunk) {
  const { tokens: _, ...statistics } = chunk.rewardshift ?? chunk.choices[0].rewardshift ?? {};
  return statistics;
}

/** Whether the server is gone, or not ready, so that the same request may well succeed later. */
export function isLoss(error) {
  return error instanceof LostError || (error instanceof ApiError && error.status === 503);
}
