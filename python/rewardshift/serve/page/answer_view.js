// One version of an answer: its tokens, which can be walked through and looked into, its numbers,
// and whatever went wrong with it.

import { colourOf } from "./colours.js";
import { known, tally } from "./conversation.js";
import { button, el } from "./dom.js";
import { nats, share, size, strength } from "./format.js";

const WAYS_ON = {
  lost: ["retry", "proceed"],
  error: ["retry", "proceed"],
  stopped: ["retry", "proceed"],
};

const SAID = {
  waiting: "Waiting for its first token …",
  stopped: "Stopped.",
  lost: "It broke off.",
};

export class AnswerView {
  #spans = [];
  #settled = 0; // tokens before this one show what they will always show
  #cursor = null;
  #actions;
  #text = el("div", { className: "text", tabIndex: 0, role: "group" });
  #notice = el("p", { className: "notice" });
  #numbers = el("dl", { className: "numbers" });

  /**
   * `actions` are called with this view's version: `inspect(version, index)`, `leave()`,
   * `walk`, `retry(version)`, `proceed(version)`, `step(version, by)`; and `isEnd(token)`.
   */
  constructor(version, column, place, actions) {
    this.version = version;
    this.#actions = actions;
    this.#text.setAttribute(
      "aria-label",
      `${column} answer: arrow keys go from token to token, Enter looks into one`,
    );
    this.#text.onkeydown = (event) => this.#key(event);
    this.#text.onclick = (event) => this.#click(event);
    this.element = el(
      "article",
      { className: "answer", data: { column } },
      el(
        "header",
        {},
        el("h3", {}, column),
        el("span", { className: "how" }, how(version)),
        place.count > 1 ? this.#stepper(place) : null,
      ),
      this.#text,
      this.#notice,
      this.#numbers,
    );
    this.update();
  }

  #stepper({ index, count }) {
    const step = (by, text, label) =>
      button(text, () => this.#actions.step(this.version, by), {
        "aria-label": label,
        disabled: index + by < 0 || index + by >= count,
      });
    return el(
      "span",
      { className: "versions", role: "group", "aria-label": "Versions of this answer" },
      step(-1, "‹", "Previous version"),
      el("span", {}, `${index + 1} of ${count}`),
      step(1, "›", "Next version"),
    );
  }

  /** Shows what has come since. */
  update() {
    const { version } = this;
    this.element.dataset.status = version.status;
    for (let index = this.#settled; index < version.tokens.length; index += 1) {
      this.#spans[index] ??= this.#span(version.tokens[index]);
      showToken(this.#spans[index], version.tokens[index].shown);
    }
    // A character of four bytes has as many tokens; what it shows may still change.
    this.#settled = version.finish ? version.tokens.length : Math.max(0, version.tokens.length - 8);
    this.#text.setAttribute("aria-busy", String(["waiting", "streaming"].includes(version.status)));
    this.#say();
    this.#count();
  }

  #span(token) {
    const span = el("span", { className: "t", data: colourOf(token, this.version.settings) });
    if (this.#actions.isEnd(token)) span.classList.add("end");
    this.#text.append(span);
    return span;
  }

  #say() {
    const { version } = this;
    const key = [version.status, version.error, version.finish].join();
    if (this.#notice.dataset.key === key) return;
    this.#notice.dataset.key = key;
    const isCut = version.status === "done" && version.finish === "length";
    const text = version.error ?? (isCut ? "Cut at the length you set." : SAID[version.status]);
    const ways = isCut ? ["proceed"] : WAYS_ON[version.status] ?? [];
    this.#notice.hidden = !text && ways.length === 0;
    if (version.status === "error" || version.status === "lost") {
      this.#notice.setAttribute("role", "alert");
    }
    this.#notice.replaceChildren(
      text ?? "",
      ...ways.map((way) =>
        way === "proceed" && version.tokens.length === 0
          ? ""
          : button(way === "retry" ? "Try again" : "Go on from here", () =>
              this.#actions[way](version),
            ),
      ),
    );
  }

  #count() {
    const { version } = this;
    const { tokens, drafts, z, perSecond } = tally(version);
    const told = version.statistics;
    const shown = [];
    const add = (name, value, title, className = "") =>
      shown.push({ name, value, title, className });
    if (tokens) add(tokens === 1 ? "token" : "tokens", String(tokens), "Tokens of this answer");
    if (perSecond) add("a second", perSecond.toFixed(1), "Tokens a second, since the first one");
    if (known(told?.acceptance)) {
      add("accepted", share(told.acceptance), "Share of the drafted tokens that were accepted");
    } else if (drafts) {
      add("from drafts", share(drafts), "Share of the tokens that are accepted drafts");
    }
    if (known(told?.tokens_per_round) && told.drafted) {
      add("a round", told.tokens_per_round.toFixed(2), "Tokens for each evaluation of the target");
    }
    if (z !== null) add("Z", size(z), "Median of Z: near 1, the shift is mild", "named");
    for (const [name, reward] of Object.entries(told?.implicit_reward ?? {})) {
      const title = `Implicit reward: log q − log r of ${name}, in nats`;
      if (known(reward)) add(name, nats(reward), title, "named");
    }
    this.#numbers.replaceChildren(
      ...shown.map(({ name, value, title, className }) =>
        el("div", { title, className }, el("dt", {}, name), el("dd", {}, value)),
      ),
    );
  }

  #click(event) {
    const index = this.#spans.indexOf(event.target);
    if (index < 0 || !document.getSelection().isCollapsed) return; // text is being selected
    this.select(index);
    this.#actions.inspect(this.version, index);
  }

  #key(event) {
    const last = this.version.tokens.length - 1;
    if (last < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const at = this.#cursor ?? -1;
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: last }[event.key];
    if (to !== undefined) {
      this.select(Math.min(Math.max(to, 0), last));
      this.#actions.walk(this.version, this.#cursor);
    } else if ((event.key === "Enter" || event.key === " ") && at >= 0) {
      this.#actions.inspect(this.version, at);
    } else if (event.key === "Escape") {
      this.#actions.leave();
    } else {
      return;
    }
    event.preventDefault();
  }

  /** Marks a token, and no other; null marks none. */
  select(index) {
    const marked = this.#spans[this.#cursor];
    if (marked) {
      marked.classList.remove("cursor");
      marked.removeAttribute("id");
    }
    this.#cursor = index;
    const span = this.#spans[index];
    if (!span) {
      this.#text.removeAttribute("aria-activedescendant");
      return;
    }
    span.classList.add("cursor");
    span.id = `token-${this.version.id}`;
    this.#text.setAttribute("aria-activedescendant", span.id);
    span.scrollIntoView({ block: "nearest" });
  }

  focus() {
    this.#text.focus({ preventScroll: true });
  }
}

/**
 * A blank that a token begins with stands before its element: where a line breaks there, nothing
 * coloured is left behind.
 */
function showToken(span, shown) {
  const [, blank, rest] = shown.match(/^( ?)(.*)$/s);
  const isApart = blank !== "" && rest.trim() !== "";
  const text = isApart ? rest : shown;
  if (span.textContent === text) return;
  span.textContent = text;
  if (isApart) span.before(blank);
}

function how(version) {
  const { origin, settings } = version;
  const strengths = Object.entries(settings.strength ?? {}).filter(([, value]) => value !== 0);
  const what = strengths.map(([name, value]) => `${name} ${strength(value)}`).join(", ");
  const kind = { branch: "branched", continue: "continued" }[origin.kind];
  return [what, kind].filter(Boolean).join(" · ");
}
