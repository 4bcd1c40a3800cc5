// What there is to know of one token, and what could have been in its place.

import { known, rank, shiftEffect } from "./conversation.js";
import { LEGENDS } from "./colours.js";
import { button, el } from "./dom.js";
import { factor, nats, percent, size } from "./format.js";

/** `actions`: `leave()`, `step(by)`, `branch(version, index, alternative)`, and `isEnd(token)`. */
export class TokenView {
  #element;
  #actions;
  #shown = null;

  constructor(element, actions) {
    this.#element = element;
    this.#actions = actions;
    element.onkeydown = (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      actions.leave();
    };
  }

  get isOpen() {
    return this.#shown !== null;
  }

  hide() {
    this.#shown = null;
    this.#element.hidden = true;
    this.#element.replaceChildren();
  }

  focus() {
    this.#element.focus();
  }

  show(version, index) {
    this.#shown = { version, index };
    const token = version.tokens[index];
    const { step, leave } = this.#actions;
    this.#element.hidden = false;
    this.#element.replaceChildren(
      el(
        "header",
        {},
        el("h2", {}, this.#spelt(token)),
        button("‹", () => step(-1), { "aria-label": "Token before", disabled: index === 0 }),
        button("›", () => step(1), {
          "aria-label": "Next token",
          disabled: index + 1 >= version.tokens.length,
        }),
        button("×", leave, { "aria-label": "Close" }),
      ),
      el("p", { className: "about" }, about(token, index, version)),
      facts(token, version.settings),
      ...this.#alternatives(version, index),
    );
    this.#element.scrollIntoView({ block: "nearest" });
  }

  #alternatives(version, index) {
    const token = version.tokens[index];
    const top = token.top ?? [];
    if (top.length === 0) return [];
    const others = rank(token) === null ? [...top, token] : top;
    const most = Math.exp(top[0].logprob);
    return [
      el("h3", {}, "In its place"),
      el("p", { className: "hint" }, "Take another one, and the answer goes on from there."),
      el(
        "ol",
        { className: "alternatives" },
        ...others.map((other) => {
          const isIt = other.id === token.id;
          const bar = el("span", { className: "gauge" }, el("span"));
          bar.firstChild.style.width = `${(100 * Math.exp(other.logprob)) / most}%`;
          return el(
            "li",
            {},
            el(
              "button",
              {
                type: "button",
                disabled: isIt,
                "aria-current": isIt ? "true" : null,
                onclick: () => this.#actions.branch(version, index, other),
              },
              el("span", { className: "spelt" }, this.#spelt(other)),
              bar,
              el("span", { className: "value" }, percent(other.logprob)),
            ),
          );
        }),
      ),
    ];
  }

  /** A token's text with its blanks visible. */
  #spelt(token) {
    if (this.#actions.isEnd(token)) return "∎ the end";
    return token.text.replaceAll(" ", "␣").replaceAll("\n", "⏎").replaceAll("\t", "⇥");
  }
}

function about(token, index, version) {
  const origin = LEGENDS.origin.find(([value]) => value === token.origin)?.[1] ?? token.origin;
  return `${index + 1} of ${version.tokens.length} · id ${token.id} · ${origin}`;
}

function facts(token, settings) {
  const { strength, temperature } = settings;
  const effect = shiftEffect(token, settings);
  const place = rank(token);
  const isTempered = temperature !== 1 && temperature !== 0;
  const at = isTempered ? ` at T ${temperature}` : "";
  const rows = [
    ["p", "target", token.target_logprob],
    ["q", "aligned draft", token.draft_logprob],
    ["r", "reference", token.reference_logprob],
    ["p", `target${at}`, isTempered && known(effect) ? token.logprob - effect : null],
    ["π*", `goal${at}`, token.logprob],
  ].filter(([, , logprob]) => known(logprob));
  const more = [];
  if (known(token.log_z)) {
    more.push(["log Z", `${nats(token.log_z)} (Z ${size(Math.exp(token.log_z))})`]);
  }
  if (token.top?.length) more.push(["rank", place ? String(place) : `beyond ${token.top.length}`]);
  for (const [name, ratio] of Object.entries(token.shifts ?? {})) {
    if (!known(ratio) || !strength?.[name]) continue;
    more.push([`${name}: log q/r`, `${nats(ratio)} × ${strength[name]}`.replace("× -", "× −")]);
  }
  if (known(effect) && Object.values(strength ?? {}).some(Boolean)) {
    more.push(["what the shift did", `${factor(effect)} (${nats(effect)})`]);
  }
  return el(
    "table",
    {},
    el("tbody", {}, ...rows.map(probabilityRow), ...more.map(([name, value]) => row(name, value))),
  );
}

function probabilityRow([symbol, meaning, logprob]) {
  const bar = el("span", { className: "gauge" }, el("span"));
  bar.firstChild.style.width = `${100 * Math.exp(logprob)}%`;
  return el(
    "tr",
    { className: "probability" },
    el("th", { scope: "row" }, el("i", {}, symbol), ` ${meaning}`),
    el("td", {}, bar, el("span", { className: "value" }, percent(logprob))),
  );
}

function row(name, value) {
  return el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, value));
}
