// WHEP (RFC 9725): one POST with an offer, one answer, and the media comes.

const ICE_WITHIN_MS = 1_500;
const ANSWER_WITHIN_MS = 8_000;
const MEDIA_WITHIN_MS = 10_000;
const DELETE_WITHIN_MS = 1_000;

/** Why no media came: a word that the page has a sentence for. */
export class WhepFailed extends Error {
  /** @param {"offline"|"refused"|"codec"|"unreachable"|"ice"} reason */
  constructor(reason) {
    super(reason);
    this.reason = reason;
  }
}

/** @typedef {{stream: MediaStream, ended: Promise<void>, close: () => void}} WhepSession */

/**
 * Open a session and return it once it is connected.
 * @param {{url: string, token: string, signal: AbortSignal}} given
 * @returns {Promise<WhepSession>}
 */
export async function openWhep({ url, token, signal }) {
  const peer = new RTCPeerConnection();
  const stream = new MediaStream();
  let resource = "";
  const close = () => {
    const place = resource;
    resource = "";
    if (!place) return peer.close();
    // The session is ended first: a peer that is gone already has none, and the answer would be a 404.
    const ended = fetch(place, { method: "DELETE", keepalive: true, signal: AbortSignal.timeout(DELETE_WITHIN_MS) });
    ended.catch(() => {}).finally(() => peer.close());
  };
  try {
    peer.addEventListener("track", (event) => stream.addTrack(event.track));
    peer.addTransceiver("video", { direction: "recvonly" });
    peer.addTransceiver("audio", { direction: "recvonly" });
    await peer.setLocalDescription(await peer.createOffer());
    await gathered(peer);
    signal.throwIfAborted();
    const answer = await post(url, token, peer.localDescription?.sdp ?? "", signal);
    resource = answer.resource;
    await peer.setRemoteDescription({ type: "answer", sdp: answer.sdp });
    await connected(peer, signal);
    return { stream, ended: gone(peer), close };
  } catch (error) {
    close();
    throw error;
  }
}

/** @param {RTCPeerConnection} peer all candidates in one offer: no trickle, one round trip */
function gathered(peer) {
  if (peer.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((done) => {
    setTimeout(done, ICE_WITHIN_MS, undefined);
    peer.addEventListener("icegatheringstatechange", () => peer.iceGatheringState === "complete" && done(undefined));
  });
}

/** @param {string} url @param {string} token @param {string} sdp @param {AbortSignal} signal */
async function post(url, token, sdp, signal) {
  let response;
  try {
    response = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/sdp", Authorization: `Bearer ${token}` },
      body: sdp,
      signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_WITHIN_MS)]),
    });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new WhepFailed("unreachable");
  }
  if (!response.ok) throw new WhepFailed(reasonOf(response.status));
  const place = response.headers.get("Location");
  return { sdp: await response.text(), resource: place ? new URL(place, url).href : "" };
}

/** Reason in an answer that is no session. @param {number} status */
export function reasonOf(status) {
  if (status === 401 || status === 403) return "refused";
  return status === 404 ? "offline" : status < 500 ? "codec" : "unreachable";
}

/** @param {RTCPeerConnection} peer @param {AbortSignal} signal */
function connected(peer, signal) {
  return new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new WhepFailed("ice")), MEDIA_WITHIN_MS);
    signal.addEventListener("abort", () => fail(signal.reason), { once: true });
    const look = () => {
      if (peer.connectionState === "connected") done(undefined);
      else if (peer.connectionState === "failed") fail(new WhepFailed("ice"));
      else return;
      clearTimeout(timer);
    };
    peer.addEventListener("connectionstatechange", look);
    look();
  });
}

/** @param {RTCPeerConnection} peer @returns {Promise<void>} once the connection is lost */
function gone(peer) {
  return new Promise((done) => {
    peer.addEventListener("connectionstatechange", () => {
      if (["failed", "closed", "disconnected"].includes(peer.connectionState)) done();
    });
  });
}
