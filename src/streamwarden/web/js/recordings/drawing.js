// The timeline's picture: what was recorded, what is missing, the hours, the place that plays.

import { hourAndMinute, hourMinuteSecond } from "../clock.js";
import { firstAfter } from "./day.js";

const LABELS = 20;
const STEPS_S = [1, 5, 10, 30, 60, 300, 600, 1_800, 3_600, 7_200, 10_800, 21_600];
const LABEL_WIDTH = 72;

/** @typedef {import("./view.js").View} View */
/**
 * @typedef {{view: View, segments: import("./day.js").Segment[], gaps: import("./day.js").Gap[], now: number,
 *   moment: number|null, hover: number|null, range: View|null}} Shown
 */

/** @param {HTMLCanvasElement} canvas @param {Shown} shown */
export function draw(canvas, shown) {
  const ratio = devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
  if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
  const paint = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  paint.setTransform(ratio, 0, 0, ratio, 0, 0);
  paint.clearRect(0, 0, width, height);
  const colours = coloursOf(canvas);
  const { from, to } = shown.view;
  const x = (/** @type {number} */ moment) => ((moment - from) / (to - from)) * width;
  const band = { top: LABELS, height: height - LABELS };

  paint.fillStyle = colours.off;
  paint.fillRect(0, band.top, Math.min(width, Math.max(0, x(shown.now))), band.height);
  paint.fillStyle = colours.segment;
  for (const [a, b] of merged(shown.segments, shown.view, (to - from) / width)) block(paint, x(a), x(b), band, width);
  paint.fillStyle = colours.gap;
  for (const gap of shown.gaps) {
    const end = gap.end ?? shown.now;
    if (end > from && gap.start < to) block(paint, x(gap.start), x(end), band, width, 2);
  }
  ticks(paint, shown.view, x, width, height, colours);
  if (shown.range) chosen(paint, x(shown.range.from), x(shown.range.to), band, colours);
  if (shown.hover !== null) line(paint, x(shown.hover), band, colours.ink, 1, 0.5);
  if (shown.moment !== null) head(paint, x(shown.moment), band, colours);
}

/**
 * Neighbours that would touch on the screen as one block: 2,880 segments are then a few.
 * @param {import("./day.js").Segment[]} segments @param {View} view @param {number} pixelMs
 * @returns {Generator<[number, number]>}
 */
export function* merged(segments, view, pixelMs) {
  let index = Math.max(0, firstAfter(segments, view.from) - 2);
  let start = -1;
  let end = -1;
  for (; index < segments.length && segments[index].start < view.to; index += 1) {
    const one = segments[index];
    if (start >= 0 && one.start - end <= Math.max(pixelMs * 0.5, 250)) {
      end = Math.max(end, one.end);
      continue;
    }
    if (start >= 0) yield [start, end];
    start = one.start;
    end = one.end;
  }
  if (start >= 0) yield [start, end];
}

/** @param {CanvasRenderingContext2D} paint @param {number} a @param {number} b @param {any} band @param {number} width */
function block(paint, a, b, band, width, least = 1) {
  const left = Math.max(0, a);
  const right = Math.min(width, Math.max(b, a + least));
  if (right > left) paint.fillRect(left, band.top, right - left, band.height);
}

/**
 * The time between two ticks of a view, so that their labels do not touch, and the ticks: on whole steps of local time,
 * also on a day of 23 or 25 hours.
 * @param {View} view @param {number} width of the view in pixels
 */
export function tickSteps(view, width) {
  const wanted = ((view.to - view.from) / width) * LABEL_WIDTH;
  const step = (STEPS_S.find((s) => s * 1000 >= wanted) ?? STEPS_S[STEPS_S.length - 1]) * 1000;
  const times = [];
  for (let at = nextTick(view.from, step); at <= view.to; at = nextTick(at + 1, step)) times.push(at);
  return { step, times };
}

/** The first whole step of local time that is no earlier. @param {number} from @param {number} step */
function nextTick(from, step) {
  const zones = new Set([0, 1, 2].map((steps) => zoneAt(from + steps * step)));
  const found = [...zones].flatMap((zone) => {
    const first = Math.ceil((from - zone) / step) * step + zone;
    const tick = [first, first + step, first + 2 * step].find((at) => zoneAt(at) === zone);
    return tick === undefined ? [] : [tick];
  });
  return Math.min(...found);
}

/** @param {number} moment */
const zoneAt = (moment) => new Date(moment).getTimezoneOffset() * 60_000;

/** @param {CanvasRenderingContext2D} paint @param {View} view @param {(m: number) => number} x */
function ticks(paint, view, x, width, height, colours) {
  const { step, times } = tickSteps(view, width);
  paint.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  paint.textBaseline = "middle";
  for (const at of times) {
    const label = step < 60_000 ? hourMinuteSecond(new Date(at)) : hourAndMinute(new Date(at));
    const half = paint.measureText(label).width / 2;
    const place = Math.min(Math.max(x(at), half), width - half);
    paint.fillStyle = colours.soft;
    paint.fillText(label, place - half, LABELS / 2 - 1);
    paint.fillStyle = colours.tick;
    paint.fillRect(Math.round(x(at)), LABELS, 1, height - LABELS);
  }
}

/** @param {CanvasRenderingContext2D} paint */
function line(paint, at, band, colour, width, alpha = 1) {
  paint.globalAlpha = alpha;
  paint.fillStyle = colour;
  paint.fillRect(at - width / 2, band.top, width, band.height);
  paint.globalAlpha = 1;
}

/** @param {CanvasRenderingContext2D} paint */
function head(paint, at, band, colours) {
  line(paint, at, band, colours.surface, 5);
  line(paint, at, band, colours.ink, 2);
  paint.fillStyle = colours.ink;
  paint.beginPath();
  paint.moveTo(at - 6, band.top - 5);
  paint.lineTo(at + 6, band.top - 5);
  paint.lineTo(at, band.top + 4);
  paint.fill();
}

/** @param {CanvasRenderingContext2D} paint */
function chosen(paint, a, b, band, colours) {
  paint.strokeStyle = colours.ink;
  paint.lineWidth = 2;
  paint.setLineDash([5, 3]);
  paint.strokeRect(a, band.top + 1, Math.max(2, b - a), band.height - 2);
  paint.setLineDash([]);
}

/** @param {HTMLElement} element */
function coloursOf(element) {
  const style = getComputedStyle(element);
  const of = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
  return {
    segment: of("--accent"), gap: of("--bad"), off: of("--still-soft"), ink: of("--ink"),
    soft: of("--ink-soft"), surface: of("--surface"), tick: "rgb(128 140 145 / 35%)",
  };
}
