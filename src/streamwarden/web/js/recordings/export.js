// A range as one MP4: chosen, made on the server with its progress shown, cancelled, saved.

import { call, cameraPath } from "../api.js";
import { size } from "../clock.js";
import { button, h, setText } from "../dom.js";
import { t } from "../i18n.js";
import { icon } from "../icons.js";
import { explainShortly, isPassing } from "../problems.js";
import { save } from "./bar.js";

const ASK_EVERY_MS = 1_000;
const ASK_AGAIN_MS = 3_000;
const TOKEN_TTL_S = 3_600;

/**
 * @param {import("../cameras/card.js").Camera} camera
 * @param {() => number} playing the moment that is shown
 * @param {(range: {from: number, to: number}|null) => void} chosen
 */
export function exportPanel(camera, playing, chosen) {
  const from = momentField("export-from", t("export.from"), playing, changed);
  const to = momentField("export-to", t("export.to"), playing, changed);
  const words = h("p", { class: "help", role: "status" });
  const progress = h("progress", { max: 1, hidden: true, "aria-label": t("export.title") });
  const make = button(t("export.start"), start, { look: "primary" });
  const cancel = button(t("export.cancel"), stop, { attributes: { hidden: true } });
  const prove = button(t("export.proof"), () => fetchPart("proof"), { look: "quiet", attributes: { hidden: true } });
  const keep = button(t("export.save"), () => fetchPart("file"), { look: "primary", icon: icon("download"), attributes: { hidden: true } });
  const element = h(
    "section",
    { class: "panel" },
    h("h2", { text: t("export.title") }),
    h("div", { class: "export-form" }, from.element, to.element, h("div", { class: "row" }, make, cancel, keep, prove), progress, words),
  );
  let timer = 0;
  let base = "";
  let range = { from: NaN, to: NaN };
  let ordered = range;
  let proven = false; // signed: others can check it without this server

  function changed() {
    range = { from: from.value(), to: to.value() };
    chosen(range.from < range.to ? range : null);
  }

  /** @param {"idle"|"busy"|"done"} state @param {string} text */
  function show(state, text) {
    make.hidden = state === "busy";
    cancel.hidden = state !== "busy";
    keep.hidden = state !== "done";
    prove.hidden = state !== "done" || !proven;
    progress.hidden = state !== "busy";
    setText(words, text);
  }

  async function start() {
    changed();
    if (!(range.from < range.to)) return show("idle", t("export.order"));
    show("busy", t("export.waiting"));
    progress.removeAttribute("value");
    try {
      const path = `${cameraPath(camera.id)}/exports`;
      const made = await call("POST", path, { body: { from: new Date(range.from).toISOString(), to: new Date(range.to).toISOString() } });
      base = `${path}/${encodeURIComponent(made.id)}`;
      ordered = { ...range };
      take(made);
    } catch (error) {
      show("idle", explainShortly(error));
    }
  }

  /** @param {any} found */
  function take(found) {
    clearTimeout(timer);
    proven = found.proven === true;
    if (found.state === "done") return show("done", `${t("export.done")} · ${size(found.bytes ?? 0)}`);
    if (found.state === "failed") return show("idle", t("export.failed", { detail: found.error ?? "" }));
    if (found.state === "cancelled") return show("idle", t("export.cancelled"));
    progress.value = found.progress;
    show("busy", found.state === "queued" ? t("export.waiting") : t("export.running", { percent: Math.floor(found.progress * 100) }));
    timer = setTimeout(ask, ASK_EVERY_MS);
  }

  async function ask() {
    const asked = base;
    try {
      const found = await call("GET", asked);
      if (asked === base) take(found);
    } catch (error) {
      if (asked !== base) return;
      show(isPassing(error) ? "busy" : "idle", explainShortly(error));
      if (isPassing(error)) timer = setTimeout(ask, ASK_AGAIN_MS);
    }
  }

  async function stop() {
    clearTimeout(timer);
    const path = base;
    base = "";
    show("idle", t("export.cancelled"));
    if (path) await call("DELETE", path).catch(() => {}); // it also goes by itself, after a while
  }

  /**
   * The browser saves it piece by piece itself; what it fetches carries a token for this time alone.
   * @param {"file"|"proof"} part
   */
  async function fetchPart(part) {
    try {
      const body = { from: new Date(ordered.from).toISOString(), to: new Date(ordered.to).toISOString(), ttl: TOKEN_TTL_S };
      const { token } = await call("POST", `${cameraPath(camera.id)}/recordings/play_token`, { body });
      save(`/bff/v1${base}/${part}?${new URLSearchParams({ token })}`, ""); // the server names it
    } catch (error) {
      show("done", explainShortly(error));
    }
  }

  return { element, close: () => clearTimeout(timer) };
}

/** @param {string} id @param {string} label @param {() => number} playing @param {() => void} changed */
function momentField(id, label, playing, changed) {
  const field = h("input", { id, type: "datetime-local", step: 1, on: { change: changed } });
  const here = button(t("export.here"), () => {
    field.value = localTime(playing());
    changed();
  }, { look: "quiet", attributes: { "aria-label": `${label}: ${t("export.here")}` } });
  return {
    element: h("div", { class: "field" }, h("label", { for: id, text: label }), field, here),
    value: () => (field.value ? new Date(field.value).getTime() : NaN),
  };
}

/** @param {number} moment @returns {string} as the field has it: local, to the second */
function localTime(moment) {
  const at = new Date(moment - new Date(moment).getTimezoneOffset() * 60_000);
  return at.toISOString().slice(0, 19);
}
