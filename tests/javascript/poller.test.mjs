import assert from "node:assert/strict";
import test from "node:test";
import { StatusPoller, TICK_MS } from "../../src/streamwarden/web/js/cameras/poller.js";

const NOW = 10_000_000;

/** A poller that watches cameras, each asked about so long ago; those of `hurried` are waited for. */
function poller(askedAgoMs, hurried = []) {
  const made = new StatusPoller({ ask: async () => null, answered() {}, failed: () => false });
  askedAgoMs.forEach((ago, id) => made.watched.set(String(id), {
    askedAt: ago === null ? 0 : NOW - ago, hurryUntil: hurried.includes(id) ? NOW + 1_000 : 0, asking: false,
  }));
  return made;
}

const chosen = (made, hidden = false) => made.chosen(NOW, hidden).map(([id]) => id);

test("one status a tick, of the camera that was not asked about for longest", () => {
  assert.deepEqual(chosen(poller([5_000, 9_000, 7_000])), ["1"]);
});

test("a fresh status is not asked for again", () => {
  assert.deepEqual(chosen(poller([3_000, 100])), []);
});

test("what was never asked comes first, six at once", () => {
  assert.deepEqual(chosen(poller([5_000, ...Array(9).fill(null)])), ["1", "2", "3", "4", "5", "6"]);
});

test("what is waited for is asked about each tick, four at most", () => {
  assert.deepEqual(chosen(poller([9_000, TICK_MS], [1])), ["1"]);
  assert.equal(chosen(poller(Array(9).fill(TICK_MS), [0, 1, 2, 3, 4, 5])).length, 4);
});

test("nobody waits while the page is hidden", () => {
  assert.deepEqual(chosen(poller([9_000, TICK_MS], [1]), true), ["0"]);
});

test("a camera is not asked about while the last answer is outstanding", () => {
  const made = poller([9_000]);
  made.watched.get("0").asking = true;
  assert.deepEqual(chosen(made), []);
});

test("unanswered requests count among those at once", () => {
  const made = poller(Array(9).fill(null));
  made.inFlight = 4;
  assert.equal(chosen(made).length, 2);
  made.inFlight = 9;
  assert.equal(chosen(made).length, 0);
});

test("one request at a time while everything fails", () => {
  const made = poller(Array(9).fill(null));
  made.slower = 2;
  assert.equal(chosen(made).length, 1);
});

test("a camera that is waited for stays watched out of view", () => {
  const made = poller([]);
  made.hurry("a");
  made.unwatch("a");
  assert.equal(made.watched.has("a"), true);
  made.settle("a");
  made.unwatch("a");
  assert.equal(made.watched.has("a"), false);
});
