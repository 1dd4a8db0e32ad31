// The link that a camera pushes to: shown, copied, with its end, and the command that uses it.

import { call, cameraPath } from "../api.js";
import { dayAndTime, relative } from "../clock.js";
import { button, h, setText, timeElement } from "../dom.js";
import { t } from "../i18n.js";
import { icon } from "../icons.js";
import { explain } from "../problems.js";
import { currentUser, isAdmin } from "../session.js";
import { toast } from "../toast.js";

const DAY_S = 86_400;
const LIVES = [[3_600, "publish.hour"], [DAY_S, "publish.day"], [7 * DAY_S, "publish.week"], [30 * DAY_S, "publish.month"], [365 * DAY_S, "publish.year"]];

/** @param {import("./card.js").Camera} camera */
export function openPublish(camera) {
  const panel = publishPanel(camera);
  const close = button(t("close"), () => dialog.close(), { look: "quiet", icon: icon("close"), iconOnly: true });
  const title = h("h2", { id: "publish-title", text: t("publish.of", { name: camera.name }) });
  const dialog = h(
    "dialog",
    { class: "publish-dialog", "aria-labelledby": "publish-title", on: { close: () => dialog.remove() } },
    h("div", { class: "dialog-head" }, title, close),
    panel,
  );
  dialog.addEventListener("click", (/** @type {Event} */ event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
}

/**
 * The same without a dialog around it.
 * @param {import("./card.js").Camera} camera
 */
export function publishPanel(camera) {
  if (camera.source_url) {
    return h("div", { class: "publish" }, h("p", { class: "notice", text: t("publish.pulled", { url: camera.source_url }) }));
  }
  const place = h("div", { class: "publish-links", "aria-live": "polite" });
  const life = h(
    "select",
    { "aria-label": t("publish.life") },
    ...LIVES.map(([seconds, words]) => h("option", { value: seconds, selected: seconds === DAY_S, text: t(String(words)) })),
  );
  let turn = 0;
  async function renew() {
    const mine = ++turn;
    place.replaceChildren(h("p", { class: "help", text: t("loading") }));
    try {
      const found = await call("GET", `${cameraPath(camera.id)}/publish_rtsp_url`, { query: { ttl: life.value } });
      if (mine === turn) place.replaceChildren(...links(found));
    } catch (error) {
      const { title, advice } = explain(error);
      if (mine === turn) place.replaceChildren(h("p", { class: "notice bad", role: "alert", text: `${title} ${advice}` }));
    }
  }
  life.addEventListener("change", renew);
  renew();
  const withdraw = withdrawal(camera, (/** @type {Node} */ said) => {
    turn += 1; // a link that is on its way was signed before
    place.replaceChildren(said);
  });
  return h(
    "div",
    { class: "publish" },
    h("p", { class: "help", text: t("publish.help") }),
    place,
    h("div", { class: "row" }, h("label", { class: "inline" }, h("span", { text: t("publish.life") }), life), button(t("publish.new"), renew, { icon: icon("restart") })),
    // Everybody's links: not for a guest who may publish.
    (isAdmin() || camera.owner === currentUser()?.sub) && withdraw,
  );
}

/**
 * Takes back every link that was handed out, asked for twice: what pushes with one is disconnected.
 * @param {import("./card.js").Camera} camera
 * @param {(said: Node) => void} tell
 */
function withdrawal(camera, tell) {
  const ask = button(t("publish.withdraw"), () => show(true), { look: "quiet danger" });
  const sure = h(
    "div",
    { class: "notice warn sure", role: "group", hidden: true, "aria-label": t("publish.withdraw") },
    h("p", { text: t("publish.withdraw.sure") }),
    h("div", { class: "row" }, button(t("publish.withdraw.yes"), withdraw, { look: "danger" }), button(t("publish.withdraw.no"), () => show(false))),
  );
  /** @param {boolean} asking */
  function show(asking) {
    ask.hidden = asking;
    sure.hidden = !asking;
    /** @type {HTMLElement} */ (asking ? sure.querySelector("button") : ask)?.focus();
  }
  async function withdraw() {
    show(false);
    try {
      const { issued_before: before } = await call("POST", `${cameraPath(camera.id)}/publish_rtsp_url/revoke`, { body: {} });
      tell(h("p", { class: "notice good", role: "status", text: t("publish.withdrawn", { time: dayAndTime(new Date(before)) }) }));
    } catch (error) {
      const { title, advice } = explain(error);
      tell(h("p", { class: "notice bad", role: "alert", text: `${title} ${advice}` }));
    }
  }
  return h("div", {}, ask, sure);
}

/** @param {{publish_rtsp_url: string, expires_at: string}} found */
function links(found) {
  const ends = new Date(found.expires_at);
  const expiry = h("p", { class: "help" }, `${t("publish.expires")} `, timeElement(dayAndTime(ends), ends), ` (${relative(ends)})`);
  const ffmpeg = `ffmpeg -re -i input.mp4 -c:v libx264 -preset veryfast -tune zerolatency -g 50 -c:a aac -f rtsp -rtsp_transport tcp '${found.publish_rtsp_url}'`;
  return [
    copyable(t("publish.url"), found.publish_rtsp_url, "publish-url"),
    expiry,
    copyable(t("publish.ffmpeg"), ffmpeg, "publish-ffmpeg"),
  ];
}

/** @param {string} label @param {string} text @param {string} id */
function copyable(label, text, id) {
  const field = h("textarea", { id, rows: 4, readonly: true, spellcheck: "false", text, on: { focus: () => field.select() } });
  const words = button(t("copy"), copy, { icon: icon("copy"), attributes: { "aria-label": t("copy.of", { what: label }) } });
  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Without a secure context there is no clipboard: the old way, then the person's own keys.
      field.focus();
      field.select();
      if (!document.execCommand("copy")) {
        toast(t("copy.byHand"), "bad");
        return;
      }
    }
    setText(/** @type {Element} */ (words.lastElementChild), t("copied"));
    toast(t("copied"));
    setTimeout(() => setText(/** @type {Element} */ (words.lastElementChild), t("copy")), 2_000);
  }
  return h("div", { class: "copyable" }, h("label", { for: id, text: label }), h("div", { class: "copy-row" }, field, words));
}
