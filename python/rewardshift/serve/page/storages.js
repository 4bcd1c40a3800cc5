// The browser's storages; where it grants none, what stands in for one until the page goes.

class StandIn {
  getItem(key) {
    return this[key] ?? null;
  }

  setItem(key, value) {
    this[key] = value;
  }

  removeItem(key) {
    delete this[key];
  }
}

function storage(name) {
  try {
    return window[name];
  } catch {
    return new StandIn();
  }
}

export const local = storage("localStorage");
export const session = storage("sessionStorage");
