// The timeline as a control: a slider over the day, with keys, zoom, and words on what is under the pointer.

import { causeName } from "../cameras/status.js";
import { dayAndTime, duration, serverNow, size, timeOfDay } from "../clock.js";
import { h, setText } from "../dom.js";
import { t } from "../i18n.js";
import { draw } from "./drawing.js";
import { centred, zoomed } from "./view.js";

const STEP_MS = 10_000;
const KEYS_MS = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1 };

export class Timeline {
  /** @param {{day: () => import("./day.js").Day, seek: (moment: number) => void}} given */
  constructor({ day, seek }) {
    this.day = day;
    this.seek = seek;
    this.canvas = h("canvas", { "aria-hidden": "true" });
    this.tip = h("div", { class: "tip", hidden: true });
    this.element = h(
      "div",
      { class: "timeline", role: "slider", tabindex: "0", "aria-label": t("rec.timeline"), "aria-valuemin": 0 },
      this.canvas,
      this.tip,
    );
    /** @type {number|null} */
    this.moment = null;
    /** @type {number|null} */
    this.hover = null;
    /** @type {import("./view.js").View|null} */
    this.range = null;
    this.view = { from: 0, to: 1 };
    this.planned = false;
    this.listen();
    this.sized = new ResizeObserver(() => this.redraw());
    this.sized.observe(this.element);
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.redraw = this.redraw.bind(this);
    this.scheme.addEventListener("change", this.redraw);
  }

  listen() {
    const { element } = this;
    element.addEventListener("click", (/** @type {MouseEvent} */ event) => this.seek(this.momentOf(event)));
    element.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => this.point(this.momentOf(event)));
    element.addEventListener("pointerleave", () => this.point(null));
    element.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.key(event));
    element.addEventListener("wheel", (/** @type {WheelEvent} */ event) => this.wheel(event), { passive: false });
  }

  showDay() {
    const { start, end } = this.day();
    this.view = { from: start, to: end };
    this.redraw();
  }

  /** @param {number|null} moment */
  move(moment) {
    this.moment = moment;
    const { start, end } = this.day();
    this.element.setAttribute("aria-valuemax", String(Math.round((end - start) / 1000)));
    this.element.setAttribute("aria-valuenow", String(moment === null ? 0 : Math.round((moment - start) / 1000)));
    this.element.setAttribute("aria-valuetext", moment === null ? t("rec.choose") : dayAndTime(new Date(moment)));
    if (moment !== null && (moment < this.view.from || moment > this.view.to)) {
      this.view = centred(this.day(), this.view, moment);
    }
    this.redraw();
  }

  /** Draw once before the next picture, however much has changed. */
  redraw() {
    if (this.planned) return;
    this.planned = true;
    requestAnimationFrame(() => {
      this.planned = false;
      const { segments, gaps } = this.day();
      const { view, moment, hover, range } = this;
      if (this.canvas.isConnected) draw(this.canvas, { view, segments, gaps, now: serverNow(), moment, hover, range });
    });
  }

  /** @param {MouseEvent} event */
  momentOf(event) {
    const box = this.element.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    return this.view.from + share * (this.view.to - this.view.from);
  }

  /** @param {number|null} moment */
  point(moment) {
    this.hover = moment;
    this.tip.hidden = moment === null;
    if (moment !== null) {
      setText(this.tip, `${timeOfDay(new Date(moment))} · ${this.wordsAt(moment)}`);
      const share = (moment - this.view.from) / (this.view.to - this.view.from);
      const room = this.element.clientWidth - this.tip.offsetWidth;
      this.tip.style.left = `${Math.max(0, Math.min(room, share * this.element.clientWidth - this.tip.offsetWidth / 2))}px`;
    }
    this.redraw();
  }

  /** What there is at a moment, in words. @param {number} moment */
  wordsAt(moment) {
    const near = ((this.view.to - this.view.from) / Math.max(1, this.element.clientWidth)) * 2;
    const gap = this.day().gapAt(moment) ?? this.day().gapAt(moment - near) ?? this.day().gapAt(moment + near);
    if (gap) return gapWords(gap);
    const segment = this.day().segmentAt(moment);
    if (!segment) return t("rec.nothing");
    const words = t("rec.segment", { from: timeOfDay(new Date(segment.start)), to: timeOfDay(new Date(segment.end)), size: size(segment.bytes) });
    return segment.salvaged ? `${words} · ${t("rec.salvaged")}` : words;
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const { start, end } = this.day();
    const at = this.moment ?? this.view.from;
    const zoom = { "+": 0.5, "=": 0.5, "-": 2 }[event.key];
    let to = null;
    if (event.key in KEYS_MS) to = at + KEYS_MS[/** @type {keyof typeof KEYS_MS} */ (event.key)] * STEP_MS * (event.shiftKey ? 6 : 1);
    else if (event.key === "PageUp") to = at - 3_600_000;
    else if (event.key === "PageDown") to = at + 3_600_000;
    else if (event.key === "Home") to = start;
    else if (event.key === "End") to = this.day().segments.at(-1)?.start ?? end;
    else if (!zoom) return;
    event.preventDefault();
    if (zoom) this.zoom(zoom, at);
    else if (to !== null) this.seek(Math.min(Math.max(to, start), end - 1));
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    if (!event.deltaY || event.ctrlKey) return;
    event.preventDefault();
    this.zoom(event.deltaY < 0 ? 0.8 : 1.25, this.momentOf(event));
  }

  /** @param {number} factor @param {number} [around] */
  zoom(factor, around = this.moment ?? (this.view.from + this.view.to) / 2) {
    this.view = zoomed(this.day(), this.view, factor, around);
    this.redraw();
  }

  close() {
    this.sized.disconnect();
    this.scheme.removeEventListener("change", this.redraw);
  }
}

/** @param {import("./day.js").Gap} gap */
export function gapWords(gap) {
  const from = timeOfDay(new Date(gap.start));
  const cause = causeName(gap.cause);
  if (gap.end === null) return t("rec.gapOpen", { from, cause });
  return t("rec.gap", { from, to: timeOfDay(new Date(gap.end)), span: duration((gap.end - gap.start) / 1000), cause });
}
