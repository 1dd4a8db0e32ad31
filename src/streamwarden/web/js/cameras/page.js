// The list of cameras. Only the cards in view are asked about, drawn and kept up to date.

import { Problem } from "../api.js";
import { h, setText } from "../dom.js";
import { t } from "../i18n.js";
import { explain, isPassing } from "../problems.js";
import { emptyState, failedState } from "./empty.js";
import { filterField } from "./filter.js";
import { CardList } from "./list.js";
import { cameraPages } from "./listing.js";
import { StatusPoller } from "./poller.js";
import { openPublish } from "./publish.js";
import { Snapshots } from "./snapshots.js";
import { isMoving } from "./status.js";
import { askToStop, offerToStartAgain } from "./stopping.js";
import { fetchStatus, switchRecording } from "./stream.js";

const PAGE_SIZE = 500;
const FILTER_FROM = 6;
const LIST_EVERY_MS = 60_000;
const EMPTY_EVERY_MS = 5_000;
const RETRY_MS = 5_000;

/** @typedef {import("./card.js").Camera} Camera */

/** @param {{card: typeof import("./card.js").cameraCard}} given @returns {import("../main.js").Page} */
export function camerasPage({ card }) {
  const page = new CamerasPage(card);
  page.open();
  return { element: page.element, title: t("nav.cameras"), close: () => page.close() };
}

/** Page with the list of cameras: what it asks the API for, and when. */
class CamerasPage {
  /** @param {typeof import("./card.js").cameraCard} makeCard */
  constructor(makeCard) {
    this.notice = h("p", { class: "notice warn", role: "status", hidden: true });
    this.count = h("p", { class: "count", role: "status" });
    this.filter = filterField();
    this.empty = emptyState();
    this.poller = new StatusPoller({
      ask: fetchStatus,
      answered: (id, status) => this.answered(id, status),
      failed: (id, error) => this.failed(id, error),
    });
    const actions = { press: (/** @type {string} */ id, /** @type {boolean} */ start) => this.pressed(id, start), publish: openPublish };
    this.list = new CardList({
      make: (camera) => makeCard(camera, actions),
      fits: (camera) => this.filter.fits(camera),
      changed: () => this.showCount(),
      entered: (id) => this.poller.watch(id),
      left: (id) => this.poller.unwatch(id),
    });
    this.snapshots = new Snapshots(this.list);
    const head = h("div", { class: "page-head" }, h("h1", { text: t("nav.cameras") }), this.count, this.filter.element);
    this.element = h("section", { class: "cameras" }, head, this.notice, this.list.element);
    this.filter.onChange(() => this.applyFilter());
    this.ticking = setInterval(() => this.eachSecond(), 1_000);
    this.listing = 0;
    this.closed = false;
  }

  /** First listing of all cameras, repeated until it succeeds. */
  async open() {
    try {
      for await (const cameras of this.pages()) await this.list.add(cameras);
      if (this.closed) return; // the poller would go on for ever
      this.showCount();
      this.showEmpty();
      this.poller.start();
      this.planListing();
    } catch (error) {
      if (!this.closed) this.showFailure(error);
    }
  }

  pages() {
    return cameraPages(PAGE_SIZE, () => this.closed);
  }

  /** @param {unknown} error of listing: in place of the list, until the next try by the button or by itself */
  showFailure(error) {
    const retry = () => {
      clearTimeout(timer);
      if (this.closed || !box.isConnected) return;
      for (const id of this.list.ids()) this.remove(id);
      box.replaceWith(this.list.element);
      this.open();
    };
    const box = failedState(error, retry);
    this.list.element.replaceWith(box);
    const timer = isPassing(error) ? setTimeout(retry, RETRY_MS) : 0;
  }

  planListing() {
    clearTimeout(this.listing);
    if (!this.closed) this.listing = setTimeout(() => this.listAgain(), this.list.size ? LIST_EVERY_MS : EMPTY_EVERY_MS);
  }

  /** Later listings: cameras come, change and go while the page is open. */
  async listAgain() {
    try {
      if (!document.hidden) await this.compare();
    } catch {
      // The statuses say that the server is away; the next turn asks again.
    } finally {
      this.planListing();
    }
  }

  async compare() {
    /** @type {Map<string, Camera>} */
    const found = new Map();
    for await (const page of this.pages()) for (const camera of page) found.set(camera.id, camera);
    if (this.closed) return;
    for (const id of this.list.ids()) if (!found.has(id)) this.remove(id);
    for (const camera of found.values()) if (this.list.replace(camera)) this.snapshots.forget(camera.id);
    await this.list.add([...found.values()].filter((camera) => !this.list.get(camera.id)));
    this.showCount();
    this.showEmpty();
  }

  /** @param {string} id */
  remove(id) {
    if (!this.list.remove(id)) return;
    this.poller.settle(id);
    this.poller.unwatch(id);
    this.showCount();
    this.showEmpty();
  }

  /** @param {string} id @param {import("./status.js").Status} status */
  answered(id, status) {
    this.notice.hidden = true;
    this.list.get(id)?.show(status);
    if (isMoving(status)) this.poller.watch(id);
    else if (status.status !== "backoff") this.poller.settle(id);
  }

  /** @param {string} id @param {unknown} error @returns {boolean} whether everything fails now */
  failed(id, error) {
    if (error instanceof Problem && error.status === 404) this.remove(id);
    else if (isPassing(error)) return this.tellAway(error);
    return false;
  }

  /** @param {unknown} error */
  tellAway(error) {
    const { title, advice } = explain(error);
    setText(this.notice, `${title} ${advice}`);
    this.notice.hidden = false;
    this.list.outdate();
    return true;
  }

  /** @param {string} id @param {boolean} start */
  pressed(id, start) {
    const card = this.list.get(id);
    if (start || !card) this.press(id, start);
    else askToStop(card.camera, () => this.press(id, false));
  }

  /** @param {string} id @param {boolean} start */
  async press(id, start) {
    const card = this.list.get(id);
    if (!card) return;
    card.setBusy(true);
    card.showProblem(null);
    try {
      card.show(await switchRecording(id, start));
      if (!start) offerToStartAgain(card.camera, () => this.press(id, true));
      this.poller.hurry(id);
    } catch (error) {
      card.showProblem(explain(error));
    } finally {
      card.setBusy(false);
    }
  }

  eachSecond() {
    if (document.hidden) return;
    for (const card of this.list.inView()) card.refresh();
    if (this.notice.hidden) this.snapshots.take();
  }

  applyFilter() {
    this.list.filter();
    this.showCount();
  }

  showCount() {
    const { shown, size: all } = this.list;
    this.filter.element.hidden = all < FILTER_FROM;
    setText(this.count, shown === all ? t("cameras.count", { all }) : t("cameras.filtered", { shown, all }));
  }

  showEmpty() {
    if (this.list.size) this.empty.replaceWith(this.list.element);
    else this.list.element.replaceWith(this.empty);
  }

  close() {
    this.closed = true;
    this.poller.close();
    clearInterval(this.ticking);
    clearTimeout(this.listing);
    this.list.close();
    this.snapshots.close();
  }
}
