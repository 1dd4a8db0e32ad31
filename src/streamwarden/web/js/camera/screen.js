// The frame around the live picture: what plays, how late it is, why it does not.

import { button, h, setText } from "../dom.js";
import { t } from "../i18n.js";
import { icon } from "../icons.js";

/**
 * @param {import("../cameras/card.js").Camera} camera
 * @param {() => void} tryWebrtc
 */
export function liveScreen(camera, tryWebrtc) {
  const video = h("video", { autoplay: true, muted: true, playsinline: true, "aria-label": t("live.video", { name: camera.name }) });
  video.muted = true;
  const corner = h("span", { class: "corner", hidden: true });
  const words = h("p", { class: "words", role: "status", text: t("live.notRunning") });
  const over = h("div", { class: "over" }, words);
  const screen = h("div", { class: "screen" }, video, corner, over);
  const note = h("span", { class: "note" });
  const webrtc = button(t("live.tryWebrtc"), tryWebrtc, { look: "quiet", attributes: { hidden: true } });
  const sound = button(t("unmute"), toggleSound, { look: "quiet", icon: icon("muted"), iconOnly: true });
  const full = button(t("fullscreen"), () => screen.requestFullscreen?.(), { look: "quiet", icon: icon("full"), iconOnly: true });
  const bar = h("div", { class: "screen-bar" }, note, webrtc, h("span", { class: "spacer" }), sound, full);
  const element = h("div", {}, screen, bar);
  /** @type {any} */
  let shown = { kind: "off" };
  let closed = false;

  function toggleSound() {
    video.muted = !video.muted;
    const label = t(video.muted ? "unmute" : "mute");
    sound.replaceChildren(icon(video.muted ? "muted" : "volume"));
    sound.setAttribute("aria-label", label);
    sound.title = label;
  }

  function write(/** @type {number|null} */ delay) {
    const playing = shown.kind === "webrtc" || shown.kind === "hls";
    over.hidden = playing;
    corner.hidden = !playing;
    const late = shown.kind === "hls" && delay !== null ? ` · ${t("live.delay", { seconds: Math.round(delay) })}` : "";
    setText(corner, playing ? t(`live.${shown.kind}`) + late : "");
    setText(words, wordsOf(shown));
    setText(note, shown.note ?? "");
    webrtc.hidden = !(shown.kind === "hls" && shown.note !== t("live.noWebrtc"));
  }

  return {
    element,
    video,
    /** @param {any} next */
    show(next) {
      if (closed) return;
      shown = next;
      write(null);
    },
    refresh: write,
    close() {
      closed = true;
    },
  };
}

/** @param {any} shown */
function wordsOf(shown) {
  if (shown.kind === "off") return t("live.notRunning");
  if (shown.kind === "connecting") return t("live.connecting");
  if (shown.kind !== "waiting") return "";
  const seconds = Math.max(1, Math.ceil((shown.retryAt - Date.now()) / 1000));
  return `${shown.text} ${t("live.again", { seconds })}`;
}
