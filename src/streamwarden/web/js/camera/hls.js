// HLS by the browser itself where it can, by hls.js (loaded only then) where it cannot.

const NATIVE = "application/vnd.apple.mpegurl";

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
 * @param {{failed: (detail: string, status?: number) => void, startAt?: number, live?: boolean}} options
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
  const asksForLibrary = options.live && "MediaSource" in window;
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
  // Without a worker: its blob would need a wider policy, and there is next to nothing to transmux.
  const hls = new Hls({
    enableWorker: false,
    startPosition: options.startAt ?? -1,
    maxBufferLength: 30,
    liveSyncDurationCount: 1,
    liveMaxLatencyDurationCount: 4,
  });
  let mended = 0;
  hls.on(Hls.Events.ERROR, (/** @type {any} */ _event, /** @type {any} */ data) => {
    if (!data.fatal) return;
    if (data.type === "mediaError" && mended++ < 2) hls.recoverMediaError();
    else options.failed([data.details, data.mimeType].filter(Boolean).join(" "), data.response?.code);
  });
  hls.loadSource(url);
  hls.attachMedia(video);
  return { close: () => hls.destroy(), playingDate: () => hls.playingDate ?? null };
}
