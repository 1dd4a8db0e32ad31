import assert from "node:assert/strict";
import test from "node:test";
import "./browser.mjs";
import { clockError, dayAndTime, duration, isTimeKnown, learnServerTime, relative, serverNow, size, timeOfDay } from "../../src/streamwarden/web/js/clock.js";

const SECOND = 1_000;
const in_ = (seconds) => relative(new Date(serverNow() + seconds * SECOND));

test("a length has its two largest units", () => {
  assert.deepEqual([0, 8, 60, 200, 7_500, 90_061].map(duration), ["0 s", "8 s", "1 min", "3 min 20 s", "2 h 5 min", "1 d 1 h"]);
});

test("a length of less than half a second is not nothing", () => {
  assert.equal(duration(0.2), "<1 s");
});

test("a time of day has its offset where the day has two", () => {
  const times = ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-24T12:00:00Z"].map((text) => new Date(text));
  assert.deepEqual(times.map(timeOfDay), ["02:30:00 UTC+02:00", "02:30:00 UTC+01:00", "14:00:00"]);
  assert.match(dayAndTime(times[1]), /02:30:00 UTC\+01:00$/);
});

test("a size has three digits at least where it can", () => {
  const sizes = [0, 0.5, 999, 1_000, 812_000, 1_440_000_000, 5e18];
  assert.deepEqual(sizes.map(size), ["0 B", "1 B", "999 B", "1.0 kB", "812 kB", "1.4 GB", "5000 PB"]);
});

test("a moment is told from now on, in the unit of its size", () => {
  assert.deepEqual([-12, -200, -7_200, -200_000].map(in_), ["12 s ago", "3 min ago", "2 h ago", "2 d ago"]);
  assert.deepEqual([12, 180, 86_400].map(in_), ["in 12 s", "in 3 min", "in 24 h"]);
});

test("what is no date tells no time", () => {
  learnServerTime(null, Date.now());
  learnServerTime("yesterday", Date.now());
  assert.equal(isTimeKnown(), false);
  assert.equal(clockError(), 0);
});

/** Take over a server's time that is so far ahead of this clock. */
function learnAhead(ms) {
  const now = Date.now();
  learnServerTime(new Date(now + ms).toISOString(), now);
}

const isAhead = (ms) => Math.abs(serverNow() - Date.now() - ms) < 500;

test("the server's time is taken over, and the clock's error is told", () => {
  learnAhead(3_600 * SECOND);
  assert.equal(isTimeKnown(), true);
  assert.ok(isAhead(3_600_500)); // its header has whole seconds: half a one more is likeliest
  assert.ok(Math.abs(clockError() + 3_600) < 5);
});

test("what a header's whole second explains is no news, more is", () => {
  learnAhead(7_200 * SECOND);
  learnAhead(7_201 * SECOND);
  assert.ok(isAhead(7_200_500));
  learnAhead(7_203 * SECOND);
  assert.ok(isAhead(7_203_500));
});

test("a clock that is off by less than anybody notices is not told of", () => {
  learnAhead(20 * SECOND);
  assert.ok(isAhead(20_500));
  assert.equal(clockError(), 0);
});
