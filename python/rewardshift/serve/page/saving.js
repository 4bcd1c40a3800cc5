// Saves what grows now and then, and all of it before the page goes away.

const OFTEN = 400; // ms between two saves, unless a save takes long

export class Saving {
  #save;
  #dirty = new Set();
  #timer = 0;
  #pause = OFTEN;

  constructor(save) {
    this.#save = save;
    addEventListener("pagehide", () => this.flush());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "hidden") this.flush();
    });
  }

  soon(version) {
    this.#dirty.add(version);
    this.#timer ||= setTimeout(() => this.flush(), this.#pause);
  }

  flush() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    const start = performance.now();
    for (const version of this.#dirty) this.#save(version);
    this.#dirty.clear();
    this.#pause = Math.max(OFTEN, 20 * (performance.now() - start));
  }
}
