// The settings: a slider for each dial, and how to sample. What is set takes effect as one lets go.

import { button, el } from "./dom.js";
import { strength } from "./format.js";

const LET_GO = 350; // ms without another change: arrow keys change a slider once for each press

/** Settings nobody has touched: strengths and temperature are the server's then. */
const DEFAULTS = {
  strengths: {},
  temperature: null,
  draft: null,
  length: 200,
  seed: 1,
  reproducible: true,
  compare: true,
  colour: "origin",
  system: "",
};

export class Controls {
  #element;
  #actions;
  #timer = 0;
  #props = { shifts: [], draft: false };

  /** `actions`: `save(settings)`, and `letGo()`, some time after the last of several changes. */
  constructor(dials, sampling, saved, actions) {
    this.#element = { dials, sampling };
    this.#actions = actions;
    this.settings = { ...DEFAULTS, ...saved };
  }

  /** Offers what a server has. Dials keep the strength that they were given last. */
  offer(props) {
    this.#props = props;
    const { dials, sampling } = this.#element;
    dials.replaceChildren(...this.#dials());
    sampling.replaceChildren(...this.#sampling());
  }

  /** What a version in a column is asked for with. */
  version(column) {
    const { draft, length, seed, reproducible, system } = this.settings;
    const { shifts } = this.#props;
    const of = (shift) => (column === "plain" ? 0 : this.#strength(shift));
    return {
      strength: shifts.length ? Object.fromEntries(shifts.map((s) => [s.name, of(s)])) : null,
      temperature: this.settings.temperature ?? this.#temperature,
      draft: this.#props.draft ? draft : null,
      length,
      seed,
      deterministic: reproducible,
      system,
      model: [this.#props.model_alias, this.#props.model_path].join(" "),
    };
  }

  /** The columns that there are: without a dial, there is nothing to compare. */
  columns() {
    if (this.#props.shifts.length === 0) return ["plain"];
    return this.settings.compare ? ["plain", "aligned"] : ["aligned"];
  }

  set(name, value) {
    this.settings[name] = value;
    this.#actions.save(this.settings);
  }

  #change(name, value) {
    this.set(name, value);
    this.heeded();
    this.#timer = setTimeout(() => this.#actions.letGo(), LET_GO);
  }

  /** What was changed has taken effect, before anybody has let go. */
  heeded() {
    clearTimeout(this.#timer);
  }

  /** What the server decodes with where a request does not say. */
  get #defaults() {
    return this.#props.default_generation_settings?.params ?? {};
  }

  get #temperature() {
    return this.#defaults.temperature ?? 1;
  }

  #strength(shift) {
    return this.settings.strengths[shift.name] ?? this.#initial(shift);
  }

  #initial(shift) {
    const { strength: told } = this.#defaults;
    return (typeof told === "object" ? told?.[shift.name] : told) ?? shift.strength;
  }

  #dials() {
    return this.#props.shifts.map((shift) =>
      slider({
        name: shift.name,
        about: shift.description,
        min: -3,
        max: 3,
        step: 0.1,
        value: this.#strength(shift),
        initial: this.#initial(shift),
        isDial: true,
        set: (value) =>
          this.#change("strengths", { ...this.settings.strengths, [shift.name]: value }),
      }),
    );
  }

  #sampling() {
    const { temperature, draft, length, seed } = this.settings;
    return [
      slider({
        name: "Temperature",
        about: "At 0, the most probable token",
        min: 0,
        max: 2,
        step: 0.05,
        value: temperature ?? this.#temperature,
        initial: this.#temperature,
        set: (value) => this.#change("temperature", value),
      }),
      this.#props.draft ? draftLength(draft, (value) => this.#change("draft", value)) : null,
      el(
        "div",
        { className: "pair" },
        field("Tokens at most", length, { min: 1, max: 32768 }, (v) => this.#change("length", v)),
        this.#seed(seed),
      ),
      check("Reproducible", "The same seed gives the same answer; such answers are decoded one after another",
        this.settings.reproducible, (value) => this.#change("reproducible", value)),
      this.#props.shifts.length
        ? check("Compare with plain", "Strength 0 beside your dials, from the same seed",
            this.settings.compare, (value) => this.#change("compare", value))
        : null,
      el(
        "label",
        { className: "system" },
        "System message",
        el("textarea", {
          rows: 2,
          value: this.settings.system,
          onchange: (event) => this.#change("system", event.target.value),
        }),
      ),
    ].filter(Boolean);
  }

  #seed(seed) {
    const label = field("Seed", seed, { min: 0, max: 2 ** 32 - 1 }, (v) => this.#change("seed", v));
    const input = label.querySelector("input");
    const another = () => {
      input.value = String(Math.floor(Math.random() * 10000));
      this.#change("seed", Number(input.value));
    };
    return el("div", { className: "seed" }, label, button("Another", another));
  }
}

let count = 0;

/** A slider with a field that says the same number, and can be typed into. */
function slider({ name, about, min, max, step, value, initial, isDial = false, set }) {
  count += 1;
  const id = `slider-${count}`;
  const range = el("input", { type: "range", id, min, max, step, value });
  const number = el("input", { type: "number", min, max, step, value, "aria-label": name });
  const back = button("reset", () => take(initial), {
    className: "reset",
    "aria-label": `${name} back to ${initial}`,
  });
  const show = () => {
    back.hidden = Number(number.value) === initial;
    fill(range);
    if (isDial) range.setAttribute("aria-valuetext", strength(Number(range.value)));
  };
  const take = (given) => {
    const taken = Math.min(Math.max(given, min), max);
    range.value = number.value = String(taken);
    show();
    set(taken);
  };
  range.oninput = () => {
    number.value = range.value;
    show();
  };
  range.onchange = () => take(range.valueAsNumber);
  number.onchange = () => {
    take(Number.isFinite(number.valueAsNumber) ? number.valueAsNumber : initial);
  };
  show();
  return el(
    "div",
    { className: isDial ? "slider dial" : "slider" },
    el("label", { htmlFor: id }, name),
    back,
    number,
    range,
    about ? el("p", {}, about) : null,
  );
}

/** Where its thumb is, for the style of its track. */
function fill(range) {
  const { min, max, valueAsNumber } = range;
  range.style.setProperty("--at", (valueAsNumber - min) / (max - min));
}

/** From automatic, at the left, to eight. */
function draftLength(value, set) {
  const told = (at) => (at < 0 ? "auto" : at === 0 ? "none" : String(at));
  const output = el("output", {}, told(value ?? -1));
  const scale = { min: -1, max: 8, step: 1, value: value ?? -1 };
  const range = el("input", { type: "range", id: "draft", ...scale });
  const show = () => {
    fill(range);
    output.textContent = told(range.valueAsNumber);
    range.setAttribute("aria-valuetext", output.textContent);
  };
  range.oninput = show;
  range.onchange = () => set(range.valueAsNumber < 0 ? null : range.valueAsNumber);
  show();
  return el(
    "div",
    { className: "slider" },
    el("label", { htmlFor: "draft" }, "Draft length"),
    output,
    range,
    el("p", {}, "Tokens drafted at a time; changes the speed, not the answers’ probabilities"),
  );
}

function field(name, value, range, set) {
  const input = el("input", { type: "number", step: 1, value, ...range });
  const note = el("output");
  input.onchange = () => {
    const given = Number.isFinite(input.valueAsNumber) ? Math.round(input.valueAsNumber) : value;
    const taken = Math.min(Math.max(given, range.min), range.max);
    note.textContent = taken === given ? "" : `${range.min} to ${range.max}`;
    input.value = String(taken);
    set(taken);
  };
  return el("label", { className: "field" }, name, input, note);
}

function check(name, about, checked, set) {
  const input = el("input", { type: "checkbox", checked, onchange: () => set(input.checked) });
  return el("label", { className: "check" }, input, el("span", {}, name, el("small", {}, about)));
}
