// A playlist read for what the player itself does not tell: which moment each second of it shows.

/** @typedef {{id: string, start: number, duration: number, at: number}} Part times in ms, `duration` and `at` in s */

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
