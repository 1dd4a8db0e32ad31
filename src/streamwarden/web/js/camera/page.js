// One camera: its live picture, its state, its details, its publish link.

import { Problem } from "../api.js";
import { publishPanel } from "../cameras/publish.js";
import { StatusPoller } from "../cameras/poller.js";
import { canStart } from "../cameras/status.js";
import { askToStop, offerToStartAgain } from "../cameras/stopping.js";
import { fetchStatus, switchRecording } from "../cameras/stream.js";
import { button, h } from "../dom.js";
import { t } from "../i18n.js";
import { icon } from "../icons.js";
import { explain, isPassing } from "../problems.js";
import { LivePicture } from "./live.js";
import { liveScreen } from "./screen.js";
import { cameraHead, failureBox, pageOf } from "./head.js";
import { statePanel } from "./state.js";

/** @param {{id?: string}} place @returns {Promise<import("../main.js").Page>} */
export async function cameraPage({ id = "" }) {
  return pageOf(id, (camera) => {
    const page = new CameraPage(camera);
    return { element: page.element, title: camera.name, close: () => page.close() };
  });
}

/** Page of one camera: its status decides whether the live picture plays. */
class CameraPage {
  /** @param {import("../cameras/card.js").Camera} camera */
  constructor(camera) {
    this.camera = camera;
    this.state = statePanel(camera, (start) => (start ? this.press(true) : askToStop(camera, () => this.press(false))));
    this.screen = liveScreen(camera, () => this.live.tryWebrtc());
    this.live = new LivePicture(this.screen.video, camera.id, this.screen.show);
    const side = h("div", { class: "side" }, this.state.element, publishSection(camera));
    this.element = h("section", {}, cameraHead(camera, "camera"), h("div", { class: "camera-page" }, this.screen.element, side));
    /** @type {import("../cameras/status.js").Status|null} */
    this.status = null;
    this.poller = new StatusPoller({
      ask: fetchStatus,
      answered: (_id, status) => this.take(status),
      failed: (_id, error) => this.failed(error),
    });
    this.ticking = setInterval(() => this.eachSecond(), 1_000);
    this.poller.watch(camera.id);
    this.poller.start();
  }

  eachSecond() {
    if (document.hidden) return;
    if (this.status) this.state.show(this.status);
    this.screen.refresh(this.live.delay());
  }

  /** @param {import("../cameras/status.js").Status} status */
  take(status) {
    this.status = status;
    this.state.problem(null);
    this.state.heard(status);
    // The seed's flow: the preview starts once the status is running; it then keeps itself going.
    if (status.status === "running") {
      this.poller.settle(this.camera.id);
      this.live.start();
    } else if (canStart(status) || status.status === "parked") {
      this.live.stop();
    }
  }

  /** @param {unknown} error @returns {boolean} whether everything fails now */
  failed(error) {
    this.state.problem(explain(error));
    if (isPassing(error)) this.state.outdate();
    if (error instanceof Problem && error.status === 404) {
      this.close();
      this.element.replaceChildren(failureBox(error));
    }
    return isPassing(error);
  }

  /** @param {boolean} start */
  async press(start) {
    this.state.busy(true);
    this.state.problem(null);
    try {
      this.take(await switchRecording(this.camera.id, start));
      if (!start) offerToStartAgain(this.camera, () => this.press(true));
      this.poller.hurry(this.camera.id);
    } catch (error) {
      this.state.problem(explain(error));
    } finally {
      this.state.busy(false);
    }
  }

  close() {
    this.poller.close();
    clearInterval(this.ticking);
    this.live.stop();
    this.screen.close();
  }
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
