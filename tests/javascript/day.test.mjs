import assert from "node:assert/strict";
import test from "node:test";
import "./browser.mjs";
import { Day, dayAfter, dayStart, firstAfter } from "../../src/streamwarden/web/js/recordings/day.js";

const HOUR = 3_600_000;
const START = Date.parse("2026-01-05T00:00:00+01:00");
const after = (hours) => new Date(START + hours * HOUR).toISOString();

function dayOf(items) {
  const day = new Day("camera", START);
  for (const item of items) day.take(item, day.gaps);
  return day;
}

/** Let each call be answered with `items`; return the queries that were sent. */
async function answered(items, extend) {
  const before = globalThis.fetch;
  const queries = [];
  globalThis.fetch = async (address) => {
    queries.push(new URL(address, "http://warden.example").searchParams);
    return Response.json({ items, next_cursor: null });
  };
  try {
    await extend(new AbortController().signal);
  } finally {
    globalThis.fetch = before;
  }
  return queries;
}

const segment = (id, from, to) => ({ kind: "segment", id, started_at: after(from), ended_at: after(to), bytes: 1, run: 1, salvaged: false });
const gap = (from, to) => ({ kind: "gap", started_at: after(from), ended_at: to === null ? null : after(to), cause: "stalled" });

test("a day begins at local midnight", () => {
  assert.equal(dayStart(Date.parse("2026-01-05T23:59:59+01:00")), START);
  assert.equal(dayStart(START), START);
});

test("a day has 23 or 25 hours when summer time begins or ends", () => {
  const hours = (date) => (dayAfter(Date.parse(`${date}:00`), 1) - Date.parse(`${date}:00`)) / HOUR;
  assert.deepEqual(["2026-03-29T00:00", "2026-10-25T00:00", "2026-01-05T00:00"].map(hours), [23, 25, 24]);
});

test("the day before is found over a change of the month", () => {
  assert.equal(dayAfter(Date.parse("2026-03-01T00:00:00+01:00"), -1), Date.parse("2026-02-28T00:00:00+01:00"));
});

test("the first index after a moment is found among equal starts", () => {
  const items = [1, 3, 3, 5].map((start) => ({ start }));
  assert.deepEqual([0, 1, 3, 4, 5].map((moment) => firstAfter(items, moment)), [0, 1, 3, 3, 4]);
  assert.equal(firstAfter([], 1), 0);
});

test("a segment that comes twice is kept once", () => {
  assert.equal(dayOf([segment("a", 1, 2), segment("a", 1, 2), segment("b", 2, 3)]).segments.length, 2);
});

test("the segment at a moment, else the next one, else none", () => {
  const day = dayOf([segment("a", 1, 2), segment("b", 3, 4)]);
  const found = (hours) => day.segmentFrom(START + hours * HOUR)?.id ?? null;
  assert.deepEqual([0, 1, 1.5, 2, 3.5, 4].map(found), ["a", "a", "a", "b", "b", null]);
});

test("between two segments there is none", () => {
  const day = dayOf([segment("a", 1, 2), segment("b", 3, 4)]);
  assert.equal(day.segmentAt(START + 2.5 * HOUR), null);
  assert.equal(day.segmentAt(START + 3 * HOUR)?.id, "b");
});

test("a gap holds its start and not its end; an open one holds now", () => {
  const day = dayOf([gap(1, 2), gap(5, null)]);
  const found = (hours) => day.gapAt(START + hours * HOUR)?.start ?? null;
  assert.deepEqual([0.9, 1, 2, 6].map(found), [null, START + HOUR, null, START + 5 * HOUR]);
});

test("what two segments both hold is counted once", () => {
  assert.equal(dayOf([segment("a", 1, 3), segment("b", 2, 4)]).sums().recorded, 3 * 3_600);
});

test("only what lies within the day is counted", () => {
  const sums = dayOf([segment("a", -1, 1), gap(1, 2), gap(23, 30)]).sums();
  assert.deepEqual(sums, { recorded: 3_600, missing: 2 * 3_600 });
});

test("an extended day keeps the gaps that had ended and closes the open one", async () => {
  const day = dayOf([segment("a", 1, 2), gap(2, 3), segment("b", 3, 4), gap(4, null)]);
  await answered([gap(4, 5), segment("c", 5, 6)], (signal) => day.extend(signal));
  const hours = (moment) => (moment - START) / HOUR;
  assert.deepEqual(day.gaps.map(({ start, end }) => [hours(start), hours(end)]), [[2, 3], [4, 5]]);
  assert.deepEqual(day.segments.map(({ id }) => id), ["a", "b", "c"]);
});

test("a day is extended from two minutes before the end of its last segment", async () => {
  const day = dayOf([segment("a", 1, 2)]);
  const [query] = await answered([], (signal) => day.extend(signal));
  assert.equal(Date.parse(query.get("from")), START + 2 * HOUR - 120_000);
});
