// The day's gaps as a table: the timeline's red, readable and reachable without a pointer.

import { causeName } from "../cameras/status.js";
import { duration, serverNow, timeOfDay } from "../clock.js";
import { h, timeElement } from "../dom.js";
import { t } from "../i18n.js";

const MOST_ROWS = 200;

/** @param {(moment: number) => void} seek */
export function gapTable(seek) {
  const place = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": t("rec.gaps") });
  const element = h("section", { class: "panel" }, h("h2", { text: t("rec.gaps") }), place);
  let drawn = "";
  return {
    element,
    /** @param {import("./day.js").Gap[]} gaps */
    show(gaps) {
      const key = JSON.stringify(gaps);
      if (key === drawn) return;
      drawn = key;
      place.replaceChildren(gaps.length ? table(gaps, seek) : h("p", { class: "help", text: t("rec.noGaps") }));
    },
  };
}

/** @param {import("./day.js").Gap[]} gaps @param {(moment: number) => void} seek */
function table(gaps, seek) {
  const heads = ["rec.from", "rec.to", "rec.length", "rec.cause"];
  const rows = gaps.slice(-MOST_ROWS).reverse().map((gap) => row(gap, seek));
  const left = gaps.length - rows.length;
  return h(
    "table",
    {},
    h("thead", {}, h("tr", {}, ...heads.map((key) => h("th", { scope: "col", text: t(key) })))),
    h("tbody", {}, ...rows),
    left > 0 && h("caption", { text: t("rec.more", { count: left }) }),
  );
}

/** @param {import("./day.js").Gap} gap @param {(moment: number) => void} seek */
function row(gap, seek) {
  const start = new Date(gap.start);
  const end = gap.end === null ? null : new Date(gap.end);
  const from = h("button", { type: "button", class: "link", on: { click: () => seek(gap.start - 3_000) } }, timeElement(timeOfDay(start), start));
  return h(
    "tr",
    {},
    h("td", {}, from),
    h("td", {}, end ? timeElement(timeOfDay(end), end) : "…"),
    h("td", { text: duration(((gap.end ?? serverNow()) - gap.start) / 1000) }),
    h("td", { class: "cause", text: causeName(gap.cause) }),
  );
}
