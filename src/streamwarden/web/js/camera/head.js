// What the pages of one camera have in common: its name, the ways between them, and failing to find it.

import { h } from "../dom.js";
import { t } from "../i18n.js";
import { icon } from "../icons.js";
import { call, cameraPath } from "../api.js";
import { failedState } from "../cameras/empty.js";
import { explain, isPassing } from "../problems.js";
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

const RETRY_MS = 5_000;

/**
 * The page of a camera once the API has answered; while it does not, what is wrong, and another try.
 * @param {string} id
 * @param {(camera: import("../cameras/card.js").Camera) => import("../main.js").Page} open
 * @returns {Promise<import("../main.js").Page>}
 */
export async function pageOf(id, open) {
  try {
    return open(await call("GET", cameraPath(id)));
  } catch (error) {
    if (isPassing(error)) return waitingPage(id, open, error);
    return { element: failureBox(error), close() {} };
  }
}

/** @param {string} id @param {(camera: any) => import("../main.js").Page} open @param {unknown} error */
function waitingPage(id, open, error) {
  const element = h("div");
  let timer = 0;
  let closed = false;
  /** @type {import("../main.js").Page|null} */
  let found = null;
  const wait = (/** @type {unknown} */ why) => {
    element.replaceChildren(isPassing(why) ? failedState(why, tryAgain) : failureBox(why));
    if (isPassing(why)) timer = setTimeout(tryAgain, RETRY_MS);
  };
  const tryAgain = async () => {
    clearTimeout(timer);
    try {
      const camera = await call("GET", cameraPath(id));
      if (closed || found) return;
      found = open(camera);
      element.replaceChildren(found.element);
    } catch (why) {
      if (!closed && !found) wait(why);
    }
  };
  wait(error);
  return {
    element,
    close() {
      closed = true;
      clearTimeout(timer);
      found?.close();
    },
  };
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
