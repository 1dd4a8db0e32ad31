// The field above the list, and which cameras fit what is typed into it.

import { h } from "../dom.js";
import { t } from "../i18n.js";
import { icon } from "../icons.js";

export function filterField() {
  const field = h("input", { type: "search", id: "filter", placeholder: t("filter.hint"), "aria-label": t("filter"), autocomplete: "off" });
  const element = h("div", { class: "filter", hidden: true }, icon("search"), field);
  return {
    element,
    /** @param {() => void} changed */
    onChange: (changed) => field.addEventListener("input", changed),
    /** @param {import("./card.js").Camera} camera */
    fits: (camera) => matches(camera, field.value),
  };
}

/**
 * Whether what was typed is part of a camera's name, path, owner or id.
 * @param {import("./card.js").Camera} camera @param {string} typed
 */
export function matches({ name, path, owner, id }, typed) {
  const wanted = typed.trim().toLocaleLowerCase();
  return !wanted || [name, path, owner, id].some((text) => text.toLocaleLowerCase().includes(wanted));
}
