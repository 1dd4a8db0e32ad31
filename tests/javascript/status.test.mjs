import assert from "node:assert/strict";
import test from "node:test";
import "./browser.mjs";
import { advice, canStart, causeName, isMoving, lastSegment, nextTry, stateName, why } from "../../src/streamwarden/web/js/cameras/status.js";
import { serverNow } from "../../src/streamwarden/web/js/clock.js";

const STATES = ["starting", "running", "stalled", "backoff", "stopping", "stopped", "parked"];
const status = (state, more = {}) => ({ status: state, last_error: null, last_segment: null, next_retry_at: null, ...more });
const failed = (cause) => ({ last_error: { cause, message: "x", at: "2026-01-01T00:00:00Z" } });

test("Start has an effect while stopped or stopping, or before anything is known", () => {
  assert.deepEqual(STATES.filter((state) => canStart(status(state))), ["stopping", "stopped"]);
  assert.equal(canStart(null), true);
});

test("states that are about to change are asked about more often", () => {
  assert.deepEqual(STATES.filter((state) => isMoving(status(state))), ["starting", "stalled", "stopping"]);
});

test("states and causes newer than the page are shown as they are", () => {
  assert.equal(stateName("dreaming"), "dreaming");
  assert.equal(causeName("moonlight"), "moonlight");
});

test("only where there is no picture is it explained", () => {
  assert.deepEqual(STATES.filter((state) => why(status(state, failed("disk_full"))) === causeName("disk_full")), ["stalled", "backoff"]);
  assert.equal(why(status("running", failed("disk_full"))), "");
  assert.equal(why(status("parked", failed("disk_full"))), "The recorder failed too often");
  assert.ok(why(status("starting", failed("disk_full"))).includes(causeName("disk_full")));
});

test("a stall explains itself", () => {
  assert.equal(why(status("stalled")), causeName("stalled"));
  assert.ok(advice(status("stalled")).startsWith("Check the camera"));
  const told = { ...status("backoff", failed("source_offline")), source_trouble: "login_wrong" };
  assert.ok(/user name or password/.test(advice(told)));
  assert.equal(advice({ ...told, status: "running" }), "");
  assert.ok(/power and network/.test(advice({ ...told, source_trouble: "something new" })));
  assert.equal(advice(status("running", failed("disk_full"))), "");
});

test("the next try is counted down to the last second, and then is now", () => {
  const due = (ms) => nextTry(status("backoff", { next_retry_at: new Date(serverNow() + ms).toISOString() }));
  assert.ok(due(4_900).includes("5 s"));
  assert.equal(due(-10), "trying now");
  assert.equal(nextTry(status("running", { next_retry_at: "2026-01-01T00:00:00Z" })), "");
});

test("without a segment there is no moment", () => {
  assert.equal(lastSegment(status("running")).moment, null);
});
