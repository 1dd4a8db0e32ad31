// The player's buttons and keys, the moment that is shown, and what has just been skipped.

import { bffPath, call, cameraPath } from "../api.js";
import { dayAndTime, serverNow } from "../clock.js";
import { button, h, setText } from "../dom.js";
import { t } from "../i18n.js";
import { icon } from "../icons.js";
import { explainShortly } from "../problems.js";
import { toast } from "../toast.js";
import { segmentFileName } from "./names.js";

const RATES = [0.25, 0.5, 1, 2, 4, 8];
const NOTE_MS = 6_000;
const TYPED_INTO = new Set(["INPUT", "SELECT", "TEXTAREA", "BUTTON", "A"]);

/**
 * @param {import("./player.js").Player} player
 * @param {{link: () => string, camera: import("../cameras/card.js").Camera}} given
 */
export function playerBar(player, { link, camera }) {
  const quiet = { look: "quiet", iconOnly: true };
  const play = button(t("rec.play"), () => player.toggle(), { look: "primary", iconOnly: true, icon: icon("play") });
  const clock = h("time", { class: "clock" });
  const note = h("p", { class: "help", role: "status" });
  const rate = h(
    "select",
    { "aria-label": t("rec.speed"), on: { change: () => player.setRate(Number(rate.value)) } },
    ...RATES.map((value) => h("option", { value, selected: value === 1, text: `${value}×` })),
  );
  const download = button(t("rec.download"), () => downloadSegment(camera, player), { icon: icon("download"), look: "quiet" });
  const share = button(t("rec.link"), () => copyLink(link()), { icon: icon("link"), look: "quiet" });
  const element = h(
    "div",
    {},
    h(
      "div",
      { class: "player-bar" },
      button(t("rec.stepBack"), () => player.step(-1), { ...quiet, icon: icon("stepBack") }),
      play,
      button(t("rec.stepForward"), () => player.step(1), { ...quiet, icon: icon("stepForward") }),
      clock,
      h("label", { class: "inline" }, h("span", { text: t("rec.speed") }), rate),
      h("span", { class: "spacer" }),
      download,
      share,
      button(t("fullscreen"), () => player.video.requestFullscreen?.(), { ...quiet, icon: icon("full") }),
    ),
    note,
  );
  let timer = 0;
  let drawnPaused = true;

  function refresh() {
    play.disabled = !player.ready;
    for (const one of [download, share]) one.disabled = !player.loaded;
    if (drawnPaused !== player.paused) {
      drawnPaused = player.paused;
      const label = t(drawnPaused ? "rec.play" : "rec.pause");
      play.replaceChildren(icon(drawnPaused ? "play" : "pause"));
      play.setAttribute("aria-label", label);
      play.title = label;
    }
    const moment = player.loaded ? new Date(player.moment) : null;
    setText(clock, moment ? dayAndTime(moment) : "–");
    if (moment) {
      clock.dateTime = moment.toISOString();
      clock.title = `UTC ${moment.toISOString()}`;
    }
  }

  refresh();
  return {
    element,
    refresh,
    /** @param {string} text */
    note(text) {
      clearTimeout(timer);
      setText(note, text);
      if (text) timer = setTimeout(() => setText(note, ""), NOTE_MS);
    },
    /** Keys that work anywhere on the page but where something is typed. @param {KeyboardEvent} event */
    key(event) {
      const target = /** @type {HTMLElement} */ (event.target);
      if (event.ctrlKey || event.metaKey || event.altKey || TYPED_INTO.has(target.tagName)) return;
      if (event.key === " ") player.toggle();
      else if (event.key === ",") player.step(-1);
      else if (event.key === ".") player.step(1);
      else return;
      event.preventDefault();
    },
  };
}

/** @param {string} address */
async function copyLink(address) {
  const link = new URL(address, location.href).href;
  try {
    await navigator.clipboard.writeText(link);
    toast(t("rec.linkCopied"));
  } catch {
    prompt(t("rec.link"), link);
  }
}

/** @param {import("../cameras/card.js").Camera} camera @param {import("./player.js").Player} player */
async function downloadSegment(camera, player) {
  const id = player.segmentId;
  if (!id) return;
  try {
    const part = player.parts.find((one) => one.id === id);
    const from = part?.start ?? player.moment;
    const body = { from: new Date(from).toISOString(), to: new Date(Math.min(from + 3_600_000, serverNow())).toISOString(), ttl: 300 };
    const { token } = await call("POST", `${cameraPath(camera.id)}/recordings/play_token`, { body });
    save(`${bffPath(cameraPath(camera.id))}/recordings/${id}?${new URLSearchParams({ token })}`, segmentFileName(camera.name, from));
  } catch (error) {
    toast(explainShortly(error), "bad");
  }
}

/** Have the browser save what is at `address`. @param {string} address @param {string} name */
export function save(address, name) {
  const link = h("a", { href: address, download: name, hidden: true });
  document.body.append(link);
  link.click();
  link.remove();
}
