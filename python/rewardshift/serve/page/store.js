// What outlives a reload, in local: each conversation, and each version of an answer, under
// a key of its own, so that a growing answer rewrites nothing but itself.

import { isUnderWay } from "./conversation.js";
import { local, session } from "./storages.js";

const SETTINGS = "rewardshift/settings";
const CONVERSATION = "rewardshift/conversation/";
const VERSION = "rewardshift/version/";
const OPEN = "rewardshift/open"; // per tab: two tabs may have two conversations open

const ORIGINS = ["draft", "correction", "bonus", "forced", "chosen"];

/** Calls `onfull` with whether there was room, each time that changes. */
export class Store {
  #isFull = false;
  #onfull;

  constructor(onfull) {
    this.#onfull = onfull;
  }

  #write(key, value) {
    let isFull = false;
    try {
      local.setItem(key, JSON.stringify(value));
    } catch {
      isFull = true;
    }
    if (isFull !== this.#isFull) this.#onfull(isFull);
    this.#isFull = isFull;
  }

  settings() {
    return read(SETTINGS) ?? {};
  }

  saveSettings(settings) {
    this.#write(SETTINGS, settings);
  }

  /** All conversations, the latest first. */
  conversations() {
    const found = Object.keys(local).filter((key) => key.startsWith(CONVERSATION)).map(read);
    return found.filter((each) => Array.isArray(each?.turns)).sort((a, b) => b.updated - a.updated);
  }

  /** The conversation that this tab had open, or else the latest. */
  open() {
    const all = this.conversations();
    return all.find((each) => each.id === session.getItem(OPEN)) ?? all[0] ?? null;
  }

  setOpen(conversation) {
    session.setItem(OPEN, conversation.id);
  }

  save(conversation) {
    this.#write(CONVERSATION + conversation.id, conversation);
  }

  saveVersion(version) {
    this.#write(VERSION + version.id, pack(version));
  }

  /** A version as it was last saved. What was under way then came to no end. */
  version(id) {
    const packed = read(VERSION + id);
    if (!packed) return { id, ...LOST };
    const version = unpack(packed);
    if (isUnderWay(version)) version.status = "lost";
    return version;
  }

  /** The version that is kept under a key, if one is. */
  static versionAt(key) {
    return key.startsWith(VERSION) ? key.slice(VERSION.length) : null;
  }

  removeVersion(id) {
    local.removeItem(VERSION + id);
  }

  remove(conversation) {
    for (const turn of conversation.turns) {
      for (const { versions } of Object.values(turn.columns)) versions.forEach(this.removeVersion);
    }
    local.removeItem(CONVERSATION + conversation.id);
  }
}

/** What stands for a version that there was no room for. */
const LOST = Object.freeze({
  settings: {},
  origin: { kind: "asked" },
  prefix: 0,
  tokens: [],
  text: "",
  status: "lost",
  finish: null,
  error: "This answer was not saved: the browser's storage was full.",
  statistics: null,
  seconds: 0,
  timed: 0,
});

function read(key) {
  try {
    return JSON.parse(local.getItem(key));
  } catch {
    return null;
  }
}

// Tokens are kept as lists: there are many of them, and their names would take most of the room.

function pack(version) {
  const names = Object.keys(version.settings.strength ?? {});
  const tokens = version.tokens.map((token) => [
    token.id,
    token.text,
    token.shown === token.text ? 0 : token.shown,
    ORIGINS.indexOf(token.origin),
    ...[token.logprob, token.target_logprob, token.draft_logprob].map(short),
    ...[token.reference_logprob, token.log_z].map(short),
    names.map((name) => short(token.shifts?.[name])),
    (token.top ?? []).map((other) => [other.id, other.text, short(other.logprob)]),
  ]);
  return { ...version, tokens };
}

function unpack(packed) {
  const names = Object.keys(packed.settings.strength ?? {});
  const tokens = packed.tokens.map(([id, text, shown, origin, pi, p, q, r, z, shifts, top]) => ({
    id,
    text,
    shown: shown === 0 ? text : shown,
    origin: ORIGINS[origin],
    logprob: pi,
    target_logprob: p,
    draft_logprob: q,
    reference_logprob: r,
    log_z: z,
    shifts: Object.fromEntries(names.map((name, i) => [name, shifts[i]])),
    top: top.map(([other, spelt, logprob]) => ({ id: other, text: spelt, logprob })),
  }));
  return { ...packed, tokens };
}

function short(value) {
  return Number.isFinite(value) ? Math.round(value * 1e5) / 1e5 : null;
}
