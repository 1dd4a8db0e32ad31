import assert from "node:assert/strict";
import test from "node:test";
import "./browser.mjs";
import { dateStart, dateValue, timeMoments, timeValue } from "../../src/streamwarden/web/js/recordings/fields.js";
import { segmentFileName } from "../../src/streamwarden/web/js/recordings/names.js";

const LATE = Date.parse("2026-07-09T22:30:05Z"); // half past midnight in Berlin, the day after

test("a date field has the local day", () => {
  assert.equal(dateValue(LATE), "2026-07-10");
});

test("a day of a date field begins at local midnight", () => {
  assert.equal(dateStart("2026-07-10"), Date.parse("2026-07-09T22:00:00Z"));
  assert.equal(dateStart("2026-01-10"), Date.parse("2026-01-09T23:00:00Z"));
});

test("an empty field is no moment", () => {
  assert.ok(Number.isNaN(dateStart("")));
  assert.deepEqual(timeMoments(""), []);
});

test("a time field has local time to the second, and gives the moment back", () => {
  assert.equal(timeValue(LATE), "2026-07-10T00:30:05");
  assert.deepEqual(timeMoments(timeValue(LATE)), [LATE]);
});

test("a time over which clocks go back is two moments, one without seconds too", () => {
  const both = [Date.parse("2026-10-25T00:30:00Z"), Date.parse("2026-10-25T01:30:00Z")];
  assert.deepEqual(timeMoments("2026-10-25T02:30:00"), both);
  assert.deepEqual(timeMoments("2026-10-25T02:30"), both);
  assert.deepEqual(both.map(timeValue), ["2026-10-25T02:30:00", "2026-10-25T02:30:00"]);
  assert.equal(timeMoments("2026-10-25T03:00:00").length, 1);
  assert.equal(timeMoments("2026-10-25T01:59:59").length, 1);
});

test("a time that clocks skip is one moment", () => {
  assert.deepEqual(timeMoments("2026-03-29T02:30:00"), [Date.parse("2026-03-29T01:30:00Z")]);
});

test("a file's name has the camera and UTC", () => {
  assert.equal(segmentFileName("Front door", LATE), "Front-door-20260709T223005Z.mp4");
});

test("what no file system takes is not in a file's name", () => {
  const name = (camera) => segmentFileName(camera, LATE).replace(/-2026.*/, "");
  assert.equal(name('../a\\b:c*"<>|%\u202e\n d'), "a-b-c-d");
  assert.equal(name("門口"), "門口");
  assert.equal(name("..."), "camera");
  assert.equal(name("x".repeat(200)).length, 60);
});
