// One camera: its live picture, its state, its details, its publish link.

import { Problem, call, cameraPath } from "../api.js";
import { publishPanel } from "../cameras/publish.js";
import { StatusPoller } from "../cameras/poller.js";
import { advice, canStart, lastSegment, nextTry, stateName, why } from "../cameras/status.js";
import { dayAndTime, relative, shortly } from "../clock.js";
import { button, h, setAttribute, setText, timeElement } from "../dom.js";
import { t } from "../i18n.js";
import { icon } from "../icons.js";
import { explain, isPassing } from "../problems.js";
import { LivePicture } from "./live.js";
import { liveScreen } from "./screen.js";
import { cameraHead, failureBox } from "./head.js";

/** @param {{id?: string}} place @returns {Promise<import("../main.js").Page>} */
export async function cameraPage({ id = "" }) {
  let camera;
  try {
    camera = await call("GET", cameraPath(id));
  } catch (error) {
    return { element: failureBox(error), close() {} };
  }
  return livePage(camera);
}

/** @param {import("../cameras/card.js").Camera} camera */
function livePage(camera) {
  const state = statePanel(camera, press);
  const screen = liveScreen(camera, () => live.tryWebrtc());
  const live = new LivePicture(screen.video, camera.id, screen.show);
  const element = h(
    "section",
    {},
    cameraHead(camera, "camera"),
    h(
      "div",
      { class: "camera-page" },
      screen.element,
      h("div", { class: "side" }, state.element, publishSection(camera)),
    ),
  );
  /** @type {import("../cameras/status.js").Status|null} */
  let status = null;

  const poller = new StatusPoller({
    ask: (id) => call("GET", `${cameraPath(id)}/stream/status`),
    answered: (_id, found) => take(found),
    failed(_id, error) {
      state.problem(explain(error));
      if (error instanceof Problem && error.status === 404) gone(error);
      return isPassing(error);
    },
  });
  const ticking = setInterval(() => {
    if (document.hidden) return;
    if (status) state.show(status);
    screen.refresh(live.delay());
  }, 1_000);

  /** @param {import("../cameras/status.js").Status} found */
  function take(found) {
    status = found;
    state.problem(null);
    state.show(found);
    // The seed's flow: the preview starts once the status is running; it then keeps itself going.
    if (found.status === "running") {
      poller.settle(camera.id);
      live.start();
    } else if (canStart(found) || found.status === "parked") {
      live.stop();
    }
  }

  /** @param {boolean} start */
  async function press(start) {
    state.busy(true);
    state.problem(null);
    try {
      const path = `${cameraPath(camera.id)}/stream/${start ? "connect" : "disconnect"}`;
      const answer = await call("POST", path, { body: {} });
      take(start ? answer.info : answer);
      poller.hurry(camera.id);
    } catch (error) {
      state.problem(explain(error));
    } finally {
      state.busy(false);
    }
  }

  /** @param {unknown} error */
  function gone(error) {
    close();
    element.replaceChildren(failureBox(error));
  }

  function close() {
    poller.close();
    clearInterval(ticking);
    live.stop();
    screen.close();
  }

  poller.watch(camera.id);
  poller.start();
  return { element, close, title: camera.name };
}

/** @param {import("../cameras/card.js").Camera} camera */
function publishSection(camera) {
  const place = h("div", { class: "panel" }, h("h2", { text: t("publish") }));
  const show = button(t("publish"), () => place.replaceChildren(h("h2", { text: t("publish") }), publishPanel(camera)), {
    icon: icon("link"),
  });
  place.append(h("p", { class: "help", text: t("publish.help") }), h("p", { class: "row below" }, show));
  return place;
}

/**
 * @param {import("../cameras/card.js").Camera} camera
 * @param {(start: boolean) => void} press
 */
function statePanel(camera, press) {
  const badge = h("span", { class: "badge", text: t("state.unknown") });
  const toggle = h("button", { type: "button", class: "button", on: { click: () => press(wanted) } });
  const reason = h("p", { class: "reason-line", hidden: true });
  const todo = h("p", { class: "help", hidden: true });
  const problem = h("p", { class: "notice bad", role: "alert", hidden: true });
  const facts = h("dl", { class: "facts" });
  const element = h(
    "section",
    { class: "panel state-panel", "data-state": "unknown", "aria-label": t("details") },
    h("div", { class: "state-line" }, badge, toggle),
    reason,
    todo,
    problem,
    facts,
  );
  let wanted = true;
  let drawn = "";
  return {
    element,
    /** @param {boolean} busy */
    busy(busy) {
      toggle.disabled = busy || (camera.status !== "active" && wanted);
    },
    /** @param {{title: string, advice: string}|null} found */
    problem(found) {
      setText(problem, found ? `${found.title} ${found.advice}` : "");
      problem.hidden = !found;
    },
    /** @param {import("../cameras/status.js").Status} status */
    show(status) {
      setAttribute(element, "data-state", status.status);
      setText(badge, stateName(status.status));
      const active = camera.status === "active";
      line(reason, active ? [why(status), nextTry(status)].filter(Boolean).join(" · ") : t("problem.camera_inactive"));
      line(todo, active ? advice(status) : t("problem.camera_inactive.do"));
      wanted = canStart(status);
      const look = `button ${wanted ? "primary" : ""}`;
      if (drawn !== look) {
        drawn = look;
        toggle.className = look;
        toggle.replaceChildren(icon(wanted ? "play" : "stop"), h("span", { text: t(wanted ? "start" : "stop") }));
      }
      if (camera.status !== "active" && wanted) toggle.disabled = true;
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
