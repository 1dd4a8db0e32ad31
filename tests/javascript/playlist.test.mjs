import assert from "node:assert/strict";
import test from "node:test";
import "./browser.mjs";
import { isMixed, momentAt, partAt, playlistSpan, readPlaylist, skippedBetween, timeOf } from "../../src/streamwarden/web/js/recordings/playlist.js";

const MINUTE = 60_000;
const ZERO = Date.parse("2026-01-01T00:00:00Z");

function part(at, length, id) {
  return [`#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:${at}Z`, `#EXTINF:${length},`, `${id}.mp4?token=t`];
}

/** Two parts that touch, then one after a gap of 40 s. */
const PARTS = readPlaylist(
  ["#EXTM3U", ...part("00:00.000", "10.000", "a"), ...part("00:10.000", "10.000", "b"), ...part("01:00.000", "5.500", "c"), ""].join("\n"),
);

test("a part has its segment's id, its moment, and its place in the playlist", () => {
  assert.deepEqual(PARTS[2], { id: "c", start: ZERO + MINUTE, duration: 5.5, at: 20 });
});

test("the part that is shown is the last one that has begun", () => {
  assert.deepEqual([-1, 0, 9.9, 10, 12, 21, 99].map((time) => partAt(PARTS, time).id), ["a", "a", "a", "b", "b", "c", "c"]);
});

test("a moment in the picture is the moment on the clock, over a gap too", () => {
  assert.deepEqual([0, 12, 21].map((time) => momentAt(PARTS, time) - ZERO), [0, 12_000, 61_000]);
});

test("before and beyond what there is the clock stays at its ends", () => {
  assert.deepEqual([-5, 99].map((time) => momentAt(PARTS, time) - ZERO), [0, 65_500]);
});

test("a moment on the clock is found in the picture", () => {
  assert.deepEqual([0, 12_000, 61_000].map((after) => timeOf(PARTS, ZERO + after)), [0, 12, 21]);
});

test("a moment in a gap is where the next part begins", () => {
  assert.equal(timeOf(PARTS, ZERO + 30_000), 20);
});

test("a moment after the last part is just before its end", () => {
  assert.equal(timeOf(PARTS, ZERO + 15 * MINUTE), 25.4);
});

test("the gap between two parts was skipped, a seam was not", () => {
  const [a, b, c] = PARTS;
  assert.deepEqual(skippedBetween(PARTS, b, c), [{ from: ZERO + 20_000, to: ZERO + MINUTE }]);
  assert.deepEqual(skippedBetween(PARTS, a, b), []);
});

test("a gap is told of also when a short part in between came and went unseen", () => {
  const [a, , c] = PARTS;
  assert.equal(skippedBetween(PARTS, a, c).length, 1);
});

test("nothing was skipped backwards, or from a part of another playlist", () => {
  const [a, b, c] = PARTS;
  assert.deepEqual(skippedBetween(PARTS, c, b), []);
  assert.deepEqual(skippedBetween(PARTS, { ...a }, c), []);
});

function segments(count, lengthMs) {
  return Array.from({ length: count }, (_, index) => ({ start: index * lengthMs, end: (index + 1) * lengthMs }));
}

test("a playlist is asked for whole segments of half an hour together", () => {
  const all = segments(100, MINUTE);
  assert.deepEqual(playlistSpan(all, all[10]), { from: 10 * MINUTE + 1, to: 40 * MINUTE - 1 });
});

test("a playlist is asked for no more than 240 segments", () => {
  const all = segments(1_000, 2_000);
  assert.equal(playlistSpan(all, all[0]).to, 240 * 2_000 - 1);
});

test("a segment longer than half an hour is a playlist alone", () => {
  const all = segments(3, 60 * MINUTE);
  assert.deepEqual(playlistSpan(all, all[1]), { from: 60 * MINUTE + 1, to: 120 * MINUTE - 1 });
});

test("the time of an empty segment is not empty", () => {
  const all = [{ start: 5, end: 5 }];
  assert.deepEqual(playlistSpan(all, all[0]), { from: 6, to: 7 });
});

test("files with headers of different lengths have different tracks", () => {
  const file = (init, name) => [`#EXT-X-MAP:URI="${name}.mp4?token=BYTERANGE1",BYTERANGE="${init}@0"`, "#EXTINF:2,", `${name}.mp4`];
  const playlist = (...inits) => ["#EXTM3U", ...inits.flatMap((init, at) => file(init, `f${at}`)), ""].join("\n");
  assert.deepEqual([playlist(), playlist(800), playlist(800, 800), playlist(800, 1200, 800)].map(isMixed), [false, false, false, true]);
});
