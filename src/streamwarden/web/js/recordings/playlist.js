// A playlist: the time to ask one for, and what the player itself does not tell of it: which moment each
// second of it shows.

import { SEAM_MS } from "./day.js";

const LONGEST_MS = 30 * 60_000;
const MOST_SEGMENTS = 240;

/** @typedef {{id: string, start: number, duration: number, at: number}} Part times in ms, `duration` and `at` in s */

/**
 * The time to ask a playlist for: from a segment on, whole segments, as many as one playlist takes.
 * @param {{start: number, end: number}[]} segments in time order @param {{start: number, end: number}} first
 */
export function playlistSpan(segments, first) {
  const index = segments.indexOf(first);
  let last = first;
  for (const one of segments.slice(index, index + MOST_SEGMENTS)) {
    if (one.end - first.start > LONGEST_MS && one !== first) break;
    last = one;
  }
  // Inside the first and the last one, so that no neighbour that only touches comes along.
  return { from: first.start + 1, to: Math.max(last.end - 1, first.start + 2) };
}

/**
 * @param {string} text of a media playlist whose parts all have a date
 * @returns {Part[]}
 */
export function readPlaylist(text) {
  const parts = [];
  let start = 0;
  let duration = 0;
  let at = 0;
  for (const line of text.split("\n")) {
    if (line.startsWith("#EXT-X-PROGRAM-DATE-TIME:")) start = Date.parse(line.slice(25));
    else if (line.startsWith("#EXTINF:")) duration = parseFloat(line.slice(8));
    else if (line && !line.startsWith("#")) {
      parts.push({ id: line.split("?")[0].replace(/\.mp4$/, ""), start, duration, at });
      at += duration;
    }
  }
  return parts;
}

/**
 * Whether the files of a playlist have different tracks, such as sound in some only: their headers are then
 * of different lengths.
 * @param {string} text
 */
export function isMixed(text) {
  return new Set(text.match(/^#EXT-X-MAP:.*BYTERANGE="\d+/gm)?.map((line) => line.replace(/.*"/, ""))).size > 1;
}

/** The part that is shown at `time` seconds. @param {Part[]} parts @param {number} time */
export function partAt(parts, time) {
  let low = 0;
  let high = parts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (parts[middle].at <= time) low = middle;
    else high = middle - 1;
  }
  return parts[low];
}

/** The moment that is shown at `time` seconds. @param {Part[]} parts @param {number} time */
export function momentAt(parts, time) {
  const part = partAt(parts, time);
  return part.start + Math.min(Math.max(time - part.at, 0), part.duration) * 1000;
}

/**
 * At how many seconds `moment` is shown; between two parts, where the later begins.
 * @param {Part[]} parts @param {number} moment
 */
export function timeOf(parts, moment) {
  for (const part of parts) {
    if (moment < part.start) return part.at;
    const into = (moment - part.start) / 1000;
    if (into < part.duration) return part.at + into;
  }
  const last = parts[parts.length - 1];
  return last.at + Math.max(0, last.duration - 0.1);
}

/**
 * The times without a recording between two parts, where playing went on from one to the other.
 * @param {Part[]} parts @param {Part} before @param {Part} after
 * @returns {{from: number, to: number}[]}
 */
export function skippedBetween(parts, before, after) {
  const skipped = [];
  for (let index = parts.indexOf(before) + 1; index > 0 && index <= parts.indexOf(after); index += 1) {
    const { start, duration } = parts[index - 1];
    const from = start + duration * 1000;
    const to = parts[index].start;
    if (to - from > SEAM_MS) skipped.push({ from, to });
  }
  return skipped;
}
