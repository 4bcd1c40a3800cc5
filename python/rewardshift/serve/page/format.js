// Numbers as people read them.

/** A probability, given its logarithm. */
export function percent(logprob) {
  if (logprob === null || logprob === undefined) return "–";
  const share = 100 * Math.exp(logprob);
  if (share >= 99.95) return "100 %";
  if (share >= 9.95) return `${share.toFixed(0)} %`;
  if (share >= 0.1) return `${share.toFixed(1)} %`;
  return share < 1e-3 ? "< 0.001 %" : `${share.toPrecision(1)} %`;
}

/** A difference of logarithms, with its sign. */
export function nats(value) {
  if (value === null || value === undefined) return "–";
  const rounded = value.toFixed(2);
  return Number(rounded) === 0 ? "0.00" : signed(value, rounded);
}

/** A positive number of any size, to three places. */
export function size(value) {
  if (value < 1000) return value.toPrecision(3);
  const options = { notation: "compact", maximumSignificantDigits: 3 };
  return new Intl.NumberFormat("en", options).format(value);
}

/** A strength, with its sign where there is one. */
export function strength(value) {
  return value === 0 ? "0" : signed(value, String(Math.round(100 * value) / 100));
}

export function share(value) {
  return `${Math.round(100 * value)} %`;
}

/** How many times more or less, given the logarithm. */
export function factor(value) {
  const size = Math.exp(Math.abs(value));
  return `${value < 0 ? "÷" : "×"} ${size >= 9.95 ? size.toFixed(0) : size.toPrecision(2)}`;
}

function signed(value, text) {
  return value < 0 ? `−${text.replace("-", "")}` : `+${text}`;
}
