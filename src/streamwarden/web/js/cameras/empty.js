// The words in place of the list while there is no camera, or no answer.

import { button, h } from "../dom.js";
import { t } from "../i18n.js";
import { icon } from "../icons.js";
import { explain } from "../problems.js";
import { currentUser, isAdmin } from "../session.js";

export function emptyState() {
  const sub = currentUser()?.sub ?? "";
  return h(
    "div",
    { class: "empty" },
    icon("camera"),
    h("h2", { text: t("empty.title") }),
    h("p", { text: isAdmin() ? t("empty.admin") : t("empty.user", { sub }) }),
    isAdmin() && h("pre", { class: "command", text: `streamwarden camera add --owner ${sub} --name "${t("empty.name")}"` }),
  );
}

/** @param {unknown} error @param {() => void} retry */
export function failedState(error, retry) {
  const { title, advice } = explain(error);
  const again = button(t("retry"), retry, { look: "primary", icon: icon("restart") });
  return h("div", { class: "empty", role: "alert" }, h("h2", { text: title }), h("p", { text: advice }), again);
}
