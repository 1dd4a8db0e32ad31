// Plays from a moment on, through segments and over gaps. Half an hour is one playlist, or less where the
// camera's tracks change: no browser plays over every change. At its end the next one follows.

import { Problem, bffPath, call, cameraPath } from "../api.js";
import { playHls, unplayableFormat } from "../camera/hls.js";
import { currentUser } from "../session.js";
import { SEAM_MS, iso } from "./day.js";
import { isMixed, momentAt, partAt, playlistSpan, readPlaylist, skippedBetween, timeOf } from "./playlist.js";

const TOKEN_TTL_S = 3_600;
const TRIES = 3;
const FRAME_S = 1 / 25;
const DROPPED = 2.5;
const WATCH_EVERY_MS = 250;
const STANDSTILL_MS = 1_500;
const NEAR_SEAM_S = 1;
const GIVE_UP_MS = 20_000;

/**
 * @typedef {{day: () => import("./day.js").Day, moved: (moment: number) => void,
 *   skipped: (from: number, to: number) => void, ended: (moment: number) => void,
 *   failed: (error: unknown) => void, changed: () => void}} Listener
 */

export class Player {
  /** @param {HTMLVideoElement} video @param {string} cameraId @param {Listener} listener */
  constructor(video, cameraId, listener) {
    this.video = video;
    this.cameraId = cameraId;
    this.listener = listener;
    /** @type {import("./playlist.js").Part[]} */
    this.parts = [];
    /** @type {import("./playlist.js").Part|null} */
    this.part = null;
    this.moment = 0;
    this.rate = 1;
    this.turn = 0;
    /** How often each part was loaded again; playing on does not make a part that fails a good one. @type {Map<string, number>} */
    this.tries = new Map();
    /** The shortest time between two frames that has been seen; longer ones were dropped frames. */
    this.frame = Infinity;
    /** The mean length of the frames that were decoded, shown or not. */
    this.decoded = Infinity;
    /** @type {import("../camera/hls.js").HlsPlayback|null} */
    this.playback = null;
    video.addEventListener("timeupdate", () => this.tick());
    video.addEventListener("seeked", () => this.tick());
    video.addEventListener("ended", () => this.goOn());
    for (const event of ["play", "pause", "playing", "waiting"]) video.addEventListener(event, () => listener.changed());
    this.stoodAt = -1;
    this.stoodForMs = 0;
    this.watching = setInterval(() => this.watchStandstill(), WATCH_EVERY_MS);
    this.measureFrames();
  }

  get paused() {
    return this.video.paused;
  }

  get loaded() {
    return this.parts.length > 0;
  }

  /** Whether there is something that can be played. */
  get ready() {
    return this.loaded || this.listener.day().segments.length > 0;
  }

  /** The id of the segment that is shown. */
  get segmentId() {
    return this.loaded ? partAt(this.parts, this.video.currentTime).id : null;
  }

  /** @param {number} moment @param {{play?: boolean}} [options] */
  async seek(moment, { play = !this.video.paused || !this.loaded } = {}) {
    const inside = this.parts.find((part) => moment >= part.start && moment < part.start + part.duration * 1000);
    this.tries.clear();
    if (inside && this.playback) {
      this.turn += 1;
      this.video.currentTime = timeOf(this.parts, moment);
      this.settle(moment, play);
      return;
    }
    await this.load(moment, play);
  }

  /** @param {number} moment @param {boolean} play */
  async load(moment, play) {
    const mine = ++this.turn;
    const first = this.listener.day().segmentFrom(moment);
    if (!first) {
      this.listener.ended(moment);
      return;
    }
    const start = Math.max(moment, first.start);
    try {
      const { url, parts, mixed } = await this.playlistFrom(first);
      if (mine !== this.turn) return;
      this.unload();
      this.frame = Infinity;
      this.decoded = Infinity;
      this.parts = parts;
      const startAt = timeOf(parts, start);
      const failed = (/** @type {string} */ detail) => mine === this.turn && this.retry(detail);
      this.playback = playHls(this.video, url, { failed, startAt, mixed });
      this.settle(momentAt(parts, startAt), play);
    } catch (error) {
      if (mine === this.turn) this.listener.failed(error);
    }
  }

  /** @param {number} moment @param {boolean} play */
  settle(moment, play) {
    this.moment = moment;
    this.part = null;
    this.video.playbackRate = this.rate;
    if (play) this.video.play().catch(() => this.listener.changed());
    else this.video.pause();
    this.listener.moved(moment);
  }

  /** @param {import("./day.js").Segment} first */
  async playlistFrom(first) {
    const { from, to } = playlistSpan(this.listener.day().segments, first);
    const token = await this.token(from, to);
    const base = `${bffPath(cameraPath(this.cameraId))}/recordings/playlist.m3u8`;
    const url = `${base}?${new URLSearchParams({ from: iso(from), to: iso(to), one_format: "true", token })}`;
    const answer = await fetch(url, { credentials: "omit", signal: AbortSignal.timeout(20_000) });
    if (!answer.ok) {
      const said = await answer.json().catch(() => ({}));
      throw new Problem({ status: answer.status, code: said.code ?? `http_${answer.status}`, detail: said.detail });
    }
    const text = await answer.text();
    return { url, parts: readPlaylist(text), mixed: isMixed(text) };
  }

  /** @param {number} from @param {number} to */
  async token(from, to) {
    const body = { from: iso(from), to: iso(to), ttl: TOKEN_TTL_S };
    const answer = await call("POST", `${cameraPath(this.cameraId)}/recordings/play_token`, { body });
    return answer.token;
  }

  tick() {
    if (!this.loaded || this.video.readyState < 1) return;
    const part = partAt(this.parts, this.video.currentTime);
    this.moment = momentAt(this.parts, this.video.currentTime);
    if (part !== this.part) this.tellSkipped(part);
    this.part = part;
    this.listener.moved(this.moment);
  }

  /**
   * Played on into `part`: time between it and what was shown before was not recorded. A short part
   * in between may have come and gone unseen; after a seek nothing was skipped.
   * @param {import("./playlist.js").Part} part
   */
  tellSkipped(part) {
    if (!this.part || this.video.seeking) return;
    for (const { from, to } of skippedBetween(this.parts, this.part, part)) this.listener.skipped(from, to);
  }

  /**
   * Chromium's own HLS stands still for ever at a seam that follows a part of a few frames, the torn
   * tail of a run: then the next part is opened on its own. Elsewhere a standstill is the network's.
   */
  watchStandstill() {
    const { currentTime, paused, ended, seeking } = this.video;
    const stands = this.loaded && !paused && !ended && !seeking && currentTime === this.stoodAt;
    this.stoodForMs = stands ? this.stoodForMs + WATCH_EVERY_MS : 0;
    this.stoodAt = currentTime;
    if (this.stoodForMs < STANDSTILL_MS) return;
    const part = partAt(this.parts, currentTime);
    const next = this.parts[this.parts.indexOf(part) + 1];
    if (next && part.at + part.duration - currentTime < NEAR_SEAM_S) {
      this.stoodForMs = 0;
      this.part = part;
      this.tellSkipped(next);
      this.load(next.start, true);
    } else if (this.stoodForMs >= GIVE_UP_MS) {
      this.stoodForMs = 0;
      this.retry("standstill");
    }
  }

  /** The playlist is at its end: what comes next may lie beyond a gap. */
  goOn() {
    if (!this.loaded) return;
    const last = this.parts[this.parts.length - 1];
    const end = last.start + last.duration * 1000;
    const next = this.listener.day().segments.find((one) => one.start >= end - SEAM_MS && one.id !== last.id);
    if (!next) {
      this.listener.ended(end);
      return;
    }
    if (next.start - end > SEAM_MS) this.listener.skipped(end, next.start);
    this.load(next.start, true);
  }

  /** A token may have ended, a file may have gone: load again from here. @param {string} detail */
  retry(detail) {
    const playing = !this.video.paused;
    if (!currentUser()) return;
    const format = unplayableFormat(detail);
    if (format) this.listener.failed(new Problem({ status: 0, code: "unplayable_format", detail: format }));
    else if (this.triedHere() <= TRIES) this.load(this.moment, playing || this.triedHere(0) === 1);
    else this.listener.failed(new Problem({ status: 0, code: "not_played", detail }));
  }

  /** How often what is shown was tried again, `more` included. */
  triedHere(more = 1) {
    const place = this.segmentId ?? "";
    const times = (this.tries.get(place) ?? 0) + more;
    this.tries.set(place, times);
    return times;
  }

  toggle() {
    if (!this.loaded) {
      const [first] = this.listener.day().segments;
      if (first) this.seek(first.start, { play: true });
      return;
    }
    if (this.video.paused) this.video.play().catch(() => {});
    else this.video.pause();
  }

  /** @param {1|-1} direction */
  step(direction) {
    if (!this.loaded) return;
    this.video.pause();
    this.video.currentTime = Math.max(0, this.video.currentTime + direction * this.frameLength());
  }

  /** @param {number} rate */
  setRate(rate) {
    this.rate = rate;
    this.video.playbackRate = rate;
  }

  /** How long a frame lasts, as far as that has been seen. */
  frameLength() {
    // Where this computer drops frames, each that is shown seems to last as long as several.
    const length = this.frame > DROPPED * this.decoded ? this.decoded : this.frame;
    return length < 1 ? length : FRAME_S;
  }

  /** Learn from what is shown, and from what was decoded, how long a frame lasts. */
  measureFrames() {
    let before = 0;
    let since = { time: Infinity, frames: 0 };
    const look = (/** @type {number} */ _now, /** @type {VideoFrameCallbackMetadata} */ frame) => {
      const frames = this.video.getVideoPlaybackQuality().totalVideoFrames;
      const length = frame.mediaTime - before;
      if (length <= 0 || length > 1) since = { time: frame.mediaTime, frames };
      const span = frame.mediaTime - since.time;
      if (span > 0.5 && frames > since.frames) this.decoded = span / (frames - since.frames);
      if (!this.video.paused && length > 0.005) this.frame = Math.min(this.frame, length);
      before = frame.mediaTime;
      this.video.requestVideoFrameCallback(look);
    };
    this.video.requestVideoFrameCallback?.(look);
  }

  unload() {
    this.playback?.close();
    this.playback = null;
    this.parts = [];
  }

  /** Forget what is loaded; another day may follow. */
  stop() {
    this.turn += 1;
    this.unload();
  }

  close() {
    clearInterval(this.watching);
    this.stop();
  }
}
