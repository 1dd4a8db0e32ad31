// One camera in the list. What is shown is written again only where it differs.

import { button, h, setAttribute, setText } from "../dom.js";
import { t } from "../i18n.js";
import { icon } from "../icons.js";
import { cameraLink, recordingsLink } from "../router.js";
import { stopMenu, stoppedBy } from "./stopping.js";
import { advice, canStart, lastSegment, nextTry, stateAsOf, stateName, why } from "./status.js";

/** A status that is older is no longer called the present one. */
const STALE_MS = 120_000;

/** @typedef {{id: string, name: string, path: string, owner: string, status: string, source_url?: string|null}} Camera */

/**
 * A card, at first with its name alone: the rest is drawn when it comes into view, so that 500 cards
 * cost no more than a screenful.
 * @param {Camera} camera
 * @param {{press: (id: string, start: boolean) => void, publish: (camera: Camera) => void}} actions
 */
export function cameraCard(camera, actions) {
  const name = h("h2", {}, h("a", { href: cameraLink(camera.id), text: camera.name, title: camera.name }));
  const element = h("li", { class: "card", id: `camera-${camera.id}`, "data-state": "unknown" }, name);
  /** @type {any} */
  let parts = null;
  const card = {
    camera,
    element,
    /** @type {import("./status.js").Status|null} */
    status: null,
    picture: "",
    busy: false,
    /** When the status was heard, in milliseconds by this computer's clock. */
    heardAt: 0,
    stale: false,

    /** Draw all of it; harmless when repeated. */
    draw() {
      if (parts) return;
      parts = makeParts(element, name, camera, actions);
      card.refresh();
    },

    /** @param {import("./status.js").Status} status */
    show(status) {
      card.status = status;
      card.heardAt = Date.now();
      card.stale = false;
      card.refresh();
    },

    /** Nothing newer is to be had: what is shown is grey, and says of when it is. */
    outdate() {
      card.stale = Boolean(card.status);
      card.refresh();
    },

    /** Countdowns and "ago" go on between two answers. */
    refresh() {
      if (!parts) return;
      if (card.status) writeStatus(parts, card, card.status);
      writeButton(parts, card);
    },

    /** @param {boolean} busy */
    setBusy(busy) {
      card.busy = busy;
      card.refresh();
    },

    /** @param {{title: string, advice: string}|null} problem */
    showProblem(problem) {
      setText(parts.problem, problem ? `${problem.title} ${problem.advice}`.trim() : "");
      parts.problem.hidden = !problem;
    },

    /** @param {Blob} blob */
    showPicture(blob) {
      const before = card.picture;
      card.picture = URL.createObjectURL(blob);
      parts.image.src = card.picture;
      parts.image.hidden = false;
      if (before) URL.revokeObjectURL(before);
    },

    close() {
      if (card.picture) URL.revokeObjectURL(card.picture);
    },
  };
  return card;
}

/** @param {HTMLElement} element @param {HTMLElement} name @param {Camera} camera @param {any} actions */
function makeParts(element, name, camera, actions) {
  const image = h("img", { alt: "", hidden: true, width: 320, height: 180, decoding: "async" });
  const badge = h("span", { class: "badge", text: t("state.unknown") });
  const reason = h("p", { class: "reason", hidden: true });
  const last = h("p", { class: "last" });
  const problem = h("p", { class: "card-problem", role: "alert", hidden: true });
  const toggle = h("button", { type: "button", class: "button toggle primary" });
  const menu = stopMenu(camera, () => actions.press(camera.id, false));
  const parts = { element, image, badge, reason, last, problem, toggle, menu };
  toggle.addEventListener("click", () => actions.press(camera.id, true));
  toggle.append(icon("play"), h("span", { text: t("start") }));
  toggle.setAttribute("aria-label", t("start.of", { name: camera.name }));
  const buttons = h("div", { class: "actions" }, toggle, more(camera, actions), menu);
  const body = h("div", { class: "card-body" }, h("div", { class: "card-head" }, name, badge), reason, last, problem, buttons);
  element.append(
    h("a", { class: "picture", href: cameraLink(camera.id), tabindex: "-1", "aria-hidden": "true" }, icon("camera"), image),
    body,
  );
  return parts;
}

/** @param {Camera} camera @param {any} actions */
function more(camera, actions) {
  return h(
    "span",
    { class: "more" },
    h(
      "a",
      { class: "button quiet", href: recordingsLink(camera.id), "aria-label": t("recordings.of", { name: camera.name }) },
      icon("clock"),
      h("span", { text: t("recordings") }),
    ),
    button(t("publish"), () => actions.publish(camera), {
      look: "quiet", icon: icon("link"), iconOnly: true, title: t("publish.of", { name: camera.name }),
    }),
  );
}

/** @param {any} parts @param {any} card @param {import("./status.js").Status} status */
function writeStatus(parts, card, status) {
  const active = card.camera.status === "active";
  const stale = card.stale || Date.now() - card.heardAt > STALE_MS;
  setAttribute(parts.element, "data-state", status.status);
  setAttribute(parts.element, "data-stale", stale ? "" : null);
  setText(parts.badge, stale ? stateAsOf(status.status, card.heardAt) : stateName(status.status));
  const reason = active ? [why(status), nextTry(status), stoppedBy(status)].filter(Boolean).join(" · ") : t("problem.camera_inactive");
  setText(parts.reason, reason);
  setAttribute(parts.reason, "title", (active ? advice(status) : t("problem.camera_inactive.do")) || null);
  parts.reason.hidden = !reason;
  const { text, moment } = lastSegment(status);
  setText(parts.last, text);
  setAttribute(parts.last, "title", moment ? `UTC ${moment.toISOString()}` : null);
}

/** @param {any} parts @param {any} card */
function writeButton(parts, card) {
  const inactive = card.camera.status !== "active";
  const start = canStart(card.status);
  parts.toggle.hidden = !start;
  parts.menu.hidden = start;
  parts.toggle.disabled = card.busy || !card.status || inactive;
  setAttribute(parts.toggle, "title", inactive && start ? t("problem.camera_inactive") : null);
  setAttribute(parts.element, "data-inactive", inactive ? "" : null);
}
