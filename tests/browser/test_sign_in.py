"""Signing in and out, and being told when it is over."""

from __future__ import annotations

from playwright.sync_api import expect

from streamwarden.auth.users import UserTokens
from streamwarden.clock import Clock
from tests.browser.conftest import NewSession
from tests.browser.demo_site import DemoSite


def test_a_sign_in_link_signs_in_and_leaves_the_address(
    site: DemoSite, new_session: NewSession
) -> None:
    session = new_session(site.webui)
    token = site.token("alice", "admin")
    page = session.sign_in(token)
    expect(page.locator(".who .name")).to_have_text("alice")
    expect(page.locator(".who .roles")).to_have_text("admin")
    assert token not in page.url
    assert page.evaluate("() => [localStorage.length, document.cookie]") == [0, ""]
    page.reload()
    expect(page.locator(".who .name")).to_have_text("alice")


def test_a_pasted_token_signs_in_and_what_is_none_is_told(
    site: DemoSite, new_session: NewSession
) -> None:
    page = new_session(site.webui).page
    page.goto(site.webui)
    page.get_by_label("Access token").fill("not a token")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not an access token")
    page.get_by_label("Access token").fill(f"{site.webui}/#token={site.token('bob')}")
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator(".who .name")).to_have_text("bob")


def test_a_link_asks_before_somebody_else_is_signed_in(
    site: DemoSite, new_session: NewSession
) -> None:
    """A stranger's link must not move what is done from then on into the stranger's account."""
    page = new_session(site.webui).sign_in(site.token("alice"))
    who = page.locator(".who .name")
    follow = f"{site.webui}/#token={site.token('mallory')}"

    page.goto(follow)
    expect(page.get_by_role("heading", name="Sign in as somebody else?")).to_be_visible()
    expect(who).to_have_text("alice")
    assert "token" not in page.url
    page.reload()  # no answer is no consent
    expect(who).to_have_text("alice")
    expect(page.get_by_role("heading", name="Sign in as somebody else?")).to_be_hidden()

    page.goto(follow)
    page.get_by_role("button", name="Stay signed in as alice").click()
    expect(page.get_by_role("heading", name="No cameras yet")).to_be_visible()
    expect(who).to_have_text("alice")

    page.goto(follow)
    page.get_by_role("button", name="Sign in as mallory").click()
    expect(who).to_have_text("mallory")
    page.reload()
    expect(who).to_have_text("mallory")


def test_ones_own_link_again_asks_nothing(site: DemoSite, new_session: NewSession) -> None:
    token = site.token("alice")
    page = new_session(site.webui).sign_in(token)
    page.goto(f"{site.webui}/#token={token}")
    expect(page.get_by_role("heading", name="No cameras yet")).to_be_visible()
    expect(page.locator(".who .name")).to_have_text("alice")


def test_a_link_that_is_no_link_is_told_and_signs_nobody_out(
    site: DemoSite, new_session: NewSession
) -> None:
    for broken in ("%", "%zz", "", "x.y", "a.b.c"):
        page = new_session(site.webui).page
        page.goto(f"{site.webui}/#token={broken}")
        expect(page.get_by_role("alert")).to_contain_text("not complete")
    page = new_session(site.webui).sign_in(site.token("alice"))
    page.goto(f"{site.webui}/#token=%")
    expect(page.locator(".who .name")).to_have_text("alice")
    expect(page.get_by_role("heading", name="No cameras yet")).to_be_visible()


def test_signing_out_forgets_the_token(site: DemoSite, new_session: NewSession) -> None:
    page = new_session(site.webui).sign_in(site.token("alice"))
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert page.evaluate("() => sessionStorage.length") == 0


def test_a_token_that_expires_while_the_page_is_open_is_told(
    site: DemoSite, new_session: NewSession
) -> None:
    session = new_session(site.webui)
    session.allow_refusals = True  # whether the API or the page notices first is a race
    session.page.clock.install()
    page = session.sign_in(site.token("alice"))
    expect(page.get_by_role("heading", name="No cameras yet")).to_be_visible()
    page.clock.fast_forward("01:01:00")
    expect(page.get_by_role("alert")).to_contain_text("has expired")


def test_a_token_that_the_api_refuses_is_told(site: DemoSite, new_session: NewSession) -> None:
    tokens = UserTokens(
        "another-secret-of-thirty-two-bytes-or-more", audience="streamwarden",
        roles_claim="roles", clock=Clock(),
    )  # fmt: skip
    session = new_session(site.webui)
    session.allow_refusals = True
    session.page.goto(f"{site.webui}/#token={tokens.sign('mallory', ttl_s=600)}")
    expect(session.page.get_by_role("alert")).to_contain_text("does not accept this sign-in")


def test_the_page_speaks_the_browsers_language_and_keeps_the_chosen_one(
    site: DemoSite, new_session: NewSession
) -> None:
    page = new_session(site.webui, locale="zh-TW").sign_in(site.token(site.new_owner(), "admin"))
    expect(page.get_by_role("heading", name="鏡頭", exact=True)).to_be_visible()
    assert page.evaluate("() => document.documentElement.lang") == "zh-TW"
    page.get_by_label("語言").select_option("en")
    expect(page.get_by_role("heading", name="Cameras", exact=True)).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Cameras", exact=True)).to_be_visible()
