// The panel with a camera's state: its badge, Start and Stop, what is wrong, the details.

import { stopMenu, stoppedBy } from "../cameras/stopping.js";
import { advice, canStart, lastSegment, nextTry, stateAsOf, stateName, why } from "../cameras/status.js";
import { dayAndTime, relative, shortly } from "../clock.js";
import { button, h, setAttribute, setText, timeElement } from "../dom.js";
import { t } from "../i18n.js";
import { icon } from "../icons.js";

/**
 * @param {import("../cameras/card.js").Camera} camera
 * @param {(start: boolean) => void} press
 */
export function statePanel(camera, press) {
  const badge = h("span", { class: "badge", text: t("state.unknown") });
  const toggle = button(t("start"), () => press(true), { look: "primary", icon: icon("play") });
  const menu = stopMenu(camera, () => press(false));
  const reason = h("p", { class: "reason-line", hidden: true });
  const todo = h("p", { class: "help", hidden: true });
  const problem = h("p", { class: "notice bad", role: "alert", hidden: true });
  const facts = h("dl", { class: "facts" });
  const element = h(
    "section",
    { class: "panel state-panel", "data-state": "unknown", "aria-label": t("details") },
    h("div", { class: "state-line" }, badge, toggle, menu),
    reason,
    todo,
    problem,
    facts,
  );
  let heardAt = 0;
  let stale = false;
  return {
    element,
    /** @param {boolean} busy */
    busy(busy) {
      toggle.disabled = busy || camera.status !== "active";
    },
    /** @param {{title: string, advice: string}|null} found */
    problem(found) {
      setText(problem, found ? `${found.title} ${found.advice}` : "");
      problem.hidden = !found;
    },
    /** Nothing newer is to be had: the state is grey, and says of when it is. */
    outdate() {
      stale = true;
    },
    /** @param {import("../cameras/status.js").Status} status */
    heard(status) {
      heardAt = Date.now();
      stale = false;
      this.show(status);
    },
    /** @param {import("../cameras/status.js").Status} status */
    show(status) {
      setAttribute(element, "data-state", status.status);
      setAttribute(element, "data-stale", stale ? "" : null);
      setText(badge, stale ? stateAsOf(status.status, heardAt) : stateName(status.status));
      const active = camera.status === "active";
      line(reason, active ? [why(status), nextTry(status), stoppedBy(status)].filter(Boolean).join(" · ") : t("problem.camera_inactive"));
      line(todo, active ? advice(status) : t("problem.camera_inactive.do"));
      toggle.hidden = !canStart(status);
      menu.hidden = canStart(status);
      if (camera.status !== "active") toggle.disabled = true;
      facts.replaceChildren(...factsOf(camera, status));
    },
  };
}

/** @param {HTMLElement} element @param {string} text */
function line(element, text) {
  setText(element, text);
  element.hidden = !text;
}

/** @param {import("../cameras/card.js").Camera} camera @param {import("../cameras/status.js").Status} status */
function factsOf(camera, status) {
  const since = new Date(status.since);
  const last = lastSegment(status);
  const error = status.last_error;
  return [
    ["details.since", timeElement(`${shortly(since)} (${relative(since)})`, since)],
    ["details.last", last.moment ? timeElement(`${shortly(last.moment)} (${relative(last.moment)})`, last.moment) : last.text],
    ["details.segment", status.segment_seconds ? `${status.segment_seconds} ${t("unit.s")}` : t("none")],
    ["details.run", String(status.run)],
    ["details.respawns", String(status.respawns)],
    ["details.error", error ? timeElement(`${why({ ...status, status: "backoff" })}, ${dayAndTime(new Date(error.at))}`, new Date(error.at)) : t("none")],
    ["details.owner", camera.owner],
    ["details.path", camera.path],
  ].flatMap(([key, value]) => [h("dt", { text: t(String(key)) }), h("dd", {}, value)]);
}
