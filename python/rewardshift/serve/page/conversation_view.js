// The turns that are shown, each with its answers side by side.

import { AnswerView } from "./answer_view.js";
import { elsewhere, path } from "./conversation.js";
import { button, el } from "./dom.js";

const SUGGESTIONS = ["Tell me about the sea.", "What is a black hole?", "I baked my first bread."];

export class ConversationView {
  #element;
  #versions;
  #actions;
  #views = new Map(); // of the answers that are shown, by version

  /** `actions` are those of an answer, and `suggest(message)` and `turnTo(turn)`. */
  constructor(element, versions, actions) {
    this.#element = element;
    this.#versions = versions;
    this.#actions = actions;
  }

  view(version) {
    return this.#views.get(version.id);
  }

  /** Has all answers be made anew with the next render(). */
  forget() {
    this.#views = new Map();
  }

  /** Shows a conversation's current path, in the columns given. */
  render(conversation, columns) {
    const kept = this.#views;
    this.#views = new Map();
    const turns = path(conversation).map((turn) => this.#turn(turn, columns, kept));
    const other = elsewhere(conversation);
    this.#element.replaceChildren(
      ...(turns.length ? turns : [this.#empty()]),
      ...(other
        ? [
            el(
              "p",
              { className: "elsewhere" },
              "What was said next follows another version of this answer.",
              button("Show it", () => this.#actions.turnTo(other)),
            ),
          ]
        : []),
    );
  }

  #turn(turn, columns, kept) {
    const answers = columns
      .filter((column) => turn.columns[column])
      .map((column) => this.#answer(turn.columns[column], column, kept));
    return el(
      "section",
      { className: "turn" },
      el("p", { className: "message", dir: "auto" }, turn.message),
      el("div", { className: "answers" }, ...answers),
    );
  }

  #answer({ versions, current }, column, kept) {
    const place = { index: versions.indexOf(current), count: versions.length };
    const key = `${place.index}/${place.count}`;
    const version = this.#versions.get(current);
    let view = kept.get(current);
    if (view?.key !== key || view.version !== version) {
      view = new AnswerView(version, column, place, this.#actions);
      view.key = key;
    }
    this.#views.set(current, view);
    return view.element;
  }

  #empty() {
    return el(
      "div",
      { className: "empty" },
      el("p", {}, "Ask something, and see what the model says alone and with the dials turned."),
      el(
        "div",
        {},
        ...SUGGESTIONS.map((message) => button(message, () => this.#actions.suggest(message))),
      ),
    );
  }
}
