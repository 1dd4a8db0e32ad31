// Snapshots on the cards in view: which camera's is due, and one request at a time.

import { cameraPath, fetchBlob } from "../api.js";

const EVERY_MS = 45_000;
const TRIES_EVERY_MS = 8_000;
const MORE_FOR_EACH_MS = 1_000;
const WIDTH = 480;

/** @typedef {ReturnType<typeof import("./card.js").cameraCard>} Card */
/** @typedef {Pick<Card, "status"|"picture"> & {camera: {id: string}}} Pictured */

/**
 * The card whose snapshot is due and oldest; null while none is due.
 * @template {Pictured} T
 * @param {T[]} cards those in view @param {Map<string, number>} askedAt when each was last asked for, by id
 * @param {number} now
 * @returns {T|null}
 */
export function nextDue(cards, askedAt, now) {
  const at = (/** @type {Pictured} */ card) => askedAt.get(card.camera.id) ?? 0;
  const due = cards.filter((card) => now - at(card) >= pauseOf(card) + cards.length * MORE_FOR_EACH_MS);
  return due.sort((a, b) => at(a) - at(b))[0] ?? null;
}

/** Pause between two snapshots of a card in ms; Infinity where no new one is to be had. @param {Pictured} card */
function pauseOf({ status, picture }) {
  if (!status?.last_segment) return Infinity;
  if (!picture) return TRIES_EVERY_MS;
  return status.status === "running" ? EVERY_MS : Infinity;
}

/** Loader of the snapshots of a list: one request at a time. */
export class Snapshots {
  /** @param {import("./list.js").CardList} list */
  constructor(list) {
    this.list = list;
    /** @type {Map<string, number>} */
    this.askedAt = new Map();
    this.inFlight = false;
    this.closed = false;
  }

  /** One snapshot, if one is due and none is on its way. */
  async take() {
    if (this.inFlight || this.closed) return;
    const now = Date.now();
    const card = nextDue(this.list.inView(), this.askedAt, now);
    if (!card) return;
    const { id } = card.camera;
    this.inFlight = true;
    this.askedAt.set(id, now);
    try {
      const blob = await fetchBlob(`${cameraPath(id)}/snapshot.jpg`, { query: { width: WIDTH } });
      if (!this.closed && blob.type.startsWith("image/")) this.list.get(id)?.showPicture(blob);
    } catch {
      // No snapshot yet: the card shows that there is none, and the next turn tries again.
    } finally {
      this.inFlight = false;
    }
  }

  /** @param {string} id a camera that has changed: its snapshot is due at once */
  forget(id) {
    this.askedAt.delete(id);
  }

  close() {
    this.closed = true;
  }
}
