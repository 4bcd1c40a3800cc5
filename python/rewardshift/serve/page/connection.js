// Whether the server can be asked: looks after it while it cannot, and says so in a banner.

import { ApiError, health, props, setKey } from "./api.js";
import { button, el } from "./dom.js";

const EVERY = 15_000; // ms between looks while all is well
const WAITS = [500, 1000, 2000, 3000]; // ms between looks while it is not, the last from then on

export class Connection {
  #banner;
  #state;
  #onready;
  #timer = 0;
  #looks = 0;

  /** `onready(props)` is called when the server can be asked, at first and whenever it is back. */
  constructor(banner, state, onready) {
    this.#banner = banner;
    this.#state = state;
    this.#onready = onready;
    setInterval(() => this.#check(), EVERY);
  }

  /** Notices a server that went away while nothing was asked of it. */
  async #check() {
    if (this.#state.dataset.state !== "ready" || document.visibilityState === "hidden") return;
    await health().catch((error) => this.fail(error));
  }

  /** Looks for the server, again and again until it is there. */
  async look() {
    clearTimeout(this.#timer);
    try {
      await health();
      const found = await props();
      this.#looks = 0;
      this.#say("ready");
      this.#onready(found);
    } catch (error) {
      this.fail(error);
    }
  }

  /** Takes notice of what a request failed with. */
  fail(error) {
    if (error instanceof ApiError && error.status === 401) {
      this.#askForKey(error.message);
      return;
    }
    const isThere = error instanceof ApiError;
    this.#say(
      isThere ? "not ready" : "lost",
      isThere
        ? `The server is not ready: ${error.message}`
        : "The server cannot be reached. Nothing is lost; looking for it …",
      button("Look now", () => this.look()),
    );
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.look(), WAITS[Math.min(this.#looks, WAITS.length - 1)]);
    this.#looks += 1;
  }

  #askForKey(message) {
    const input = el("input", {
      type: "password", id: "key", autocomplete: "off", spellcheck: false, required: true,
    });
    const form = el(
      "form",
      {
        className: "key",
        onsubmit: (event) => {
          event.preventDefault();
          setKey(input.value);
          this.#banner.dataset.said = ""; // if it is the wrong one, ask anew
          this.look();
        },
      },
      el("label", { htmlFor: "key" }, "API key"),
      input,
      el("button", { type: "submit", className: "primary" }, "Use it"),
    );
    this.#say("locked", message, form);
    input.focus();
  }

  #say(state, message = "", ...more) {
    const said = `${state} ${message}`;
    if (this.#state.dataset.state === state && this.#banner.dataset.said === said) return;
    this.#state.dataset.state = state;
    this.#state.textContent = state;
    this.#banner.dataset.said = said;
    this.#banner.hidden = state === "ready";
    this.#banner.replaceChildren(el("span", {}, message), ...more);
  }
}
