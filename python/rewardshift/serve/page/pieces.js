// What each token shows of the text.
//
// A token's own text has U+FFFD where it holds part of a character only. The text of the answer
// has the whole character, so it is shown by the last of the tokens that spell it.

const PARTIAL = "\uFFFD";

/**
 * Sets `shown` of the tokens from `start` on, which show `text` from `offset` on, and says how far
 * that is final: the start and offset to go on from when more has come. Control tokens are not in
 * the text and show nothing.
 */
export function showPieces(tokens, text, start, offset, isWhole) {
  let index = start;
  while (index < tokens.length) {
    const own = tokens[index].text;
    if (!own.includes(PARTIAL)) {
      const isThere = text.startsWith(own, offset);
      if (!isThere && !isWhole && own.startsWith(text.slice(offset))) break; // text comes later
      tokens[index].shown = isThere ? own : "";
      offset += isThere ? own.length : 0;
      index += 1;
      continue;
    }
    const end = endOfRun(tokens, index);
    const next = tokens[end]?.text;
    const found = next ? text.indexOf(next, offset) : -1;
    if (found < 0 && !isWhole) break;
    const until = found < 0 ? text.length : found;
    for (let i = index; i < end; i += 1) tokens[i].shown = "";
    tokens[end - 1].shown = text.slice(offset, until);
    [index, offset] = [end, until];
  }
  for (let i = index; i < tokens.length; i += 1) tokens[i].shown = "";
  if (index < tokens.length) tokens[tokens.length - 1].shown = text.slice(offset);
  return { start: index, offset };
}

function endOfRun(tokens, index) {
  let end = index;
  while (end < tokens.length && tokens[end].text.includes(PARTIAL)) end += 1;
  return end;
}
