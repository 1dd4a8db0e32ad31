import assert from "node:assert/strict";
import test from "node:test";
import "./browser.mjs";
import { merged, tickSteps } from "../../src/streamwarden/web/js/recordings/drawing.js";

const HOUR = 3_600_000;
const SEGMENTS_A_DAY = 2_880;

function blocks(segments, view, pixelMs) {
  return [...merged(segments, view, pixelMs)];
}

test("a day of 30 s segments is drawn as a few blocks", () => {
  const segments = Array.from({ length: SEGMENTS_A_DAY }, (_, i) => i)
    .filter((i) => i % 500 > 20)
    .map((i) => ({ start: i * 30_000, end: (i + 1) * 30_000 }));
  const view = { from: 0, to: SEGMENTS_A_DAY * 30_000 };
  assert.equal(blocks(segments, view, view.to / 1_200).length, 6); // one between each two of the holes
});

test("a gap of less than half a pixel is not drawn, a wider one is", () => {
  const segments = [{ start: 0, end: 1_000 }, { start: 1_900, end: 3_000 }];
  const view = { from: 0, to: 3_000 };
  assert.deepEqual(blocks(segments, view, 2_000), [[0, 3_000]]);
  assert.deepEqual(blocks(segments, view, 1_000), [[0, 1_000], [1_900, 3_000]]);
});

test("however close the view is, a seam of a quarter of a second is not drawn", () => {
  const segments = [{ start: 0, end: 1_000 }, { start: 1_250, end: 2_000 }];
  assert.deepEqual(blocks(segments, { from: 0, to: 2_000 }, 1), [[0, 2_000]]);
});

test("only what reaches into the view is drawn", () => {
  const segments = Array.from({ length: 24 }, (_, hour) => ({ start: hour * HOUR, end: hour * HOUR + HOUR / 2 }));
  const drawn = blocks(segments, { from: 10.25 * HOUR, to: 12 * HOUR }, 1_000);
  assert.ok(drawn.some(([from]) => from === 10 * HOUR)); // has begun before
  assert.ok(drawn.every(([from, to]) => from < 12 * HOUR && to > 8 * HOUR));
});

test("a segment within another does not end the block", () => {
  const segments = [{ start: 0, end: 10_000 }, { start: 2_000, end: 3_000 }, { start: 10_000, end: 11_000 }];
  assert.deepEqual(blocks(segments, { from: 0, to: 20_000 }, 10), [[0, 11_000]]);
});

test("nothing recorded is no block", () => {
  assert.deepEqual(blocks([], { from: 0, to: HOUR }, 1_000), []);
});

test("ticks are as far apart as their labels need", () => {
  const view = { from: 0, to: 24 * HOUR };
  assert.deepEqual([1_200, 390].map((width) => tickSteps(view, width).step), [2 * HOUR, 6 * HOUR]);
  assert.equal(tickSteps({ from: 0, to: 60_000 }, 1_200).step, 5_000);
  assert.equal(tickSteps(view, 10).step, 6 * HOUR);
});

test("ticks fall on whole steps of local time", () => {
  const from = Date.parse("2026-07-01T07:20:00+02:00");
  const { times, step } = tickSteps({ from, to: from + 24 * HOUR }, 390);
  assert.equal(step, 6 * HOUR);
  assert.equal(new Date(times[0]).getHours(), 12);
});

/** The local hours of the ticks of a day that begins so. */
function hoursOf(begin, length, width) {
  const from = Date.parse(begin);
  return tickSteps({ from, to: from + length * HOUR }, width).times.map((at) => new Date(at).getHours());
}

test("ticks of a day of 25 hours fall on the same hours as on any other", () => {
  const [begin, length] = ["2026-10-25T00:00:00+02:00", 25];
  assert.deepEqual(hoursOf(begin, length, 1_200), [0, 2, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 0]);
  assert.deepEqual(hoursOf(begin, length, 390), [0, 6, 12, 18, 0]);
});

test("ticks of a day of 23 hours fall on the same hours as on any other", () => {
  const [begin, length] = ["2026-03-29T00:00:00+01:00", 23];
  assert.deepEqual(hoursOf(begin, length, 1_200), [0, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 0]);
  assert.deepEqual(hoursOf(begin, length, 390), [0, 6, 12, 18, 0]);
});
