// Tells screen readers what an answer says as it grows: sentence by sentence, not token by token.

import { isUnderWay } from "./conversation.js";
import { el } from "./dom.js";

const SENTENCE = /[.!?:。！？]\s|\n/g;
const KEPT = 8; // sentences in the log

export class Live {
  #log;
  #told = new Map(); // how much of each version's text

  constructor(log) {
    this.#log = log;
  }

  /** Begins to tell of a version: from here on, what it says is new. */
  follow(version, column) {
    this.#told.set(version.id, { length: version.text.length, who: `${column}: ` });
  }

  tell(version) {
    const told = this.#told.get(version.id);
    if (!told) return;
    const rest = version.text.slice(told.length);
    const last = [...rest.matchAll(SENTENCE)].at(-1);
    const end = isUnderWay(version) ? (last ? last.index + last[0].length : 0) : rest.length;
    if (end > 0) {
      this.#log.append(el("p", {}, told.who + rest.slice(0, end)));
      while (this.#log.children.length > KEPT) this.#log.firstChild.remove();
      this.#told.set(version.id, { length: told.length + end, who: "" });
    }
    if (!isUnderWay(version)) this.#told.delete(version.id);
  }
}
