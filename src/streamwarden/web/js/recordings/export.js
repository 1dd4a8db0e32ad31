// A range as one MP4: chosen, made on the server with its progress shown, cancelled, saved.

import { bffPath, call, cameraPath } from "../api.js";
import { offsetOf, size, timeOfDay } from "../clock.js";
import { button, h, setText } from "../dom.js";
import { t } from "../i18n.js";
import { icon } from "../icons.js";
import { explainShortly, isPassing } from "../problems.js";
import { save } from "./bar.js";
import { iso } from "./day.js";
import { timeMoments, timeValue } from "./fields.js";

const ASK_EVERY_MS = 1_000;
const ASK_AGAIN_MS = 3_000;
const TOKEN_TTL_S = 3_600;
const CODECS = /** @type {Record<string, string>} */ ({ h264: "H.264", h265: "H.265" });

/** @typedef {import("./view.js").View} Range */

/** Panel that orders one export at a time and follows it until it can be saved. */
export class ExportPanel {
  /**
   * @param {import("../cameras/card.js").Camera} camera
   * @param {() => number} playing the moment that is shown
   * @param {(range: Range|null) => void} chosen
   */
  constructor(camera, playing, chosen) {
    this.camera = camera;
    this.chosen = chosen;
    const changed = () => this.readRange();
    this.from = new MomentField("export-from", t("export.from"), playing, changed, playing);
    this.to = new MomentField("export-to", t("export.to"), playing, changed, () => this.from.value() + 1);
    this.words = h("p", { class: "help", role: "status" });
    this.progress = h("progress", { max: 1, hidden: true, "aria-label": t("export.title") });
    const hidden = { hidden: true };
    this.make = button(t("export.start"), () => this.order(), { look: "primary" });
    this.cancel = button(t("export.cancel"), () => this.stop(), { attributes: hidden });
    this.keep = button(t("export.save"), () => this.fetchPart("file"), { look: "primary", icon: icon("download"), attributes: hidden });
    this.prove = button(t("export.proof"), () => this.fetchPart("proof"), { look: "quiet", attributes: hidden });
    const buttons = h("div", { class: "row" }, this.make, this.cancel, this.keep, this.prove);
    /** Where the camera's format changes in the range: a button for each part of one format. */
    this.parts = h("div", { class: "row" });
    const form = h("div", { class: "export-form" }, this.from.element, this.to.element, buttons);
    this.element = h("section", { class: "panel" }, h("h2", { text: t("export.title") }), form, this.progress, this.words, this.parts);
    this.timer = 0;
    /** The path of the export that was ordered; empty where there is none. */
    this.path = "";
    /** @type {Range} */
    this.range = { from: NaN, to: NaN };
    this.ordered = this.range;
    /** Whether it is signed: others can check it without this server. */
    this.proven = false;
  }

  readRange() {
    this.range = { from: this.from.value(), to: this.to.value() };
    this.chosen(this.range.from < this.range.to ? this.range : null);
  }

  /** @param {"idle"|"busy"|"done"} state @param {string} text */
  show(state, text) {
    this.make.hidden = state === "busy";
    this.cancel.hidden = state !== "busy";
    this.keep.hidden = state !== "done";
    this.prove.hidden = state !== "done" || !this.proven;
    this.progress.hidden = state !== "busy";
    setText(this.words, text);
  }

  async order() {
    this.readRange();
    const { range } = this;
    this.parts.replaceChildren();
    if (!(range.from < range.to)) return this.show("idle", t("export.order"));
    this.show("busy", t("export.waiting"));
    this.progress.removeAttribute("value");
    try {
      const path = `${cameraPath(this.camera.id)}/exports`;
      const made = await call("POST", path, { body: isoRange(range) });
      this.path = `${path}/${encodeURIComponent(made.id)}`;
      this.ordered = { ...range };
      this.take(made);
    } catch (error) {
      this.show("idle", explainShortly(error));
    }
  }

  /** @param {any} found the export as the API has it */
  take(found) {
    clearTimeout(this.timer);
    this.proven = found.proven === true;
    if (found.state === "done") return this.show("done", `${t("export.done")} · ${size(found.bytes ?? 0)}`);
    if (found.error_code === "format_changed") return this.offerParts(found.parts);
    if (found.state === "failed") return this.show("idle", t("export.failed", { detail: found.error ?? "" }));
    if (found.state === "cancelled") return this.show("idle", t("export.cancelled"));
    this.progress.value = found.progress;
    this.show("busy", found.state === "queued" ? t("export.waiting") : t("export.running", { percent: Math.floor(found.progress * 100) }));
    this.askAfter(ASK_EVERY_MS);
  }

  /** @param {any[]} parts the ranges of one format each, with an export of their own where there are not too many */
  offerParts(parts) {
    const made = parts.filter((part) => part.id);
    this.show("idle", t(made.length ? "export.formatChanged" : "export.formatChangesOften"));
    this.parts.replaceChildren(...made.map((part) => button(partName(part), () => this.follow(part))));
  }

  /** Show how far a part is, and save it. @param {any} part */
  follow({ id, from, to }) {
    clearTimeout(this.timer);
    this.path = `${cameraPath(this.camera.id)}/exports/${encodeURIComponent(id)}`;
    this.ordered = { from: Date.parse(from), to: Date.parse(to) };
    this.ask();
  }

  /** @param {number} pauseMs */
  askAfter(pauseMs) {
    this.timer = setTimeout(() => this.ask(), pauseMs);
  }

  async ask() {
    const asked = this.path;
    try {
      const found = await call("GET", asked);
      if (asked === this.path) this.take(found);
    } catch (error) {
      if (asked !== this.path) return;
      this.show(isPassing(error) ? "busy" : "idle", explainShortly(error));
      if (isPassing(error)) this.askAfter(ASK_AGAIN_MS);
    }
  }

  async stop() {
    clearTimeout(this.timer);
    const path = this.path;
    this.path = "";
    this.show("idle", t("export.cancelled"));
    if (path) await call("DELETE", path).catch(() => {}); // it also goes by itself, after a while
  }

  /**
   * Download of what was made: the browser saves it piece by piece itself; what it fetches carries a token for this time alone.
   * @param {"file"|"proof"} part
   */
  async fetchPart(part) {
    try {
      const body = { ...isoRange(this.ordered), ttl: TOKEN_TTL_S };
      const { token } = await call("POST", `${cameraPath(this.camera.id)}/recordings/play_token`, { body });
      save(`${bffPath(this.path)}/${part}?${new URLSearchParams({ token })}`, ""); // the server names it
    } catch (error) {
      this.show("done", explainShortly(error));
    }
  }

  close() {
    clearTimeout(this.timer);
  }
}

/** @param {any} part */
function partName({ number, from, to, tracks }) {
  const times = { from: timeOfDay(new Date(from)), to: timeOfDay(new Date(to)) };
  const size = tracks.width ? ` ${tracks.width}×${tracks.height}` : "";
  return `${number}. ${t("export.part", times)} · ${CODECS[tracks.codec] ?? tracks.codec}${size}`;
}

/** @param {Range} range */
const isoRange = ({ from, to }) => ({ from: iso(from), to: iso(to) });

/**
 * Field for a moment. The text of a field knows no offset, so the moment is kept beside it until somebody edits
 * it; where a text means two moments, the viewer chooses.
 */
class MomentField {
  /**
   * @param {string} id @param {string} label @param {() => number} playing @param {() => void} changed
   * @param {() => number} earliest of two moments the first that is no earlier is meant, unless the viewer says otherwise
   */
  constructor(id, label, playing, changed, earliest) {
    this.earliest = earliest;
    this.field = h("input", { id, type: "datetime-local", step: 1, on: { change: changed } });
    const chosen = () => {
      this.moment = Number(this.offsets.value);
      changed();
    };
    this.offsets = h("select", { hidden: true, "aria-label": `${label}: ${t("export.offset")}`, on: { change: chosen } });
    const here = button(t("export.here"), () => {
      this.set(Math.floor(playing() / 1_000) * 1_000);
      changed();
    }, { look: "quiet", attributes: { "aria-label": `${label}: ${t("export.here")}` } });
    this.element = h("div", { class: "field" }, h("label", { for: id, text: label }), h("div", { class: "moment" }, this.field, this.offsets), here);
    this.moment = NaN;
    /** The text that `moment` belongs to. */
    this.text = "";
  }

  /** @param {number} moment */
  set(moment) {
    this.field.value = timeValue(moment);
    this.text = this.field.value;
    this.moment = moment;
    this.offer(timeMoments(this.text));
  }

  /** The moment; NaN where there is none. */
  value() {
    if (this.field.value !== this.text) {
      this.text = this.field.value;
      const meant = timeMoments(this.text);
      const earliest = this.earliest();
      this.moment = meant.find((moment) => moment >= earliest) ?? meant.at(-1) ?? NaN;
      if (!(earliest >= 0)) this.moment = meant[0] ?? NaN;
      this.offer(meant);
    }
    return this.moment;
  }

  /** @param {number[]} moments */
  offer(moments) {
    this.offsets.hidden = moments.length < 2;
    this.offsets.replaceChildren(...moments.map((moment) => h("option", { value: moment, text: offsetOf(moment) })));
    this.offsets.value = String(this.moment);
  }
}
