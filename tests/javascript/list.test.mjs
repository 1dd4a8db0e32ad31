import assert from "node:assert/strict";
import test from "node:test";
import "./browser.mjs";
import { matches } from "../../src/streamwarden/web/js/cameras/filter.js";
import { nextDue } from "../../src/streamwarden/web/js/cameras/snapshots.js";

const NOW = 10_000_000;
const card = (id, state, picture = "blob:x") => ({ camera: { id }, picture, status: { status: state, last_segment: {} } });
const due = (cards, asked = {}) => nextDue(cards, new Map(Object.entries(asked)), NOW)?.camera.id ?? null;

test("a snapshot is due of what records and has none yet, the oldest first", () => {
  const cards = [card("a", "running"), card("b", "running"), card("c", "stopped", "")];
  assert.equal(due(cards, { a: 300, b: 200, c: 400 }), "b");
});

test("a snapshot of what does not record stays as it is", () => {
  assert.equal(due([card("a", "stopped")]), null);
  assert.equal(due([{ ...card("a", "running"), status: { status: "running", last_segment: null } }]), null);
  assert.equal(due([{ ...card("a", "running"), status: null }]), null);
});

test("snapshots are the rarer the more cameras are in view", () => {
  assert.equal(due([card("a", "running")], { a: NOW - 46_000 }), "a");
  assert.equal(due([card("a", "running"), card("b", "stopped")], { a: NOW - 46_000 }), null);
  assert.equal(due([card("a", "running", "")], { a: NOW - 9_000 }), "a");
  assert.equal(due([card("a", "running", "")], { a: NOW - 8_999 }), null);
});

test("the filter takes name, path, owner and id, in any case, without blanks around it", () => {
  const camera = { id: "7f-1", name: "Front DOOR", path: "cam/7", owner: "Ana" };
  assert.deepEqual([" door ", "CAM/", "ana", "7F", "", "  "].map((typed) => matches(camera, typed)), Array(6).fill(true));
  assert.equal(matches(camera, "yard"), false);
});
