// The operators' figures as panels: tiles, tables and meters, each written anew when its figures change.

import { causeName, stateName } from "../cameras/status.js";
import { dayOf, duration, relative, size } from "../clock.js";
import { h, timeElement } from "../dom.js";
import { t } from "../i18n.js";

const STATES = ["running", "starting", "stalled", "backoff", "parked", "stopping", "stopped"];

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

/** @typedef {{name: string, recorded: number, missing: number, causes: Record<string, number>}} Span in seconds */

/** @param {Span[]} spans */
export function spanTable(spans) {
  const heads = ["", "ops.recordedTime", "ops.missingTime", "ops.share"].map((key) =>
    h("th", { scope: "col", class: key ? "number" : null, text: key ? t(key) : "" }),
  );
  return h("table", {}, h("thead", {}, h("tr", {}, ...heads)), h("tbody", {}, ...spans.map(spanRow)));
}

/** @param {Span} span */
function spanRow(span) {
  const wanted = span.recorded + span.missing;
  const share = wanted > 0 ? `${floored((span.recorded / wanted) * 100)} %` : "–";
  const cell = (/** @type {string} */ text) => h("td", { class: "number", text });
  return h("tr", {}, h("th", { scope: "row", text: span.name }), cell(duration(span.recorded)), cell(duration(span.missing)), cell(share));
}

/** Never rounded up to the whole: 99.999 % recorded is not all of it. @param {number} percent */
function floored(percent) {
  return percent === 100 ? "100" : (Math.floor(percent * 100) / 100).toFixed(2);
}

/** @param {Record<string, number>} causes seconds by cause @param {string} none */
export function causeList(causes, none) {
  const entries = Object.entries(causes).filter(([, amount]) => amount > 0).sort(([, a], [, b]) => b - a);
  if (!entries.length) return h("p", { class: "help", text: none });
  return h("table", {}, h("tbody", {}, ...entries.map(([cause, amount]) => h("tr", {}, h("td", { text: causeName(cause) }), h("td", { class: "number", text: duration(amount) })))));
}

/** @param {Record<string, number>} counts @param {string} none */
export function countList(counts, none) {
  const entries = Object.entries(counts).filter(([, amount]) => amount > 0).sort(([, a], [, b]) => b - a);
  if (!entries.length) return h("p", { class: "help", text: none });
  return h("table", {}, h("tbody", {}, ...entries.map(([cause, amount]) => h("tr", {}, h("td", { text: causeName(cause) }), h("td", { class: "number", text: String(amount) })))));
}

/** @typedef {{free: number|null, total: number|null, used: number|null, fullAt: Date|null, verdict: string}} Disk in bytes */

/** @param {Disk} disk */
export function diskPanel(disk) {
  const { free, total } = disk;
  const share = free !== null && total ? 1 - free / total : 0;
  const end = disk.fullAt
    ? h("p", {}, timeElement(t("ops.diskFull", { day: dayOf(disk.fullAt) }), disk.fullAt), ` (${relative(disk.fullAt)})`)
    : h("p", { class: "help", text: disk.verdict });
  return h(
    "div",
    {},
    h("p", { text: free === null ? "–" : t("ops.diskFree", { free: size(free), total: total === null ? "–" : size(total) }) }),
    meter(share),
    end,
    disk.used !== null && h("p", { class: "help", text: `${t("ops.used")}: ${size(disk.used)}` }),
  );
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
