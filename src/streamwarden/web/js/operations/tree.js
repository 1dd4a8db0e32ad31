// The supervision tree, live: each child with its incarnation, parked ones marked, each restartable.

import { h } from "../dom.js";
import { has, t } from "../i18n.js";

/** @typedef {{id: string, name: string, status: string, incarnation: number, restarts: number, depth: number, restartable: boolean}} Row */

/**
 * The tree as rows, parents before their children.
 * @param {any} child @param {Map<string, string>} names of cameras @param {number} [depth]
 * @returns {Row[]}
 */
export function rowsOf(child, names, depth = 0) {
  const camera = names.get(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/.exec(child.id)?.[0] ?? "");
  const { id, status, incarnation, restarts, children } = child;
  // The server restarts recorders alone: the leaves below the StreamManager.
  const restartable = depth > 1 && !children.length;
  const row = { id, name: camera ?? id, status, incarnation, restarts, depth, restartable };
  return [row, ...children.flatMap((/** @type {any} */ each) => rowsOf(each, names, depth + 1))];
}

/** @param {Row[]} rows @param {(row: Row) => void} restart */
export function treeTable(rows, restart) {
  const heads = [["ops.child"], ["ops.state"], ["ops.incarnation", "number spare"], ["ops.restarts", "number spare"], [""]];
  return h(
    "table",
    {},
    h("thead", {}, h("tr", {}, ...heads.map(([key, look]) => (key ? h("th", { scope: "col", class: look, text: t(key) }) : h("td", {}))))),
    h("tbody", {}, ...rows.map((row) => treeRow(row, restart))),
  );
}

/** @param {Row} row @param {(row: Row) => void} restart */
function treeRow(row, restart) {
  const words = has(`child.${row.status}`) ? t(`child.${row.status}`) : row.status;
  const press = h("button", {
    type: "button", class: "button quiet", text: t("ops.restart"), "aria-label": t("ops.restart.of", { name: row.name }),
    on: { click: () => restart(row) },
  });
  return h(
    "tr",
    { class: `depth-${Math.min(row.depth, 3)}`, "data-state": row.status },
    h("td", { text: row.name, title: row.id }),
    h("td", {}, h("span", { class: "badge", text: words })),
    h("td", { class: "number spare", text: String(row.incarnation) }),
    h("td", { class: "number spare", text: String(row.restarts) }),
    h("td", { class: "number" }, row.restartable && press),
  );
}
