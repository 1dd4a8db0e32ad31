// What the pages of one camera have in common: its name, the ways between them, and failing to find it.

import { h } from "../dom.js";
import { t } from "../i18n.js";
import { icon } from "../icons.js";
import { explain } from "../problems.js";
import { cameraLink, recordingsLink } from "../router.js";

/** @param {import("../cameras/card.js").Camera} camera @param {"camera"|"recordings"} here */
export function cameraHead(camera, here) {
  return h(
    "div",
    { class: "page-head" },
    h("a", { class: "back", href: "#/" }, icon("back"), t("back")),
    h("h1", { text: camera.name }),
    h(
      "nav",
      { class: "tabs", "aria-label": camera.name },
      h("a", { href: cameraLink(camera.id), "aria-current": here === "camera" ? "page" : null, text: t("live") }),
      h("a", { href: recordingsLink(camera.id), "aria-current": here === "recordings" ? "page" : null, text: t("recordings") }),
    ),
  );
}

/** @param {unknown} error */
export function failureBox(error) {
  const { title, advice } = explain(error);
  return h(
    "div",
    { class: "empty", role: "alert" },
    icon("warning"),
    h("h2", { text: title }),
    h("p", { text: advice }),
    h("a", { class: "button", href: "#/", text: t("back") }),
  );
}
