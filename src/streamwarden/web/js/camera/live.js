// The live picture: WebRTC with a fresh token for each attempt, the recorder's own segments where that
// does not come through, and always a word on why there is no picture.

import { call, cameraPath, throughBff } from "../api.js";
import { serverNow } from "../clock.js";
import { t } from "../i18n.js";
import { explainShortly } from "../problems.js";
import { playHls, unplayableFormat } from "./hls.js";
import { WhepFailed, openWhep } from "./whep.js";

const TTL_S = 300;
const RENEW_BEFORE_S = 45;
const PAUSES_S = [1, 2, 4, 8, 15];
const FROZEN_MS = 6_000;
/** After this many attempts without media WebRTC is given up for live HLS. */
const ICE_TRIES = 2;

export class LivePicture {
  /**
   * @param {HTMLVideoElement} video
   * @param {string} id
   * @param {(shown: {kind: "off"|"connecting"|"webrtc"|"hls"|"waiting", text?: string, retryAt?: number, note?: string}) => void} tell
   */
  constructor(video, id, tell) {
    this.video = video;
    this.id = id;
    this.tell = tell;
    this.wanted = false;
    this.hlsOnly = "";
    this.tries = 0;
    this.iceFailures = 0;
    this.timers = new Set();
    /** @type {AbortController|null} */
    this.attempt = null;
    /** @type {{close: () => void}|null} */
    this.session = null;
  }

  /** Play, now and again whenever it breaks off, until `stop`. */
  start() {
    if (this.wanted) return;
    this.wanted = true;
    this.tries = 0;
    this.connect();
  }

  stop() {
    this.wanted = false;
    this.drop();
    this.tell({ kind: "off" });
  }

  tryWebrtc() {
    this.hlsOnly = "";
    this.iceFailures = 0;
    this.drop();
    if (this.wanted) this.connect();
  }

  drop() {
    this.attempt?.abort();
    this.attempt = null;
    for (const timer of this.timers) clearTimeout(timer);
    this.timers.clear();
    this.session?.close();
    this.session = null;
    this.video.srcObject = null;
  }

  /** @param {() => void} what @param {number} afterMs */
  later(what, afterMs) {
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      what();
    }, afterMs);
    this.timers.add(timer);
  }

  async connect() {
    const attempt = (this.attempt = new AbortController());
    this.tell({ kind: "connecting" });
    try {
      const preview = await this.preview(attempt.signal);
      const noWebrtc = this.hlsOnly || whyNoWebrtc(preview);
      if (noWebrtc) this.playSegments(preview, noWebrtc);
      else await this.playWebrtc(preview, attempt);
    } catch (error) {
      if (!attempt.signal.aborted) this.failed(error);
    }
  }

  /** @param {AbortSignal} signal */
  preview(signal) {
    return call("GET", `${cameraPath(this.id)}/preview`, { query: { ttl: TTL_S }, signal });
  }

  /** @param {any} preview @param {AbortController} attempt */
  async playWebrtc(preview, attempt) {
    const session = await openWhep({ url: preview.whep_url, token: preview.token, signal: attempt.signal });
    if (attempt.signal.aborted) {
      session.close();
      return;
    }
    this.use(session, preview, attempt);
  }

  /** @param {import("./whep.js").WhepSession} session @param {any} preview @param {AbortController} attempt */
  use(session, preview, attempt) {
    const before = this.session;
    this.session = session;
    this.attempt = attempt;
    this.video.srcObject = session.stream;
    this.video.play().catch(() => {});
    before?.close();
    this.tries = 0;
    this.iceFailures = 0;
    this.tell({ kind: "webrtc" });
    session.ended.then(() => this.session === session && this.failed(new WhepFailed("offline")));
    this.watchFrames(session);
    const left = Date.parse(preview.expires_at) - serverNow() - RENEW_BEFORE_S * 1000;
    this.later(() => this.renew(session), Math.max(left, 1_000));
  }

  /** Open the next session while this one still plays, then go over to it. @param {any} session */
  async renew(session) {
    const attempt = new AbortController();
    this.renewal = attempt;
    try {
      const preview = await this.preview(attempt.signal);
      const next = await openWhep({ url: preview.whep_url, token: preview.token, signal: attempt.signal });
      if (this.session === session) this.use(next, preview, attempt);
      else next.close();
    } catch {
      // The old one still plays; it is tried again until that ends.
      if (this.session === session) this.later(() => this.renew(session), 5_000);
    }
  }

  /** A connection that stands and brings no new picture is none. @param {any} session */
  watchFrames(session) {
    let frames = -1;
    const look = () => {
      if (this.session !== session) return;
      const now = this.video.getVideoPlaybackQuality().totalVideoFrames;
      if (now === frames && !document.hidden && !this.video.paused) this.failed(new WhepFailed("offline"), "live.frozen");
      else this.later(look, FROZEN_MS);
      frames = document.hidden ? -1 : now;
    };
    this.later(look, FROZEN_MS);
  }

  /** @param {any} preview @param {string} note why not WebRTC */
  playSegments(preview, note) {
    if (!preview.hls_url) throw new WhepFailed("unreachable");
    let playing = false;
    const failed = (/** @type {string} */ detail, status = 0) => {
      if (playing) this.again(t("live.frozen"), note);
      else if (status === 404) this.again(t("live.noMedia"), note);
      else this.again(whyNoSegments(detail), note);
    };
    const session = playHls(this.video, throughBff(preview.hls_url, `${cameraPath(this.id)}/preview`), { failed, live: true });
    this.session = session;
    this.video.addEventListener("playing", () => {
      playing = true;
      if (this.session !== session) return;
      this.tries = 0;
      this.tell({ kind: "hls", note });
    }, { once: true });
    this.video.play().catch(() => {});
    const left = Date.parse(preview.expires_at) - serverNow() - RENEW_BEFORE_S * 1000;
    this.later(() => this.session === session && this.reload(), Math.max(left, 10_000));
  }

  reload() {
    this.drop();
    this.connect();
  }

  /** By how many seconds what is shown lags behind; null where that cannot be told. */
  delay() {
    const date = /** @type {any} */ (this.session)?.playingDate?.();
    return date ? Math.max(0, (serverNow() - date.getTime()) / 1000) : null;
  }

  /** @param {unknown} error @param {string} [words] */
  failed(error, words) {
    if (error instanceof WhepFailed) {
      if (error.reason === "codec") this.hlsOnly = t("live.codec");
      if (["ice", "unreachable"].includes(error.reason) && ++this.iceFailures >= ICE_TRIES) this.hlsOnly = t(`live.${error.reason}`);
      this.again(t(words ?? `live.${error.reason}`));
    } else {
      this.again(explainShortly(error));
    }
  }

  /** @param {string} text @param {string} [note] */
  again(text, note) {
    this.drop();
    if (!this.wanted) return;
    const pause = PAUSES_S[Math.min(this.tries++, PAUSES_S.length - 1)] * 1000;
    this.tell({ kind: "waiting", text, note, retryAt: Date.now() + pause });
    this.later(() => this.connect(), pause);
  }
}

/** @param {string} detail as a player has it */
function whyNoSegments(detail) {
  const format = unplayableFormat(detail);
  return format ? t("live.format", { format }) : t("live.hlsFailed", { detail });
}

/** @param {any} preview @returns {string} empty where WebRTC can be tried */
function whyNoWebrtc(preview) {
  if (!preview.whep_url) return t("live.noWebrtc");
  const origin = new URL(preview.whep_url).origin;
  const allowed = /** @type {any} */ (window).streamwardenConfig?.whep_origin;
  // Our own policy would refuse it; without this the person would read of a broken network.
  return allowed !== undefined && origin !== allowed && origin !== location.origin ? t("live.whepOrigin", { origin }) : "";
}
