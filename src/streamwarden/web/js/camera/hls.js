// HLS by the browser itself where it can, by hls.js (loaded only then) where it cannot.

const NATIVE = "application/vnd.apple.mpegurl";
const LOOK_EVERY_MS = 100;
const AT_END_S = 0.1;
/** So near to the end of what is loaded a player may stand still for good, by the camera's frame rate. */
const NEAR_END_S = 1.5;
const NEAR_END_STANDS_MS = 600;
const STANDS_MS = 8_000;

/** @typedef {{close: () => void, playingDate: () => Date|null}} HlsPlayback */

/**
 * The format that a player says it cannot decode, in people's words; empty where it says anything else.
 * @param {string} detail as hls.js or the browser has it
 */
export function unplayableFormat(detail) {
  if (/hev1|hvc1/i.test(detail)) return "H.265";
  const codecs = /codecs="?([^";\s]+)/.exec(detail)?.[1] ?? "";
  return codecs || (/codec|NO_SUPPORTED_STREAMS/i.test(detail) ? "?" : "");
}

/**
 * Play `url` in `video`. `failed` is called with what the browser or hls.js says, and with the status
 * of an answer that was none.
 * @param {HTMLVideoElement} video
 * @param {string} url
 * @param {{failed: (detail: string, status?: number) => void, startAt?: number, live?: boolean, mixed?: boolean}} options
 * `mixed`: the parts do not all have the same tracks.
 * @returns {HlsPlayback}
 */
export function playHls(video, url, options) {
  let closed = false;
  /** @type {HlsPlayback} */
  let inner = { close() {}, playingDate: () => null };
  const failed = (/** @type {string} */ detail, status = 0) => !closed && options.failed(detail, status);
  const withLibrary = async (/** @type {string} */ before) => {
    try {
      const { default: Hls } = await import("../../vendor/hls.light.min.mjs");
      if (closed) return;
      if (!Hls.isSupported()) return failed(before || "no Media Source Extensions");
      inner = library(Hls, video, url, { ...options, failed });
    } catch (error) {
      failed(String(error));
    }
  };
  // Chromium 156 plays a finished playlist well by itself, but stalls on one that slides and tells no
  // dates; hls.js does both, wherever there are Media Source Extensions (all but older iPhones).
  // Nor does it play from parts without sound into parts with it.
  const asksForLibrary = (options.live || options.mixed) && "MediaSource" in window;
  if (video.canPlayType(NATIVE) && !asksForLibrary) inner = native(video, url, options, withLibrary);
  else withLibrary("");
  return {
    close() {
      closed = true;
      inner.close();
    },
    playingDate: () => inner.playingDate(),
  };
}

/**
 * @param {HTMLVideoElement} video @param {string} url @param {any} options
 * @param {(why: string) => void} orElse what to do when it cannot play this after all
 */
function native(video, url, options, orElse) {
  let played = false;
  const playing = () => (played = true);
  const error = () => {
    const detail = video.error?.message || `code ${video.error?.code ?? 0}`;
    close();
    if (played) options.failed(detail);
    else orElse(detail);
  };
  const metadata = () => {
    if (options.startAt) video.currentTime = options.startAt;
  };
  video.addEventListener("playing", playing);
  video.addEventListener("error", error);
  video.addEventListener("loadedmetadata", metadata);
  video.src = url;
  function close() {
    video.removeEventListener("playing", playing);
    video.removeEventListener("error", error);
    video.removeEventListener("loadedmetadata", metadata);
    video.removeAttribute("src");
    video.load();
  }
  return {
    close,
    playingDate() {
      const start = /** @type {any} */ (video).getStartDate?.();
      const from = start instanceof Date ? start.getTime() : NaN;
      return Number.isNaN(from) ? null : new Date(from + video.currentTime * 1000);
    },
  };
}

/** @param {any} Hls @param {HTMLVideoElement} video @param {string} url @param {any} options */
function library(Hls, video, url, options) {
  let hls = opened(options.startAt ?? -1);
  let mended = 0;
  let refused = false;

  /** @param {number} startPosition in s; -1: where a live picture begins */
  function opened(startPosition) {
    // Without a worker: its blob would need a wider policy, and there is next to nothing to transmux.
    const made = new Hls({
      enableWorker: false,
      startPosition,
      maxBufferLength: 30,
      liveSyncDurationCount: 1,
      liveMaxLatencyDurationCount: 4,
    });
    made.on(Hls.Events.ERROR, (/** @type {any} */ _event, /** @type {any} */ data) => {
      if (!data.fatal) return;
      if (data.details === "bufferAppendError" && bufferedAhead(video) > 0) refused = true;
      else if (data.type === "mediaError" && mended++ < 2) made.recoverMediaError();
      else options.failed([data.details, data.mimeType].filter(Boolean).join(" "), data.response?.code);
    });
    made.loadSource(url);
    made.attachMedia(video);
    return made;
  }

  // A media source keeps the tracks of its first part, and takes no part that has sound where that one had
  // none, or the other way round. What is there is played to its end; a new media source goes on.
  let stoodAt = -1;
  let stoodForMs = 0;
  const look = () => {
    const { currentTime, paused, seeking } = video;
    stoodForMs = currentTime === stoodAt && !paused && !seeking ? stoodForMs + LOOK_EVERY_MS : 0;
    stoodAt = currentTime;
    const ahead = bufferedAhead(video);
    const stands = stoodForMs >= (ahead < NEAR_END_S ? NEAR_END_STANDS_MS : STANDS_MS);
    if (refused && (ahead <= AT_END_S || stands)) goOn(ahead);
  };
  const goOn = (/** @type {number} */ ahead) => {
    refused = false;
    const { paused, playbackRate, currentTime } = video;
    hls.destroy();
    hls = opened(options.live ? -1 : currentTime + (ahead > 0 ? ahead + AT_END_S : 0));
    video.playbackRate = playbackRate;
    if (!paused) video.play().catch(() => {});
  };
  const looking = setInterval(look, LOOK_EVERY_MS);
  return {
    close() {
      clearInterval(looking);
      hls.destroy();
    },
    playingDate: () => hls.playingDate ?? null,
  };
}

/** By how many seconds what is loaded reaches beyond what is shown. @param {HTMLVideoElement} video */
function bufferedAhead({ buffered, currentTime }) {
  for (let index = 0; index < buffered.length; index += 1) {
    if (buffered.start(index) <= currentTime + AT_END_S && currentTime <= buffered.end(index)) return buffered.end(index) - currentTime;
  }
  return 0;
}
