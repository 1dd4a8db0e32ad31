import assert from "node:assert/strict";
import test from "node:test";
import "./browser.mjs";
import { unplayableFormat } from "../../src/streamwarden/web/js/camera/hls.js";
import { reasonOf } from "../../src/streamwarden/web/js/camera/whep.js";

test("a format that cannot be decoded is told from what went wrong otherwise", () => {
  assert.equal(unplayableFormat('video/mp4; codecs="hvc1.1.6.L93"'), "H.265");
  assert.equal(unplayableFormat('bufferAddCodecError video/mp4; codecs="av01.0"'), "av01.0");
  assert.equal(unplayableFormat("DEMUXER_ERROR_NO_SUPPORTED_STREAMS"), "?");
  assert.equal(unplayableFormat("manifestLoadTimeOut"), "");
});

test("each answer of a media server that is no session has a reason", () => {
  const reasons = [400, 401, 403, 404, 406, 500, 503].map(reasonOf);
  assert.deepEqual(reasons, ["codec", "refused", "refused", "offline", "codec", "unreachable", "unreachable"]);
});
