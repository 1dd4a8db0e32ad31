// The operators' figures as panels: tiles, tables and meters, each written anew when its figures change.

import { causeName, stateName } from "../cameras/status.js";
import { dayOf, duration, relative, size } from "../clock.js";
import { h, timeElement } from "../dom.js";
import { t } from "../i18n.js";

const STATES = ["running", "starting", "waiting_for_key_frame", "stalled", "backoff", "parked", "stopping", "stopped"];

/** @param {string} title @param {string} [look] */
export function panel(title, look = "") {
  const body = h("div", {});
  return { element: h("section", { class: `panel ${look}`, "aria-label": title }, h("h2", { text: title }), body), body };
}

/** @param {Record<string, number>} states cameras by state */
export function stateTiles(states) {
  const shown = [...STATES, ...Object.keys(states).filter((state) => !STATES.includes(state))];
  const tiles = shown
    .filter((state) => states[state] || state === "running")
    .map((state) =>
      h(
        "div",
        { class: "tile", "data-state": state },
        h("strong", { text: String(states[state] ?? 0) }),
        h("span", { class: "badge", text: stateName(state) }),
      ),
    );
  return h("div", { class: "tiles" }, ...tiles);
}

/** @typedef {{name: string, recorded_seconds: number, missing_seconds: number}} Span */

/** @param {Span[]} spans */
export function spanTable(spans) {
  const heads = ["ops.recordedTime", "ops.missingTime", "ops.share"].map((key) => h("th", { scope: "col", class: "number", text: t(key) }));
  return h("table", {}, h("thead", {}, h("tr", {}, h("td", {}), ...heads)), h("tbody", {}, ...spans.map(spanRow)));
}

/** @param {Span} span */
function spanRow({ name, recorded_seconds: recorded, missing_seconds: missing }) {
  const share = number(recordedShare(recorded, missing));
  return h("tr", {}, h("th", { scope: "row", text: name }), number(duration(recorded)), number(duration(missing)), share);
}

const number = (/** @type {string} */ text) => h("td", { class: "number", text });

/**
 * Share of what was wanted that was recorded. Never rounded up to the whole: 99.999 % is not all of it.
 * @param {number} recorded in seconds @param {number} missing in seconds
 */
export function recordedShare(recorded, missing) {
  const wanted = recorded + missing;
  if (wanted <= 0) return "–";
  const percent = (recorded / wanted) * 100;
  return `${percent === 100 ? "100" : (Math.floor(percent * 100) / 100).toFixed(2)} %`;
}

/** Causes, each with its amount and that in words, the largest first. @param {[string, number, string][]} causes @param {string} none */
export function causeTable(causes, none) {
  if (!causes.length) return h("p", { class: "help", text: none });
  const sorted = [...causes].sort(([, a], [, b]) => b - a);
  const rows = sorted.map(([cause, , words]) => h("tr", {}, h("th", { scope: "row", class: "plain", text: causeName(cause) }), number(words)));
  return h("table", {}, h("tbody", {}, ...rows));
}

/** Names and figures; null is a figure that is not known now. @param {[string, string|number|null][]} pairs */
export function figures(pairs) {
  return h("dl", { class: "facts" }, ...pairs.flatMap(([name, value]) => [h("dt", { text: name }), h("dd", { text: value === null ? "–" : String(value) })]));
}

/** @param {{total_bytes: number, free_bytes: number, reserve_bytes: number, bytes_per_day: number, full_at: string|null}} disk */
export function diskPanel(disk) {
  const share = disk.total_bytes ? 1 - disk.free_bytes / disk.total_bytes : 0;
  return h(
    "div",
    {},
    h("p", { text: t("ops.diskFree", { free: size(disk.free_bytes), total: size(disk.total_bytes) }) }),
    meter(share),
    ...(disk.floor_reached ? [h("p", { class: "notice", text: t("ops.diskFloor", { reserve: size(disk.reserve_bytes) }) })] : []),
    h("p", {}, ...whenFull(disk)),
    h("p", { class: "help", text: t("ops.diskRate", { size: size(disk.bytes_per_day), reserve: size(disk.reserve_bytes) }) }),
  );
}

/** Deletions that wait, one paragraph each. @param {{reason: string, value: number, goes_on_in_seconds: number}[]} waits */
export function waitingDeletions(waits) {
  return waits.map((wait) => {
    const value = wait.reason === "share" ? String(Math.round(wait.value)) : wait.reason.endsWith("quota") ? size(wait.value) : duration(wait.value);
    return h("p", { class: "notice" }, t(`ops.waits.${wait.reason}`, { value }), " ", t("ops.waits.until", { time: duration(wait.goes_on_in_seconds) }));
  });
}

/** @param {{full_at: string|null, bytes_per_day: number}} disk */
function whenFull(disk) {
  if (!disk.full_at) return [t(disk.bytes_per_day ? "ops.diskNever" : "ops.diskUnknown")];
  const day = new Date(disk.full_at);
  return [timeElement(t("ops.diskFull", { day: dayOf(day) }), day), ` (${relative(day)})`];
}

/** @param {number} share drawn as SVG: a width in a style attribute is not for our policy */
function meter(share) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 100 4");
  svg.setAttribute("preserveAspectRatio", "none");
  const bar = document.createElementNS(space, "rect");
  bar.setAttribute("width", String(Math.round(share * 1000) / 10));
  bar.setAttribute("height", "4");
  svg.append(bar);
  return h("div", { class: "meter", role: "img", "aria-label": `${Math.round(share * 100)} %` }, svg);
}
