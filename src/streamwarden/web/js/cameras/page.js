// The list of cameras. Only the cards in view are asked about, drawn and kept up to date.

import { Problem, call, cameraPath, fetchBlob } from "../api.js";
import { button, h, setText } from "../dom.js";
import { t } from "../i18n.js";
import { icon } from "../icons.js";
import { explain, isPassing } from "../problems.js";
import { currentUser, isAdmin } from "../session.js";
import { filterField } from "./filter.js";
import { StatusPoller } from "./poller.js";
import { openPublish } from "./publish.js";
import { isMoving } from "./status.js";

const PAGE_SIZE = 500;
const FIRST_CARDS = 40;
const FIRST_DRAWN = 8;
const CARDS_A_TURN = 250;
const PICTURE_EVERY_MS = 45_000;
const PICTURE_TRIES_EVERY_MS = 8_000;
const PICTURE_WIDTH = 480;
const FILTER_FROM = 6;
const LIST_EVERY_MS = 60_000;
const EMPTY_EVERY_MS = 5_000;

/** @param {{card: typeof import("./card.js").cameraCard}} given @returns {import("../main.js").Page} */
export function camerasPage({ card: makeCard }) {
  const list = h("ul", { class: "cards", "aria-label": t("nav.cameras") });
  const notice = h("p", { class: "notice warn", role: "status", hidden: true });
  const count = h("p", { class: "count", role: "status" });
  const filter = filterField();
  const head = h("div", { class: "page-head" }, h("h1", { text: t("nav.cameras") }), count, filter.element);
  const element = h("section", { class: "cameras" }, head, notice, list);
  const cards = new Map();
  const inView = new Set();
  const lastPicture = new Map();
  const empty = emptyState();
  let closed = false;
  let pictureInFlight = false;
  let listing = 0;

  const poller = new StatusPoller({
    ask: (id) => call("GET", `${cameraPath(id)}/stream/status`),
    answered(id, status) {
      notice.hidden = true;
      cards.get(id)?.show(status);
      if (isMoving(status)) poller.watch(id);
      else if (status.status !== "backoff") poller.settle(id);
    },
    failed(id, error) {
      if (isGone(error)) remove(id);
      else if (isPassing(error)) return tellAway(error);
      return false;
    },
  });
  const view = new IntersectionObserver(onView, { rootMargin: "300px" });
  const ticking = setInterval(eachSecond, 1_000);

  /** @param {IntersectionObserverEntry[]} entries */
  function onView(entries) {
    for (const entry of entries) {
      const id = entry.target.id.replace("camera-", "");
      if (entry.isIntersecting) {
        inView.add(id);
        cards.get(id)?.draw();
        poller.watch(id);
      } else {
        inView.delete(id);
        poller.unwatch(id);
      }
    }
  }

  function eachSecond() {
    if (document.hidden) return;
    for (const id of inView) cards.get(id)?.refresh();
    takePicture();
  }

  /** One picture at a time, of the camera in view whose picture is oldest. */
  async function takePicture() {
    if (pictureInFlight || closed || !notice.hidden) return;
    const now = Date.now();
    const due = [...inView].filter((id) => wantsPicture(id, now)).sort((a, b) => at(a) - at(b));
    if (!due.length) return;
    const id = due[0];
    pictureInFlight = true;
    lastPicture.set(id, now);
    try {
      const blob = await fetchBlob(`${cameraPath(id)}/snapshot.jpg`, { query: { width: PICTURE_WIDTH } });
      if (!closed && blob.type.startsWith("image/")) cards.get(id)?.showPicture(blob);
    } catch {
      // No picture yet: the card shows that there is none, and the next turn tries again.
    } finally {
      pictureInFlight = false;
    }
  }

  const at = (/** @type {string} */ id) => lastPicture.get(id) ?? 0;

  /** @param {string} id @param {number} now */
  function wantsPicture(id, now) {
    const card = cards.get(id);
    if (!card?.status?.last_segment) return false;
    const records = card.status.status === "running";
    const pause = !card.picture ? PICTURE_TRIES_EVERY_MS : records ? PICTURE_EVERY_MS : Infinity;
    return now - at(id) >= pause + inView.size * 1_000;
  }

  /** @param {unknown} error */
  function tellAway(error) {
    const { title, advice } = explain(error);
    setText(notice, `${title} ${advice}`);
    notice.hidden = false;
    return true;
  }

  /** @param {string} id */
  function remove(id) {
    const card = cards.get(id);
    if (!card) return;
    view.unobserve(card.element);
    poller.settle(id);
    poller.unwatch(id);
    inView.delete(id);
    card.close();
    card.element.remove();
    cards.delete(id);
    showCount();
    showEmpty();
  }

  /** @param {string} id @param {boolean} start */
  async function press(id, start) {
    const card = cards.get(id);
    card.setBusy(true);
    card.showProblem(null);
    try {
      const path = `${cameraPath(id)}/stream/${start ? "connect" : "disconnect"}`;
      const answer = await call("POST", path, { body: {} });
      card.show(start ? answer.info : answer);
      poller.hurry(id);
    } catch (error) {
      card.showProblem(explain(error));
    } finally {
      card.setBusy(false);
    }
  }

  const actions = { press, publish: openPublish };

  async function load() {
    for await (const page of pages()) await add(page);
    showCount();
    showEmpty();
  }

  async function* pages() {
    /** @type {string|null} */
    let cursor = null;
    do {
      const page = await call("GET", "/camera", { query: { limit: PAGE_SIZE, cursor } });
      yield page.items;
      cursor = page.next_cursor;
    } while (cursor && !closed);
  }

  /** Cameras come, change and go while the page is open. */
  async function listAgain() {
    try {
      if (!document.hidden) await compare();
    } catch {
      // The statuses say that the server is away; the next turn asks again.
    } finally {
      planList();
    }
  }

  async function compare() {
    const found = new Map();
    for await (const page of pages()) for (const camera of page) found.set(camera.id, camera);
    if (closed) return;
    for (const id of [...cards.keys()]) if (!found.has(id)) remove(id);
    for (const camera of found.values()) change(camera);
    await add([...found.values()].filter((camera) => !cards.has(camera.id)));
    showCount();
    showEmpty();
  }

  /** @param {import("./card.js").Camera} camera */
  function change(camera) {
    const before = cards.get(camera.id);
    if (!before || JSON.stringify(before.camera) === JSON.stringify(camera)) return;
    const card = makeCard(camera, actions);
    card.element.hidden = before.element.hidden;
    if (before.status) card.show(before.status);
    view.unobserve(before.element);
    before.element.replaceWith(card.element);
    before.close();
    cards.set(camera.id, card);
    lastPicture.delete(camera.id);
    view.observe(card.element);
  }

  function planList() {
    clearTimeout(listing);
    if (!closed) listing = setTimeout(listAgain, cards.size ? LIST_EVERY_MS : EMPTY_EVERY_MS);
  }

  function showEmpty() {
    if (cards.size) empty.replaceWith(list);
    else list.replaceWith(empty);
  }

  /** Draw what fits on the first screen, then the rest in turns that leave the page responsive. */
  async function add(/** @type {any[]} */ cameras) {
    for (let from = 0; from < cameras.length && !closed; ) {
      const many = cards.size ? CARDS_A_TURN : FIRST_CARDS;
      const fresh = cameras.slice(from, from + many).map((camera) => makeCard(camera, actions));
      for (const card of fresh) {
        cards.set(card.camera.id, card);
        card.element.hidden = !filter.fits(card.camera);
        view.observe(card.element);
      }
      if (cards.size <= FIRST_CARDS) for (const card of fresh.slice(0, FIRST_DRAWN)) card.draw();
      list.append(...fresh.map((card) => card.element));
      from += many;
      showCount();
      if (from < cameras.length) await nextTurn();
    }
  }

  function showCount() {
    filter.element.hidden = cards.size < FILTER_FROM;
    const shown = [...cards.values()].filter((card) => !card.element.hidden).length;
    const all = cards.size;
    setText(count, shown === all ? t("cameras.count", { all }) : t("cameras.filtered", { shown, all }));
  }

  filter.onChange(() => {
    for (const card of cards.values()) card.element.hidden = !filter.fits(card.camera);
    showCount();
  });

  async function loadPatiently() {
    try {
      await load();
      poller.start();
      planList();
    } catch (error) {
      if (closed) return;
      const { title, advice } = explain(error);
      const again = button(t("retry"), retry, { look: "primary", icon: icon("restart") });
      const box = h("div", { class: "empty", role: "alert" }, h("h2", { text: title }), h("p", { text: advice }), again);
      list.replaceWith(box);
      const timer = isPassing(error) ? setTimeout(retry, 5_000) : 0;
      /** Once: by the button or by itself. */
      function retry() {
        clearTimeout(timer);
        if (closed || !box.isConnected) return;
        for (const id of [...cards.keys()]) remove(id);
        box.replaceWith(list);
        loadPatiently();
      }
    }
  }

  loadPatiently();
  return {
    element,
    title: t("nav.cameras"),
    close() {
      closed = true;
      poller.close();
      clearInterval(ticking);
      clearTimeout(listing);
      view.disconnect();
      for (const card of cards.values()) card.close();
    },
  };
}

const nextTurn = () => new Promise((resume) => setTimeout(resume, 0));

/** @param {unknown} error */
const isGone = (error) => error instanceof Problem && error.status === 404;

function emptyState() {
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
