import assert from "node:assert/strict";
import test from "node:test";
import { CLOSEST_MS, centred, viewWithin, zoomed } from "../../src/streamwarden/web/js/recordings/view.js";

const DAY = { start: 0, end: 86_400_000 };
const ALL = { from: 0, to: 86_400_000 };

test("a view lies within its day", () => {
  assert.deepEqual(viewWithin(DAY, -5, 1_000), { from: 0, to: 1_000 });
  assert.deepEqual(viewWithin(DAY, DAY.end, 1_000), { from: DAY.end - 1_000, to: DAY.end });
});

test("zooming keeps what is under the pointer where it was", () => {
  const around = DAY.end / 4;
  assert.deepEqual(zoomed(DAY, ALL, 0.5, around), { from: DAY.end / 8, to: (DAY.end * 5) / 8 });
});

test("nobody zooms in closer than a minute, or out beyond the day", () => {
  const close = zoomed(DAY, { from: 0, to: 70_000 }, 0.1, 35_000);
  assert.equal(close.to - close.from, CLOSEST_MS);
  assert.deepEqual(zoomed(DAY, { from: 1_000, to: DAY.end - 1_000 }, 2, 5_000), ALL);
});

test("zooming around a moment beyond the view goes to its end", () => {
  assert.equal(zoomed(DAY, { from: 0, to: 1_000_000 }, 0.5, 2_000_000).to, 2_000_000);
});

test("a moment out of view is brought to its middle, the length stays", () => {
  assert.deepEqual(centred(DAY, { from: 0, to: 200_000 }, 500_000), { from: 400_000, to: 600_000 });
});
