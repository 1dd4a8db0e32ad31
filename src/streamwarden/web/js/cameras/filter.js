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
    fits(camera) {
      const wanted = field.value.trim().toLocaleLowerCase();
      return !wanted || [camera.name, camera.path, camera.owner, camera.id].some((text) => text.toLocaleLowerCase().includes(wanted));
    },
  };
}
