// Elements, made of names and text. Text only ever becomes text: nothing here parses HTML.

/**
 * An element. `properties` are set as they are named in the DOM (`className`, `onclick`), those
 * with a dash as attributes; what is null or undefined is left out.
 */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (name === "data") Object.assign(element.dataset, value);
    else if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

export function button(text, onclick, properties = {}) {
  return el("button", { type: "button", onclick, ...properties }, text);
}

export function byId(id) {
  return document.getElementById(id);
}
