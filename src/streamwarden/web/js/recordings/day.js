// One day of a camera: its segments and gaps in time order, page by page, and what comes in later.

import { call, cameraPath } from "../api.js";
import { serverNow } from "../clock.js";

const PAGE_SIZE = 1_000;
/** Segments whose ends are less than this apart follow each other without a gap. */
export const SEAM_MS = 1_000;

/** @typedef {{id: string, start: number, end: number, bytes: number, run: number, salvaged: boolean}} Segment */
/** @typedef {{start: number, end: number|null, cause: string}} Gap */

/** Local midnight of the day that holds `moment`. @param {number} moment */
export function dayStart(moment) {
  const day = new Date(moment);
  day.setHours(0, 0, 0, 0);
  return day.getTime();
}

/** Local midnight `days` later: a day can have 23 or 25 hours. @param {number} start @param {number} days */
export function dayAfter(start, days) {
  const day = new Date(start);
  day.setDate(day.getDate() + days);
  return day.getTime();
}

export class Day {
  /** @param {string} cameraId @param {number} start local midnight */
  constructor(cameraId, start) {
    this.cameraId = cameraId;
    this.start = start;
    this.end = dayAfter(start, 1);
    /** @type {Segment[]} */
    this.segments = [];
    /** @type {Gap[]} */
    this.gaps = [];
    this.known = new Set();
  }

  isToday() {
    return serverNow() < this.end;
  }

  /** @param {AbortSignal} signal @param {() => void} arrived after each page */
  async load(signal, arrived) {
    await this.fetch(this.start, signal, arrived);
  }

  /** Ask for what has been recorded since. @param {AbortSignal} signal */
  async extend(signal) {
    const last = this.segments.at(-1);
    // An open gap may have ended, and a torn tail is found a little later: from a bit before the end.
    await this.fetch(Math.max(this.start, (last?.end ?? this.start) - 120_000), signal, () => {});
  }

  /** @param {number} from @param {AbortSignal} signal @param {() => void} arrived */
  async fetch(from, signal, arrived) {
    const to = Math.min(this.end, serverNow() + 1_000);
    if (from >= to) return;
    /** @type {string|null} */
    let cursor = null;
    const gaps = this.gaps.filter((gap) => gap.end !== null && gap.end <= from);
    do {
      const query = { from: iso(from), to: iso(to), limit: PAGE_SIZE, cursor };
      const page = await call("GET", `${cameraPath(this.cameraId)}/recordings`, { query, signal });
      for (const item of page.items) this.take(item, gaps);
      this.gaps = gaps;
      cursor = page.next_cursor;
      arrived();
    } while (cursor);
    this.segments.sort((a, b) => a.start - b.start);
  }

  /** @param {any} item @param {Gap[]} gaps */
  take(item, gaps) {
    const start = Date.parse(item.started_at);
    if (item.kind === "gap") {
      gaps.push({ start, end: item.ended_at ? Date.parse(item.ended_at) : null, cause: item.cause });
    } else if (!this.known.has(item.id)) {
      this.known.add(item.id);
      this.segments.push({ id: item.id, start, end: Date.parse(item.ended_at), bytes: item.bytes, run: item.run, salvaged: item.salvaged });
    }
  }

  /** The segment at a moment, else the next one after it, else null. @param {number} moment */
  segmentFrom(moment) {
    const index = firstAfter(this.segments, moment);
    const before = this.segments[index - 1];
    if (before && before.end > moment) return before;
    return this.segments[index] ?? null;
  }

  /** @param {number} moment @returns {Segment|null} */
  segmentAt(moment) {
    const found = this.segmentFrom(moment);
    return found && found.start <= moment ? found : null;
  }

  /** @param {number} moment @returns {Gap|null} */
  gapAt(moment) {
    return this.gaps.find((gap) => gap.start <= moment && (gap.end ?? serverNow()) > moment) ?? null;
  }

  /** Seconds recorded and seconds missing within the day. */
  sums() {
    const now = serverNow();
    const inside = (/** @type {number} */ a, /** @type {number} */ b) => Math.max(0, Math.min(b, this.end) - Math.max(a, this.start)) / 1000;
    let until = 0;
    let recorded = 0;
    for (const one of this.segments) {
      recorded += inside(Math.max(one.start, until), one.end);
      until = Math.max(until, one.end);
    }
    return { recorded, missing: this.gaps.reduce((sum, gap) => sum + inside(gap.start, gap.end ?? now), 0) };
  }
}

/**
 * The first index whose start is after `moment` (binary search).
 * @param {{start: number}[]} items @param {number} moment
 */
export function firstAfter(items, moment) {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (items[middle].start <= moment) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** @param {number} moment */
export const iso = (moment) => new Date(moment).toISOString();
