"""Clocks that are wrong, tokens that end while something plays, a day of many segments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from playwright.sync_api import expect

from tests.browser.conftest import NewPerson
from tests.browser.site import Site

SEGMENTS_A_DAY = 2_880


def test_a_wrong_clock_is_told_and_signs_nobody_out(site: Site, new_person: NewPerson) -> None:
    owner = site.new_owner()
    site.add(owner, "Timeless")
    person = new_person(site.webui)
    person.page.clock.install(time=datetime.now(UTC) + timedelta(days=2, minutes=30))
    page = person.sign_in(site.token(owner))
    expect(page.get_by_text("This computer's clock is 2 d")).to_be_visible()
    person.page.clock.run_for(5_000)
    expect(page.locator(".who .name")).to_have_text(owner)


def test_a_sign_in_that_expires_while_a_recording_plays_is_told(
    site: Site, new_person: NewPerson
) -> None:
    camera = site.recording()
    first = camera.await_segments(2)[0]
    person = new_person(site.webui)
    person.allow_refusals = True  # what was asked for at the last moment
    person.page.clock.install()
    page = person.sign_in(
        site.token("watcher"), f"#/camera/{camera.camera_id}/recordings/{first['started_at']}"
    )
    person.await_moving_picture()
    person.page.clock.fast_forward("01:01:00")
    expect(page.get_by_role("alert")).to_contain_text("has expired")
    expect(page.locator("video")).to_have_count(0)


def test_recordings_play_on_with_a_new_token_when_the_player_is_refused(
    site: Site, new_person: NewPerson
) -> None:
    camera = site.recording()
    first = camera.await_segments(4, within_s=60)[0]
    person = new_person(site.webui)
    person.sign_in(
        site.token("watcher"), f"#/camera/{camera.camera_id}/recordings/{first['started_at']}"
    )
    person.await_moving_picture()
    before = person.page.locator(".clock").get_attribute("datetime")
    with person.page.expect_request("**/recordings/play_token"):
        # What Chromium does when a segment is answered 401.
        person.page.evaluate(
            "() => document.querySelector('video').dispatchEvent(new Event('error'))"
        )
    person.page.evaluate("() => { window.seenFirst = undefined }")
    person.await_moving_picture()
    assert str(person.page.locator(".clock").get_attribute("datetime")) > str(before)


def test_a_day_of_30_s_segments_is_drawn_as_a_few_blocks(site: Site, new_person: NewPerson) -> None:
    """The page holds one day, however many there are; `benchmarks/page.py` says how long it takes."""
    page = new_person(site.webui).sign_in(site.token("watcher"))
    blocks = page.evaluate(
        """async count => {
          const base = document.querySelector('script[type=module]').src.replace('main.js', '');
          const { merged } = await import(base + 'recordings/drawing.js');
          const segments = Array.from({length: count}, (_, i) => i)
            .filter(i => i % 500 > 20)
            .map(i => ({start: i * 30000, end: (i + 1) * 30000}));
          const view = {from: 0, to: count * 30000};
          return [...merged(segments, view, view.to / 1200)].length;
        }""",
        SEGMENTS_A_DAY,
    )
    assert blocks == 6  # one between each two of the holes


def test_a_moment_in_the_picture_is_the_moment_on_the_clock(
    site: Site, new_person: NewPerson
) -> None:
    """The map between a player's seconds and wall-clock time, over a gap and back."""
    page = new_person(site.webui).sign_in(site.token("watcher"))
    shown = page.evaluate(
        """async () => {
          const base = document.querySelector('script[type=module]').src.replace('main.js', '');
          const { readPlaylist, momentAt, timeOf, partAt } = await import(base + 'recordings/playlist.js');
          const part = (at, length, id) => [
            `#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:${at}Z`, `#EXTINF:${length},`, `${id}.mp4?token=t`];
          const parts = readPlaylist(['#EXTM3U', ...part('00:00.000', '10.000', 'a'),
            ...part('00:10.000', '10.000', 'b'), ...part('01:00.000', '5.500', 'c'), ''].join('\\n'));
          const second = Date.parse('2026-01-01T00:00:00Z');
          return [partAt(parts, 12).id, momentAt(parts, 12) - second, momentAt(parts, 21) - second,
            timeOf(parts, second + 61000), timeOf(parts, second + 30000), timeOf(parts, second + 900000)];
        }"""
    )
    assert shown == ["b", 12_000, 61_000, 21, 20, 25.4]
