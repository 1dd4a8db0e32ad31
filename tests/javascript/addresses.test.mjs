import assert from "node:assert/strict";
import test from "node:test";
import "./browser.mjs";
import { cameraPath, pageBase, throughBff } from "../../src/streamwarden/web/js/api.js";
import { cameraLink, decoded, place, recordingsLink } from "../../src/streamwarden/web/js/router.js";

test("an address of the API is asked for through the BFF", () => {
  const asked = "/camera/7/preview";
  assert.equal(throughBff("live/index.m3u8?token=t", asked), "/bff/v1/camera/7/live/index.m3u8?token=t");
  assert.equal(throughBff("http://api:8081/api/v1/camera/7/x", asked), "/bff/v1/camera/7/x");
});

test("what is badly encoded in an address is nothing, and no error", () => {
  // decodeURIComponent throws; a link that ends in #token=% left a blank page.
  assert.deepEqual(["%", "%zz", "%ff", "a%20b", "%E5%AD%90"].map(decoded), ["", "", "", "a b", "子"]);
});

test("the page may be under a path of another site", () => {
  const places = ["http://a/", "http://a/cams/", "http://a/x/cams/index.html?y=/z/", "http://a/cams/#/camera/1/recordings"];
  assert.deepEqual(places.map((href) => pageBase(href)), ["/", "/cams/", "/x/cams/", "/cams/"]);
});

test("an id is one part of a path", () => {
  assert.equal(cameraPath("a/../b?c"), "/camera/a%2F..%2Fb%3Fc");
});

const placeOf = (hash) => {
  location.hash = hash;
  return place();
};

test("the page follows from the address", () => {
  assert.deepEqual(["#/", "", "#/operations", "#/else", "#/camera"].map((hash) => placeOf(hash).name), ["cameras", "cameras", "operations", "nowhere", "nowhere"]);
});

test("an address that is made is understood, whatever the id holds", () => {
  const id = "a/b#c%?";
  const at = new Date(1_000_000);
  assert.deepEqual(placeOf(cameraLink(id)), { name: "camera", id });
  assert.deepEqual(placeOf(recordingsLink(id, at)), { name: "recordings", id, at: at.toISOString() });
  assert.deepEqual(placeOf(recordingsLink(id)), { name: "recordings", id, at: undefined });
});

test("an address that nobody made leads nowhere", () => {
  assert.equal(placeOf("#/%E0%A4").name, "cameras");
  assert.equal(placeOf("#/camera/%E0%A4").name, "nowhere");
});
