// A conversation as a file: every version of every answer, with all that is known of its tokens.

import { el } from "./dom.js";

export function exported(conversation, version, model) {
  return {
    format: "rewardshift conversation 1",
    exported: new Date().toISOString(),
    model,
    turns: conversation.turns.map((turn) => ({
      ...turn,
      columns: Object.fromEntries(
        Object.entries(turn.columns).map(([column, { versions, current }]) => [
          column,
          { current, versions: versions.map(version) },
        ]),
      ),
    })),
  };
}

export function download(value, name) {
  const file = new Blob([JSON.stringify(value, null, 1)], { type: "application/json" });
  const link = el("a", { href: URL.createObjectURL(file), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
