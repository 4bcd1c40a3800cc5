// The conversations of this browser, to go back to or to delete.

import { button, el } from "./dom.js";

/** `actions`: `reopen(conversation)` and `remove(conversation)`. */
export function earlier(menu, list, store, actions) {
  const show = () => {
    const all = store.conversations().filter((each) => each.turns.length > 0);
    const items = all.map((conversation) => {
      const title = conversation.title || "(nothing said)";
      const open = button(title, () => {
        menu.open = false;
        actions.reopen(conversation);
      });
      const remove = button("×", () => {
        actions.remove(conversation);
        show();
      }, { "aria-label": `Delete: ${title}` });
      return el("li", {}, open, remove);
    });
    list.replaceChildren(...(items.length ? items : [el("li", {}, "Nothing yet")]));
  };
  menu.ontoggle = () => menu.open && show();
  menu.onkeydown = (event) => {
    if (event.key !== "Escape") return;
    menu.open = false;
    menu.querySelector("summary").focus();
  };
  document.addEventListener("click", (event) => {
    if (event.target.isConnected && !menu.contains(event.target)) menu.open = false;
  });
}
