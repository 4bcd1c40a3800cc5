// A conversation: plain data, and what is true of it. Nothing here knows of the page.
//
// A turn is a message and, by column, all versions of its answer, one of which is current. Later
// turns were asked below certain versions of the one before (`under`). So a conversation is a
// tree; the current versions are the path through it that is shown, and nothing is ever dropped.

let count = 0;

export function newId() {
  count += 1;
  return `${Date.now().toString(36)}-${count}-${Math.random().toString(36).slice(2, 8)}`;
}

export function newConversation() {
  return { id: newId(), title: "", updated: Date.now(), turns: [] };
}

export function newTurn(message, previous) {
  const under = {};
  for (const [column, answer] of Object.entries(previous?.columns ?? {})) {
    under[column] = answer.current;
  }
  return { id: newId(), message, after: previous?.id ?? null, under, columns: {} };
}

/**
 * A version of an answer, before its first token. `origin` says how it came about: "asked",
 * "branch" or "continue", the latter two from a token of another version. `prefix` are the tokens
 * it begins with, which the server is given.
 */
export function newVersion(settings, origin = { kind: "asked" }, prefix = []) {
  return {
    id: newId(),
    settings,
    origin,
    prefix: prefix.length,
    tokens: [...prefix],
    text: prefix.map((token) => token.shown).join(""),
    status: "waiting",
    finish: null,
    error: null,
    statistics: null,
    seconds: 0, // since the first tokens came,
    timed: 0, // and how many came in these
  };
}

export function addVersion(turn, column, version) {
  turn.columns[column] ??= { versions: [], current: null };
  turn.columns[column].versions.push(version.id);
  turn.columns[column].current = version.id;
}

/** The turns on the current path, first to last. */
export function path(conversation) {
  const shown = [];
  for (;;) {
    const last = shown.at(-1);
    const next = conversation.turns.findLast((turn) => follows(turn, last));
    if (!next) return shown;
    shown.push(next);
  }
}

/** A turn that was asked below another version of the last one shown, if there is any. */
export function elsewhere(conversation) {
  const last = path(conversation).at(-1);
  return conversation.turns.findLast((turn) => last && turn.after === last.id) ?? null;
}

function follows(turn, previous) {
  if (turn.after !== (previous?.id ?? null)) return false;
  return Object.entries(turn.under).every(
    ([column, version]) => previous.columns[column].current === version,
  );
}

/**
 * What the server is told of the conversation before a turn's answer, in a column. A column
 * that a turn has no answer in takes the other's.
 */
export function messages(conversation, turn, column, version, system) {
  const told = system ? [{ role: "system", content: system }] : [];
  const before = path(conversation);
  for (const each of before.slice(0, before.indexOf(turn))) {
    const answer = each.columns[column] ?? Object.values(each.columns)[0];
    told.push({ role: "user", content: each.message });
    if (answer) told.push({ role: "assistant", content: version(answer.current).text });
  }
  return [...told, { role: "user", content: turn.message }];
}

/** The turn and the column that a version is in. */
export function whereIs(conversation, id) {
  for (const turn of conversation.turns) {
    for (const [column, { versions }] of Object.entries(turn.columns)) {
      if (versions.includes(id)) return { turn, column };
    }
  }
  throw new Error(`no version ${id}`);
}

export const isUnderWay = (version) => ["waiting", "streaming"].includes(version.status);

/** Whether nothing would be missed of a version: it has not said anything, and never will. */
export const isEmpty = (version) =>
  version.tokens.length === version.prefix && version.status !== "done";

/** Whether the same question, asked with these settings, gives this very answer. */
export function answers(version, settings) {
  return (
    version.prefix === 0 &&
    version.status === "done" &&
    JSON.stringify(version.settings) === JSON.stringify(settings)
  );
}

/**
 * What the shift did to a token, in nats: log pi* − log p, both at the answer's temperature, where
 * the strengths count 1/T of themselves. Null where somebody does not know.
 */
export function shiftEffect(token, settings) {
  const { strength, temperature } = settings;
  const names = Object.keys(strength ?? {}).filter((name) => strength[name] !== 0);
  if (names.length === 0) return 0;
  if (token.origin === "forced") return 0;
  if (temperature === 0 || temperature === 1) {
    return known(token.logprob, token.target_logprob) ? token.logprob - token.target_logprob : null;
  }
  const ratios = names.map((name) => token.shifts?.[name]);
  if (!known(token.log_z, ...ratios)) return null;
  const moved = names.reduce((sum, name, i) => sum + strength[name] * ratios[i], 0);
  return moved / temperature - token.log_z;
}

export function known(...values) {
  return values.every((value) => Number.isFinite(value));
}

/** The place of a token among the most probable ones, 1 being the first; null beyond those told. */
export function rank(token) {
  const place = (token.top ?? []).findIndex((other) => other.id === token.id);
  return place < 0 ? null : place + 1;
}

/** What can be said of an answer before the server sums it up. */
export function tally(version) {
  const own = version.tokens.slice(version.prefix);
  const z = own.map((token) => token.log_z).filter(Number.isFinite).sort((a, b) => a - b);
  const drafts = own.filter((token) => token.origin === "draft").length;
  return {
    tokens: own.length,
    drafts: own.length && drafts / own.length,
    z: z.length ? Math.exp(z[z.length >> 1]) : null,
    perSecond: version.timed ? version.timed / version.seconds : null,
  };
}
