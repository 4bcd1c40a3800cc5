// Which colour a token has by each way of colouring, and what the colours mean. The colours
// themselves, and the underlines that say the same without colour, are in tokens.css.

import { shiftEffect } from "./conversation.js";
import { el } from "./dom.js";

const DRAWN = "Probability under pi*, from which it was drawn.";

/** Ways of colouring: what each value of the token's data attribute means. */
export const LEGENDS = {
  origin: [
    ["draft", "accepted draft", "The small model drafted it, and the target let it stand."],
    ["correction", "correction", "Drawn in place of a draft that was rejected."],
    ["bonus", "bonus", "Drawn from the goal itself: after an accepted draft, or without one."],
    ["forced", "forced", "The only token that was allowed; no model was asked."],
    ["chosen", "your choice", "Where you branched off."],
  ],
  probability: [
    ["0", "≥ 90 %", DRAWN],
    ["1", "≥ 50 %", DRAWN],
    ["2", "≥ 20 %", DRAWN],
    ["3", "≥ 5 %", DRAWN],
    ["4", "less", DRAWN],
  ],
  shift: [
    ["-2", "less likely ÷ 2.7", "log pi* − log p is −1 or less."],
    ["-1", "÷ 1.3", "log pi* − log p is −0.25 or less."],
    ["0", "as it was", "log pi* − log p is about 0."],
    ["1", "× 1.3", "log pi* − log p is 0.25 or more."],
    ["2", "× 2.7 likelier", "log pi* − log p is 1 or more."],
  ],
  none: [],
};

export function colourOf(token, settings) {
  return {
    origin: token.origin,
    probability: probabilityLevel(token.logprob),
    shift: shiftLevel(shiftEffect(token, settings)),
  };
}

function probabilityLevel(logprob) {
  if (!Number.isFinite(logprob)) return "";
  const floors = [0.9, 0.5, 0.2, 0.05, 0];
  return String(floors.findIndex((floor) => Math.exp(logprob) >= floor));
}

function shiftLevel(effect) {
  if (effect === null) return "";
  const size = Math.abs(effect);
  return String(Math.sign(effect) * (size >= 1 ? 2 : size >= 0.25 ? 1 : 0) || 0);
}

/** Colours the page's tokens one way, and says what that means. */
export function colourBy(way, legend) {
  document.documentElement.dataset.colour = way;
  legend.replaceChildren(
    ...LEGENDS[way].map(([value, name, title]) =>
      el("li", { title }, el("span", { className: "t", data: { [way]: value } }, name)),
    ),
  );
}
