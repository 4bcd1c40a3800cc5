// The page: what leads to what.

import { colourBy } from "./colours.js";
import { Connection } from "./connection.js";
import { Controls } from "./controls.js";
import {
  addVersion,
  answers,
  isEmpty,
  isUnderWay,
  messages,
  newConversation,
  newTurn,
  newVersion,
  path,
  whereIs,
} from "./conversation.js";
import { ConversationView } from "./conversation_view.js";
import { byId } from "./dom.js";
import { earlier } from "./earlier.js";
import { download, exported } from "./export.js";
import { Live } from "./live.js";
import { Runs, isLoss } from "./runs.js";
import { Saving } from "./saving.js";
import { Store } from "./store.js";
import { TokenView } from "./token_view.js";

const store = new Store((isFull) => {
  byId("full").hidden = !isFull;
});
const saving = new Saving((version) => store.saveVersion(version));
const live = new Live(byId("live"));
const runs = new Runs(grown);
const connection = new Connection(byId("banner"), byId("state"), ready);
const controls = new Controls(byId("dials"), byId("sampling"), store.settings(), {
  save: (settings) => store.saveSettings(settings),
  letGo() {
    const last = path(conversation).at(-1);
    if (last && model) refresh(last);
  },
});
const token = new TokenView(byId("token"), {
  leave: leaveToken,
  step: stepToken,
  branch,
  isEnd,
});

let conversation = store.open() ?? newConversation();
let model = null; // what the server says of itself
let looked = null; // the version and index of the token that is looked into

const loaded = new Map();
const versions = {
  get(id) {
    if (!loaded.has(id)) loaded.set(id, store.version(id));
    return loaded.get(id);
  },
};

const view = new ConversationView(byId("turns"), versions, {
  suggest: send,
  turnTo,
  step: stepVersion,
  retry,
  proceed,
  inspect(version, index) {
    lookAt(version, index);
    token.focus();
  },
  walk(version, index) {
    if (token.isOpen) lookAt(version, index);
  },
  leave: leaveToken,
  isEnd,
});

/** Whether a token ends answers. */
function isEnd({ id }) {
  return model?.end_of_generation?.includes(id) ?? false;
}

// Answers

function ask(turn, column, settings, origin, prefix) {
  dropEmpty(turn.columns[column]);
  const version = newVersion(settings, origin, prefix);
  loaded.set(version.id, version);
  addVersion(turn, column, version);
  live.follow(version, column);
  saving.soon(version);
  if (isOver(version)) return version;
  const told = messages(conversation, turn, column, versions.get, settings.system);
  void runs.run(version, told).then((failure) => failure && failed(version, failure));
  return version;
}

/** Whether somebody chose that an answer ends here; then there is nothing to ask. */
function isOver(version) {
  const last = version.tokens.at(-1);
  if (!last || !isEnd(last)) return false;
  Object.assign(version, { status: "done", finish: "stop" });
  return true;
}

/** Drops the current version of an answer, if nothing would be missed of it. */
function dropEmpty(answer) {
  const id = answer?.current;
  if (!answer?.versions.includes(id) || !isEmpty(versions.get(id))) return;
  answer.versions = answer.versions.filter((other) => other !== id);
  forget(id);
  store.removeVersion(id);
}

/** What is under way of a version is not waited for. */
function forget(id) {
  if (loaded.has(id)) runs.stop(loaded.get(id));
  loaded.delete(id);
}

/** Versions that the server left in the lurch, each to be asked for once more when it is back. */
const broken = new Set();
const retried = new Set();

function failed(version, error) {
  const isGone = isLoss(error);
  if (isGone && !retried.has(version.id)) broken.add(version.id);
  if (isGone || error.status === 401) connection.fail(error);
}

/** Has a turn's answers be what the settings ask for; an answer that is there is shown again. */
function refresh(turn) {
  for (const column of controls.columns()) {
    const settings = controls.version(column);
    const answer = turn.columns[column];
    const current = answer && versions.get(answer.current);
    if (current && isAsked(current, settings)) continue;
    if (current && isUnderWay(current)) runs.stop(current);
    dropEmpty(answer);
    const again = (id) => settings.deterministic && answers(versions.get(id), settings);
    const found = answer?.versions.findLast(again);
    if (found) answer.current = found;
    else ask(turn, column, settings);
  }
  changed();
}

const isAsked = (version, settings) =>
  JSON.stringify(version.settings) === JSON.stringify(settings) &&
  !["lost", "error"].includes(version.status);

function send(message) {
  if (runs.areAny || !model) return;
  const turn = newTurn(message, path(conversation).at(-1));
  conversation.turns.push(turn);
  conversation.title ||= message.slice(0, 80);
  controls.heeded();
  refresh(turn);
  scrollTo({ top: document.documentElement.scrollHeight });
}

function retry(version) {
  const { turn, column } = whereIs(conversation, version.id);
  const prefix = version.tokens.slice(0, version.prefix);
  retried.add(ask(turn, column, version.settings, version.origin, prefix).id);
  changed();
}

function proceed(version) {
  const prefix = version.tokens.filter((each) => !isEnd(each));
  anew(version, { kind: "continue", from: version.id, at: prefix.length }, prefix);
}

function branch(version, index, alternative) {
  const from = version.tokens[index];
  const chosen = {
    ...alternative,
    shown: isEnd(alternative) ? "" : alternative.text,
    origin: "chosen",
    log_z: from.log_z,
    top: from.top,
  };
  const prefix = [...version.tokens.slice(0, index), chosen];
  const made = anew(version, { kind: "branch", from: version.id, at: index }, prefix);
  looked = null;
  token.hide();
  view.view(made).select(index);
  view.view(made).focus();
}

/** Another version, that begins with some tokens of this one. */
function anew(version, origin, prefix) {
  const { turn, column } = whereIs(conversation, version.id);
  const made = ask(turn, column, version.settings, origin, prefix);
  changed();
  return made;
}

function stepVersion(version, by) {
  const { turn, column } = whereIs(conversation, version.id);
  const answer = turn.columns[column];
  answer.current = answer.versions[answer.versions.indexOf(version.id) + by];
  changed();
}

/** Goes to the versions that a turn was asked below. */
function turnTo(turn) {
  const before = conversation.turns.find((each) => each.id === turn.after);
  for (const [column, version] of Object.entries(turn.under)) {
    before.columns[column].current = version;
  }
  changed();
}

// What has changed is shown and saved

const grew = new Set();

function grown(version) {
  if (!isUnderWay(version)) showRunning();
  if (!loaded.has(version.id)) return; // dropped
  saving.soon(version);
  live.tell(version);
  if (grew.size === 0) requestAnimationFrame(showGrown);
  grew.add(version);
}

function showGrown() {
  const root = document.documentElement;
  const wasAtEnd = scrollY + innerHeight > root.scrollHeight - 80;
  for (const version of grew) view.view(version)?.update();
  grew.clear();
  if (wasAtEnd && !token.isOpen) scrollTo({ top: root.scrollHeight });
}

function changed() {
  conversation.updated = Date.now();
  store.save(conversation);
  store.setOpen(conversation);
  show();
}

function show() {
  view.render(conversation, controls.columns());
  showRunning();
  if (looked && !view.view(looked.version)) leaveToken();
}

function showRunning() {
  byId("stop").hidden = !runs.areAny;
  byId("send").hidden = runs.areAny;
  byId("send").disabled = !model;
}

function open(other) {
  runs.stopAll();
  saving.flush();
  conversation = other;
  leaveToken();
  store.setOpen(conversation);
  show();
}

// Tokens

function lookAt(version, index) {
  if (looked && looked.version !== version) view.view(looked.version)?.select(null);
  looked = { version, index };
  token.show(version, index);
  view.view(version).select(index); // the panel may cover it
}

function stepToken(by) {
  const { version, index } = looked;
  if (!version.tokens[index + by]) return;
  lookAt(version, index + by);
  token.focus();
}

function leaveToken() {
  if (!looked) return;
  const { version } = looked;
  looked = null;
  token.hide();
  view.view(version)?.focus();
}

// The server

function ready(props) {
  model = props;
  byId("model").textContent = props.model_alias;
  controls.offer(props);
  view.forget(); // which tokens end answers is known only now
  show();
  if (looked) view.view(looked.version)?.select(looked.index);
  const again = [...broken].map(versions.get);
  broken.clear();
  for (const version of again.filter(isCurrent)) retry(version);
}

function isCurrent(version) {
  return path(conversation).some((turn) =>
    Object.values(turn.columns).some(({ current }) => current === version.id),
  );
}

// The rest of the page

for (const radio of document.querySelectorAll("[name=colour]")) {
  radio.checked = radio.value === controls.settings.colour;
  radio.onchange = () => {
    controls.set("colour", radio.value);
    colourBy(radio.value, byId("legend"));
  };
}
colourBy(controls.settings.colour, byId("legend"));

const question = byId("question");

byId("composer").onsubmit = (event) => {
  event.preventDefault();
  const message = question.value.trim();
  if (!message || runs.areAny || !model) return;
  question.value = "";
  send(message);
};
question.onkeydown = (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  byId("composer").requestSubmit();
};
byId("stop").onclick = () => {
  runs.stopAll();
  question.focus();
};
byId("new").onclick = () => {
  open(newConversation());
  question.focus();
};
byId("export").onclick = () => {
  saving.flush();
  download(exported(conversation, versions.get, model), `rewardshift-${conversation.id}.json`);
};
earlier(byId("earlier"), byId("earlier-list"), store, {
  reopen: open,
  remove(other) {
    for (const turn of other.turns) {
      for (const answer of Object.values(turn.columns)) answer.versions.forEach(forget);
    }
    store.remove(other);
    if (other.id === conversation.id) open(newConversation());
  },
});

// Another tab went on with this conversation.
addEventListener("storage", ({ key }) => {
  if (!key || runs.areAny) return;
  const version = Store.versionAt(key);
  if (version) loaded.delete(version);
  else if (!key.endsWith(conversation.id)) return;
  conversation = store.conversations().find(({ id }) => id === conversation.id) ?? conversation;
  show();
});

// Wide pages have room for the settings, and nothing to unfold them with.
const narrow = matchMedia("(max-width: 60rem)");
const unfold = () => {
  byId("settings").open = !narrow.matches;
};
narrow.addEventListener("change", unfold);
unfold();

show();
void connection.look();
