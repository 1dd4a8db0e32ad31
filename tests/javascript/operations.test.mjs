import assert from "node:assert/strict";
import test from "node:test";
import "./browser.mjs";
import { recordedShare } from "../../src/streamwarden/web/js/operations/panels.js";
import { rowsOf } from "../../src/streamwarden/web/js/operations/tree.js";

test("a share is never rounded up to the whole", () => {
  assert.deepEqual([[100, 0], [99_999, 1], [1, 2], [0, 5], [0, 0]].map(([a, b]) => recordedShare(a, b)), ["100 %", "99.99 %", "33.33 %", "0.00 %", "–"]);
});

const ID = "0b57d1b6-8d0c-4b86-9d8a-3a4a4d6a3d11";
const child = (id, ...children) => ({ id, status: "running", incarnation: 1, restarts: 0, children });

test("parents come before their children, recorders have their camera's name", () => {
  const rows = rowsOf(child("root", child("manager", child(`recorder-${ID}`)), child("watcher")), new Map([[ID, "Yard"]]));
  assert.deepEqual(rows.map(({ name, depth }) => [name, depth]), [["root", 0], ["manager", 1], ["Yard", 2], ["watcher", 1]]);
});

test("only recorders can be restarted", () => {
  const rows = rowsOf(child("root", child("manager", child(`recorder-${ID}`), child("group", child("leaf"))), child("watcher")), new Map());
  assert.deepEqual(rows.filter((row) => row.restartable).map((row) => row.id), [`recorder-${ID}`, "leaf"]);
});
