// Stopping a recording: asked for by the camera's name, and undone for a while.

import { dayAndTime } from "../clock.js";
import { button, h } from "../dom.js";
import { t } from "../i18n.js";
import { icon } from "../icons.js";
import { toast } from "../toast.js";

const UNDO_MS = 10_000;

/**
 * Ask whether the recording is to end; `stop` is called if so.
 * @param {import("./card.js").Camera} camera
 * @param {() => void} stop
 */
export function askToStop(camera, stop) {
  const keep = button(t("stop.no"), () => dialog.close(), { attributes: { autofocus: true } });
  const end = button(t("stop.yes"), () => (dialog.close(), stop()), { look: "danger", icon: icon("stop") });
  const dialog = h(
    "dialog",
    { class: "stop-dialog", "aria-labelledby": "stop-title", "aria-describedby": "stop-text", on: { close: () => dialog.remove() } },
    h("h2", { id: "stop-title", text: t("stop.sure", { name: camera.name }) }),
    h("p", { id: "stop-text", text: t("stop.means") }),
    h("div", { class: "row below" }, keep, end),
  );
  document.body.append(dialog);
  dialog.showModal();
}

/**
 * Say that the recording has ended, with a way back.
 * @param {import("./card.js").Camera} camera
 * @param {() => void} start
 */
export function offerToStartAgain(camera, start) {
  toast(t("stop.done", { name: camera.name }), "good", { label: t("undo"), press: start, shownMs: UNDO_MS });
}

/**
 * The button that stops, kept apart from those that are pressed every day.
 * @param {import("./card.js").Camera} camera
 * @param {() => void} press
 */
export function stopMenu(camera, press) {
  const close = () => (menu.open = false);
  const stop = button(t("stop"), () => (close(), press()), {
    look: "quiet", icon: icon("stop"), attributes: { "aria-label": t("stop.of", { name: camera.name }) },
  });
  const summary = h("summary", { class: "button quiet icon-only", "aria-label": t("more.of", { name: camera.name }), title: t("more") }, icon("more"));
  const leave = (/** @type {FocusEvent} */ event) => menu.contains(/** @type {Node|null} */ (event.relatedTarget)) || close();
  const escape = (/** @type {KeyboardEvent} */ event) => event.key === "Escape" && (close(), summary.focus());
  const menu = h("details", { class: "menu", on: { focusout: leave, keydown: escape } }, summary, h("div", { class: "menu-items" }, stop));
  return menu;
}

/** "Stopped by Alice, 12 May 14:03"; empty while it is not known. @param {import("./status.js").Status} status */
export function stoppedBy(status) {
  const { stopped } = status;
  return status.status === "stopped" && stopped ? t("stoppedBy", { by: stopped.by, time: dayAndTime(new Date(stopped.at)) }) : "";
}
