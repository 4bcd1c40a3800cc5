"""The server's page, in a real browser: what a user does there, and what may go wrong meanwhile."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import threading
from importlib import resources
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from rewardshift.serve import Settings, build_app
from tests.support.http_server import listening
from tests.support.scripted_server import ScriptedServer, echo, ends, error, id_of, says, token
from tests.support.served import decoder_of, serving

PATIENCE = 20_000
"""Milliseconds to wait for what ought to be there, on however busy a machine."""

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect
expect.set_options(timeout=PATIENCE)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Locator, Page
    from starlette.responses import Response

    from tests.conftest import Files

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")

WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as serving:
        yield serving


class Opener:
    """Opens pages; what their consoles complain of is kept."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.complaints: list[str] = []
        self._browser = browser
        self._url = url
        self._contexts: list[Any] = []

    def __call__(self, *, ready: bool = True, **options: Any) -> Page:
        context = self._browser.new_context(**{"viewport": WIDE, **options})
        context.set_default_timeout(PATIENCE)
        self._contexts.append(context)
        page = context.new_page()
        page.on("console", self._note)
        page.on("pageerror", lambda problem: self.complaints.append(str(problem)))
        page.on("dialog", lambda dialog: self.complaints.append(f"a dialog: {dialog.message}"))
        page.goto(self._url)
        if ready:
            expect(page.locator("#state")).to_have_text("ready")
        return page

    def close(self) -> None:
        for context in self._contexts:
            context.close()

    def _note(self, message: Any) -> None:
        is_expected = message.text.startswith("Failed to load resource")  # a server that is gone
        if message.type in ("error", "warning") and not is_expected:
            self.complaints.append(message.text)


@pytest.fixture
def open_page(browser: Browser, server: ScriptedServer) -> Iterator[Opener]:
    opener = Opener(browser, server.url)
    yield opener
    opener.close()
    assert opener.complaints == [], "the browser complains, maybe of the content security policy"


@pytest.fixture
def page(open_page: Opener) -> Page:
    return open_page()


def ask(page: Page, message: str) -> None:
    """Asks as soon as one can: a page that has just been opened does not know its server yet."""
    expect(page.locator("#send")).to_be_enabled()
    page.locator("#question").fill(message)
    page.keyboard.press("Enter")


def answer(page: Page, column: str, turn: int = -1) -> Locator:
    return page.locator(f'.turn .answer[data-column="{column}"]').nth(turn)


def text(page: Page, column: str, turn: int = -1) -> Locator:
    return answer(page, column, turn).locator(".text")


def expect_finished(page: Page, count: int = 2) -> None:
    expect(page.locator('.answer[data-status="done"]')).to_have_count(count)


def token_of(page: Page, shown: str, column: str = "aligned") -> Locator:
    return text(page, column).locator(".t", has_text=shown).first


def version_of(page: Page, column: str = "aligned") -> Locator:
    return answer(page, column).locator(".versions span")


# --- the files -------------------------------------------------------------------------------


def test_the_page_comes_with_a_policy_and_is_kept_by_its_content(server: ScriptedServer) -> None:
    whole = httpx.get(server.url)
    policy = whole.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["referrer-policy"] == "no-referrer"
    assert whole.headers["cache-control"] == "no-cache"
    again = httpx.get(server.url, headers={"If-None-Match": whole.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for name in ("nothing.js", "..%2fapp.py", "%2e%2e/settings.py", "__init__.py"):
        assert httpx.get(f"{server.url}page/{name}").status_code == 404
    modules = re.findall(r'(?:href|src)="(page/[^"]+)"', whole.text)
    assert modules
    for module in modules:
        assert httpx.get(server.url + module).status_code == 200


def test_a_key_guards_what_the_page_asks_and_not_the_page(files: Files) -> None:
    with serving(files, api_keys=(b"right",)) as client:
        assert client.get("/").status_code == client.get("/page/app.js").status_code == 200
        assert client.get("/props").status_code == 401
        assert (
            client.get("/page/no.js").json()["error"]["message"] == "the page has no file 'no.js'"
        )


def test_the_page_names_no_other_host() -> None:
    for file in resources.files("rewardshift.serve").joinpath("page").iterdir():
        content = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(
            r"//[\w-]+\.[a-z]|innerHTML|outerHTML|insertAdjacentHTML|eval\(", content
        )


# --- answers ---------------------------------------------------------------------------------


def test_answers_stream_into_two_columns_from_one_seed(server: ScriptedServer, page: Page) -> None:
    gate = threading.Event()

    async def script(body: dict[str, Any], us: ScriptedServer) -> AsyncIterator[dict[str, Any]]:
        strength = body["strength"]["positive"]
        yield says(token("So", "bonus", log_z=0.7), token(" far", log_z=0.7))
        await asyncio.sleep(0.1)
        yield says(token(" at", log_z=0.7))
        await us.until(gate)
        yield says(token(f" {strength}", "correction"))
        yield ends()

    server.script = script
    ask(page, "How are you?")
    for column in ("plain", "aligned"):
        expect(text(page, column)).to_have_text("So far at")
        numbers = answer(page, column).locator(".numbers")
        expect(numbers).to_contain_text("tokens3")
        expect(numbers).to_contain_text("from drafts67 %")
        expect(numbers).to_contain_text("a second")
        expect(numbers).to_contain_text("Z2.01")
        expect(text(page, column)).to_have_attribute("aria-busy", "true")
    gate.set()
    expect(text(page, "plain")).to_have_text("So far at 0")
    expect(text(page, "aligned")).to_have_text("So far at 1")
    expect(answer(page, "aligned").locator(".numbers")).to_contain_text("accepted50 %")
    plain, aligned = server.requests
    assert (plain.pop("strength"), aligned.pop("strength")) == ({"positive": 0}, {"positive": 1})
    assert plain == aligned
    assert plain["deterministic"] is True
    assert plain["messages"] == [{"role": "user", "content": "How are you?"}]


def test_what_was_said_goes_on_in_each_column_by_itself(server: ScriptedServer, page: Page) -> None:
    ask(page, "one")
    expect_finished(page)
    ask(page, "two")
    expect_finished(page, 4)
    told = [request["messages"][1]["content"] for request in server.requests[2:]]
    assert told == ["You said one at 0", "You said one at 1"]


def test_answers_may_share_batches_where_nobody_needs_them_again(
    server: ScriptedServer, page: Page
) -> None:
    page.get_by_label("Reproducible").uncheck()
    ask(page, "hello")
    expect_finished(page)
    page.get_by_role("slider", name="positive").press("ArrowRight")
    expect(text(page, "aligned")).to_have_text("You said hello at 1.1")
    page.get_by_role("slider", name="positive").press("ArrowLeft")
    expect(version_of(page)).to_have_text("3 of 3")  # it need not be the first one again
    expect(version_of(page, "plain")).to_have_count(0)
    assert [request["deterministic"] for request in server.requests] == [False] * 4


def test_stopping_keeps_what_there_is_and_lets_the_server_go(
    server: ScriptedServer, page: Page
) -> None:
    async def script(_: dict[str, Any], us: ScriptedServer) -> AsyncIterator[dict[str, Any]]:
        yield says(token("Begun", "bonus"))
        await us.until(threading.Event())

    server.script = script
    ask(page, "hello")
    expect(text(page, "aligned")).to_have_text("Begun")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator('.answer[data-status="stopped"]')).to_have_count(2)
    for _ in range(100):
        if server.cancelled == 2:
            break
        page.wait_for_timeout(20)
    assert server.cancelled == 2
    server.script = echo
    answer(page, "aligned").get_by_role("button", name="Go on from here").click()
    expect(text(page, "aligned")).to_have_text("BegunYou said hello at 1")
    assert server.requests[-1]["continue_from"] == [id_of("Begun")]


def test_characters_that_tokens_cut_apart_are_shown_whole(
    server: ScriptedServer, page: Page
) -> None:
    async def script(_: dict[str, Any], __: ScriptedServer) -> AsyncIterator[dict[str, Any]]:
        yield says(token("Hi", "bonus"), token(" \ufffd", id=7), text="Hi")
        yield says(token("\ufffd", id=8), token("\ufffd", id=9), token("!", "bonus"), text=" 🙂!")
        yield ends()

    server.script = script
    ask(page, "hello")
    expect_finished(page)
    assert text(page, "aligned").inner_text() == "Hi 🙂!"
    assert text(page, "aligned").locator(".t").all_inner_texts() == ["Hi", "", "", "🙂", "!"]


def test_a_screen_reader_is_told_sentences(server: ScriptedServer, page: Page) -> None:
    gate = threading.Event()

    async def script(_: dict[str, Any], us: ScriptedServer) -> AsyncIterator[dict[str, Any]]:
        yield says(*(token(t, "bonus") for t in ("One", " thing", ". ", "An", "other")))
        await us.until(gate)
        yield ends()

    server.script = script
    ask(page, "hello")
    live = page.locator("[aria-live=polite]")
    expect(live.locator("p")).to_have_text(["plain: One thing. ", "aligned: One thing. "])
    gate.set()
    expect(live.locator("p").last).to_have_text("Another")


# --- settings --------------------------------------------------------------------------------


def test_letting_a_dial_go_asks_again_and_nothing_before(
    server: ScriptedServer, page: Page
) -> None:
    ask(page, "hello")
    expect_finished(page)
    dial = page.get_by_role("slider", name="positive")
    box = dial.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    at = lambda value: box["x"] + 8 + (box["width"] - 16) * (value + 3) / 6  # noqa: E731
    page.mouse.move(at(1), middle)
    page.mouse.down()
    page.mouse.move(at(0), middle)
    page.mouse.move(at(-2), middle)
    expect(page.get_by_role("spinbutton", name="positive")).to_have_value("-2")
    page.wait_for_timeout(500)
    assert len(server.requests) == 2
    page.mouse.up()
    expect(text(page, "aligned")).to_have_text("You said hello at -2")
    expect(answer(page, "aligned").locator(".how")).to_have_text("positive −2")
    expect(text(page, "plain")).to_have_text("You said hello at 0")
    assert len(server.requests) == 3


def test_an_answer_that_was_there_is_shown_again_and_not_asked_for(
    server: ScriptedServer, page: Page
) -> None:
    ask(page, "hello")
    expect_finished(page)
    page.get_by_role("slider", name="positive").press("ArrowRight")
    expect(text(page, "aligned")).to_have_text("You said hello at 1.1")
    page.get_by_role("slider", name="positive").press("ArrowLeft")
    expect(text(page, "aligned")).to_have_text("You said hello at 1")
    expect(version_of(page)).to_have_text("1 of 2")
    assert len(server.requests) == 3


def test_how_to_sample_concerns_both_columns(server: ScriptedServer, page: Page) -> None:
    ask(page, "hello")
    expect_finished(page)
    page.get_by_role("spinbutton", name="Temperature").fill("0.3")
    page.keyboard.press("Tab")
    expect(version_of(page, "plain")).to_have_text("2 of 2")
    page.get_by_role("slider", name="Draft length").press("End")
    expect(version_of(page, "plain")).to_have_text("3 of 3")
    assert [r.get("temperature") for r in server.requests] == [1, 1, 0.3, 0.3, 0.3, 0.3]
    drafts = [r.get("num_draft_tokens", "auto") for r in server.requests]
    assert drafts == ["auto"] * 4 + [8] * 2


def test_a_server_without_dials_has_one_column(server: ScriptedServer, open_page: Opener) -> None:
    server.props = {**server.props, "shifts": [], "draft": False}
    page = open_page()
    ask(page, "hello")
    expect_finished(page, 1)
    assert "strength" not in server.requests[0]
    expect(page.get_by_role("slider", name="Draft length")).to_have_count(0)


# --- tokens ----------------------------------------------------------------------------------


def test_tokens_are_coloured_by_what_they_are_and_not_by_colour_alone(
    server: ScriptedServer, page: Page
) -> None:
    async def script(_: dict[str, Any], __: ScriptedServer) -> AsyncIterator[dict[str, Any]]:
        yield says(
            token("draft", "draft", logprob=-0.01, target_logprob=-0.01),
            token("mended", "correction", logprob=-1.2, target_logprob=-3.0),
            token("free", "bonus", logprob=-4.0, target_logprob=-2.0),
            token("must", "forced", logprob=0.0, target_logprob=None),
        )
        yield ends()

    server.script = script
    ask(page, "hello")
    expect_finished(page)
    found = text(page, "aligned").locator(".t")
    lines: dict[str, list[str]] = {}
    for way in ("origin", "probability", "shift", "none"):
        page.locator(f'[name=colour][value="{way}"]').check()
        lines[way] = found.evaluate_all(
            "all => all.map(getComputedStyle).map(s => "
            "s.textDecorationLine === 'none' ? 'none' : s.textDecorationStyle)"
        )
        named = page.locator("#legend li").count()
        assert named == {"none": 0}.get(way, 5)
    assert lines == {
        "origin": ["solid", "dashed", "dotted", "double"],
        "probability": ["none", "dotted", "solid", "none"],
        "shift": ["none", "solid", "dashed", "none"],
        "none": ["none"] * 4,
    }
    page.reload()
    expect(page.locator('[name=colour][value="none"]')).to_be_checked()


def test_what_the_shift_did_is_told_at_the_answers_own_temperature(
    server: ScriptedServer, page: Page
) -> None:
    page.get_by_role("spinbutton", name="Temperature").fill("0.5")

    async def script(_: dict[str, Any], __: ScriptedServer) -> AsyncIterator[dict[str, Any]]:
        yield says(token("word", logprob=-1.0, shifts={"positive": 0.6}, log_z=0.2))
        yield ends()

    server.script = script
    ask(page, "hello")
    expect_finished(page)
    token_of(page, "word").click()
    rows = page.locator("#token table tr")
    # 0.6 / 0.5 − 0.2 = 1, and so log p at this temperature is −2
    expect(rows.filter(has_text="what the shift did")).to_contain_text("× 2.7 (+1.00)")
    expect(rows.filter(has_text="target at T 0.5")).to_contain_text("14 %")


def test_a_token_tells_what_everybody_thought_of_it(page: Page) -> None:
    ask(page, "hello")
    expect_finished(page)
    token_of(page, "said").click()
    panel = page.locator("#token")
    rows = {
        row.locator("th").inner_text(): row.locator("td").inner_text()
        for row in panel.locator("table tr").all()
    }
    assert rows == {
        "p target": "25 %",
        "q aligned draft": "40 %",
        "r reference": "20 %",
        "π* goal": "50 %",
        "log Z": "0.00 (Z 1.00)",
        "rank": "1",
        "positive: log q/r": "+0.69 × 1",
        "what the shift did": "× 2.0 (+0.69)",
    }
    expect(panel.locator("h2")).to_have_text("␣said")
    expect(panel.locator(".about")).to_contain_text("2 of 4")
    expect(panel.locator(".alternatives .spelt")).to_have_text(["␣said", "good", "␣grand"])
    expect(panel.locator(".alternatives .value")).to_have_text(["50 %", "25 %", "10 %"])
    panel.get_by_role("button", name="Next token").click()
    expect(panel.locator("h2")).to_have_text("␣hello")
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()


def test_another_token_branches_and_the_old_branch_stays(
    server: ScriptedServer, page: Page
) -> None:
    ask(page, "hello")
    expect_finished(page)
    token_of(page, "said").click()
    page.locator(".alternatives button", has_text="grand").click()
    expect(text(page, "aligned")).to_have_text("You grandYou said hello at 1")
    assert server.requests[-1]["continue_from"] == [id_of("You"), id_of(" grand")]
    assert server.requests[-1]["seed"] == server.requests[0]["seed"]
    expect(answer(page, "aligned").locator(".how")).to_contain_text("branched")
    expect(token_of(page, "grand")).to_have_attribute("data-origin", "chosen")
    # The numbers are of what was generated, not of what was given.
    expect(answer(page, "aligned").locator(".numbers")).to_contain_text("tokens4")
    answer(page, "aligned").get_by_role("button", name="Previous version").click()
    expect(text(page, "aligned")).to_have_text("You said hello at 1")
    expect(version_of(page)).to_have_text("1 of 2")


def test_what_follows_a_branch_is_shown_with_it(server: ScriptedServer, page: Page) -> None:
    ask(page, "one")
    expect_finished(page)
    ask(page, "two")
    expect_finished(page, 4)
    text(page, "aligned", 0).locator(".t").nth(1).click()
    page.locator(".alternatives button", has_text="good").click()
    expect(page.locator(".turn")).to_have_count(1)
    expect_finished(page)
    ask(page, "three")
    expect_finished(page, 4)
    told = [message["content"] for message in server.requests[-1]["messages"]]
    assert told == ["one", "YougoodYou said one at 1", "three"]
    answer(page, "aligned", 0).get_by_role("button", name="Previous version").click()
    expect(page.locator(".message")).to_have_text(["one", "two"])
    answer(page, "aligned", 0).get_by_role("button", name="Next version").click()
    expect(page.locator(".message")).to_have_text(["one", "three"])


def test_an_answer_can_be_ended_where_one_likes(server: ScriptedServer, page: Page) -> None:
    async def script(_: dict[str, Any], __: ScriptedServer) -> AsyncIterator[dict[str, Any]]:
        end = {"id": 0, "text": "<end>", "logprob": -1.0}
        yield says(token("Yes", "bonus"), token(" and", top=[end]))
        yield ends()

    server.script = script
    ask(page, "hello")
    expect_finished(page)
    token_of(page, "and").click()
    page.locator(".alternatives button", has_text="the end").click()
    expect(text(page, "aligned")).to_have_text("Yes")
    expect(answer(page, "aligned")).to_have_attribute("data-status", "done")
    assert len(server.requests) == 2
    page.reload()
    expect(text(page, "aligned").locator(".end")).to_have_count(1)


# --- hostile texts ---------------------------------------------------------------------------

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    "</span></div><h1>out",
    "\u202egnp.elif\u202c",
    "שלום עולם",
    "a\u0300" * 50,
    "x" * 3000,
    "{{7*7}}&lt;&#60;\u0000\u2028",
)


def test_text_is_never_anything_but_text(server: ScriptedServer, open_page: Opener) -> None:
    server.props = {**server.props, "model_alias": HOSTILE[0]}
    server.props["shifts"] = [{"name": HOSTILE[1], "strength": 1.0, "description": HOSTILE[2]}]

    async def script(_: dict[str, Any], __: ScriptedServer) -> AsyncIterator[dict[str, Any]]:
        for hostile in HOSTILE:
            top = [{"id": i, "text": each, "logprob": -1.0} for i, each in enumerate(HOSTILE)]
            yield says(token(hostile, top=top, shifts={HOSTILE[1]: 1.0}))
        yield {"error": {"message": HOSTILE[1]}}

    server.script = script
    page = open_page(viewport=PHONE)
    ask(page, HOSTILE[0])
    expect(page.locator('.answer[data-status="error"]')).to_have_count(2)
    assert text(page, "aligned").evaluate("e => e.textContent") == "".join(HOSTILE)
    expect(answer(page, "aligned").locator(".notice")).to_contain_text(HOSTILE[1])
    expect(page.locator(".message")).to_have_text(HOSTILE[0])
    token_of(page, "שלום").click()
    assert page.locator(".alternatives .spelt").nth(1).inner_text() == HOSTILE[1].replace(" ", "␣")
    assert page.locator("script, .text img, .text h1, #token img, .bar img").count() == 1
    expect_no_sideways_scrolling(page)


def test_ten_thousand_tokens_are_shown_walked_and_kept(server: ScriptedServer, page: Page) -> None:
    async def script(body: dict[str, Any], _: ScriptedServer) -> AsyncIterator[dict[str, Any]]:
        count = 10_000 if body["strength"]["positive"] else 1
        for start in range(0, count, 50):
            yield says(*(token(f" {i}") for i in range(start, min(start + 50, count))))
            await asyncio.sleep(0)
        yield ends()

    server.script = script
    ask(page, "count")
    expect(answer(page, "aligned")).to_have_attribute("data-status", "done")
    whole = "".join(f" {i}" for i in range(10_000))
    assert text(page, "aligned").evaluate("e => e.textContent") == whole
    text(page, "aligned").focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(page.locator("#token h2")).to_have_text("␣9999")
    expect(page.locator("#full")).to_be_hidden()
    page.reload()
    expect(answer(page, "aligned")).to_have_attribute("data-status", "done")
    assert text(page, "aligned").evaluate("e => e.textContent") == whole


# --- what may go wrong -----------------------------------------------------------------------


def test_a_server_that_dies_and_comes_back_costs_nothing(
    server: ScriptedServer, page: Page
) -> None:
    ask(page, "first")
    expect_finished(page)

    async def script(_: dict[str, Any], us: ScriptedServer) -> AsyncIterator[dict[str, Any]]:
        yield says(token("Half", "bonus"))
        await us.until(threading.Event())

    server.script = script
    ask(page, "second")
    expect(text(page, "plain")).to_have_text("Half")
    expect(text(page, "aligned")).to_have_text("Half")
    server.die()
    banner = page.locator("#banner")
    expect(banner).to_contain_text("cannot be reached")
    expect(page.locator("#state")).to_have_text("lost")
    expect(answer(page, "aligned")).to_have_attribute("data-status", "lost")
    expect(text(page, "aligned")).to_have_text("Half")
    expect(text(page, "aligned", 0)).to_have_text("You said first at 1")
    server.script = echo
    server.start()
    expect(banner).to_be_hidden()
    expect(text(page, "aligned")).to_have_text("You said second at 1")
    expect(text(page, "plain")).to_have_text("You said second at 0")
    answer(page, "aligned").get_by_role("button", name="Previous version").click()
    expect(text(page, "aligned")).to_have_text("Half")


def test_an_answer_that_comes_to_no_end_is_not_taken_for_whole(
    server: ScriptedServer, page: Page
) -> None:
    async def script(_: dict[str, Any], __: ScriptedServer) -> AsyncIterator[dict[str, Any]]:
        yield says(token("Half", "bonus"))

    server.script = script
    ask(page, "hello")
    expect(answer(page, "aligned").locator(".notice")).to_contain_text("broke off")


def test_a_request_that_breaks_the_server_is_not_sent_for_ever(
    server: ScriptedServer, page: Page
) -> None:
    async def script(_: dict[str, Any], __: ScriptedServer) -> AsyncIterator[dict[str, Any]]:
        yield says(token("Half", "bonus"))
        await asyncio.sleep(0.2)  # it has arrived
        raise ConnectionResetError

    server.script = script
    page.get_by_label("Compare with plain").uncheck()
    ask(page, "hello")
    expect(version_of(page)).to_have_text("2 of 2")
    expect(page.locator("#state")).to_have_text("ready")
    page.wait_for_timeout(1000)
    assert len(server.requests) == 2
    expect(answer(page, "aligned").locator(".notice")).to_contain_text("broke")
    answer(page, "aligned").get_by_role("button", name="Try again").click()
    expect(version_of(page)).to_have_text("3 of 3")


def test_an_error_is_shown_where_it_happened(server: ScriptedServer, page: Page) -> None:
    def script(
        body: dict[str, Any], us: ScriptedServer
    ) -> AsyncIterator[dict[str, Any]] | Response:
        return echo(body, us) if body["strength"]["positive"] == 0 else error(429, "no place left")

    server.script = script
    ask(page, "hello")
    expect(text(page, "plain")).to_have_text("You said hello at 0")
    notice = answer(page, "aligned").locator(".notice")
    expect(notice).to_contain_text("no place left")
    expect(notice).to_have_attribute("role", "alert")
    expect(answer(page, "plain").locator(".notice")).to_be_hidden()
    server.script = echo
    notice.get_by_role("button", name="Try again").click()
    expect(text(page, "aligned")).to_have_text("You said hello at 1")
    expect(version_of(page)).to_have_count(0)  # of the one that said nothing, nothing is left


def test_an_error_in_mid_answer_keeps_the_answer(server: ScriptedServer, page: Page) -> None:
    async def script(_: dict[str, Any], __: ScriptedServer) -> AsyncIterator[dict[str, Any]]:
        yield says(token("Half", "bonus"))
        yield {"error": {"message": "logits are not finite"}}

    server.script = script
    ask(page, "hello")
    expect(answer(page, "aligned").locator(".notice")).to_contain_text("logits are not finite")
    expect(text(page, "aligned")).to_have_text("Half")


def test_a_key_is_asked_for_and_kept_no_longer_than_the_tab(
    server: ScriptedServer, open_page: Opener
) -> None:
    server.key = "right"
    page = open_page(ready=False)
    field = page.get_by_label("API key")
    field.fill("wrong")
    field.press("Enter")
    expect(field).to_have_value("")
    field.fill("right")
    field.press("Enter")
    expect(page.locator("#state")).to_have_text("ready")
    ask(page, "hello")
    expect_finished(page)
    page.reload()
    expect(page.locator("#state")).to_have_text("ready")
    assert "right" not in json.dumps(page.evaluate("({...localStorage})"))
    server.key = "changed"
    ask(page, "more")
    expect(field).to_be_focused()


def test_a_server_that_loads_is_waited_for(server: ScriptedServer, open_page: Opener) -> None:
    server.is_loading = True
    page = open_page(ready=False)
    expect(page.locator("#banner")).to_contain_text("loaded")
    page.locator("#question").fill("hello")
    page.keyboard.press("Enter")
    expect(page.locator("#question")).to_have_value("hello")
    server.is_loading = False
    expect(page.locator("#state")).to_have_text("ready")
    page.keyboard.press("Enter")
    expect_finished(page)


# --- nothing is lost -------------------------------------------------------------------------


def test_a_reload_keeps_everything(server: ScriptedServer, page: Page) -> None:
    page.get_by_role("spinbutton", name="positive").fill("2")
    page.get_by_label("System message").fill("Be kind.")
    ask(page, "one")
    expect_finished(page)
    token_of(page, "said").click()
    page.locator(".alternatives button", has_text="grand").click()
    expect_finished(page)
    gate = threading.Event()

    async def script(_: dict[str, Any], us: ScriptedServer) -> AsyncIterator[dict[str, Any]]:
        yield says(token("Half", "bonus"))
        await us.until(gate)

    server.script = script
    ask(page, "two")
    expect(text(page, "aligned")).to_have_text("Half")
    page.reload()
    gate.set()
    expect(page.locator("#state")).to_have_text("ready")
    expect(page.locator(".message")).to_have_text(["one", "two"])
    expect(text(page, "aligned", 0)).to_have_text("You grandYou said one at 2")
    expect(answer(page, "aligned")).to_have_attribute("data-status", "lost")
    expect(text(page, "aligned")).to_have_text("Half")
    expect(page.get_by_role("spinbutton", name="positive")).to_have_value("2")
    expect(page.get_by_label("System message")).to_have_value("Be kind.")
    text(page, "aligned", 0).locator(".t").nth(3).click()
    expect(page.locator("#token .alternatives .value")).to_have_text(["50 %", "25 %", "10 %"])
    answer(page, "aligned", 0).get_by_role("button", name="Previous version").click()
    expect(text(page, "aligned", 0)).to_have_text("You said one at 2")


def test_conversations_are_kept_until_they_are_deleted(page: Page) -> None:
    ask(page, "one")
    expect_finished(page)
    page.get_by_role("button", name="New").click()
    expect(page.locator(".turn")).to_have_count(0)
    ask(page, "two")
    expect_finished(page)
    page.locator("summary", has_text="Earlier").click()
    page.get_by_role("button", name="one", exact=True).click()
    expect(page.locator(".message")).to_have_text(["one"])
    page.locator("summary", has_text="Earlier").click()
    page.get_by_role("button", name="Delete: two").click()
    page.get_by_role("button", name="Delete: one").click()
    expect(page.locator(".turn")).to_have_count(0)
    kept = page.evaluate("Object.keys(localStorage)")
    assert [key for key in kept if "version" in key] == []


def test_two_tabs_of_one_conversation_show_the_same(page: Page) -> None:
    ask(page, "one")
    expect_finished(page)
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.locator(".message")).to_have_text(["one"])
    ask(other, "two")
    expect_finished(other, 4)
    expect(page.locator(".message")).to_have_text(["one", "two"])
    expect(text(page, "aligned")).to_have_text("You said two at 1")
    expect_finished(page, 4)


def test_what_others_left_in_the_storage_does_no_harm(page: Page) -> None:
    for kept in ("nonsense", "null", "[]", '{"turns": 3}'):
        page.evaluate(
            """kept => {
              localStorage["rewardshift/conversation/x"] = kept;
              localStorage["rewardshift/settings"] = kept;
            }""",
            kept,
        )
        page.reload()
        expect(page.locator("#state")).to_have_text("ready")
    ask(page, "hello")
    expect_finished(page)


def test_a_browser_that_keeps_nothing_can_be_used(open_page: Opener) -> None:
    page = open_page()
    page.add_init_script("""for (const name of ["localStorage", "sessionStorage"])
      Object.defineProperty(window, name, { get() { throw new DOMException("denied"); } });""")
    page.reload()
    ask(page, "hello")
    expect_finished(page)
    page.locator("summary", has_text="Earlier").click()
    expect(page.get_by_role("button", name="hello", exact=True)).to_be_visible()


def test_storage_that_is_full_is_said(page: Page) -> None:
    page.evaluate(
        "for (let n = 1 << 22; n > 50; n >>= 1) { try { for (let i = 0;; i += 1) "
        "localStorage.setItem(`filler${n}-${i}`, 'x'.repeat(n)); } catch {} }"
    )
    ask(page, "hello")
    expect(text(page, "aligned")).to_have_text("You said hello at 1")
    expect(page.locator("#full")).to_be_visible()


def test_a_conversation_can_be_exported(page: Page, tmp_path: Path) -> None:
    ask(page, "hello")
    expect_finished(page)
    token_of(page, "said").click()
    page.locator(".alternatives button", has_text="good").click()
    expect_finished(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export JSON").click()
    download.value.save_as(tmp_path / "saved.json")
    saved = json.loads((tmp_path / "saved.json").read_text(encoding="utf-8"))
    assert saved["model"]["model_alias"] == "scripted"
    [turn] = saved["turns"]
    assert turn["message"] == "hello"
    first, branch = turn["columns"]["aligned"]["versions"]
    assert first["text"] == "You said hello at 1"
    assert first["settings"]["strength"] == {"positive": 1}
    assert first["tokens"][1]["top"][1]["text"] == "good"
    assert branch["origin"] == {"kind": "branch", "from": first["id"], "at": 1}
    assert branch["statistics"]["acceptance"] == 0.5


# --- with the real server --------------------------------------------------------------------


def test_the_server_itself_answers_and_branches(browser: Browser, files: Files) -> None:
    app = build_app(lambda: decoder_of(files), Settings(alias="tiny"))
    with listening(app) as (host, port):
        opener = Opener(browser, f"http://{host}:{port}/")
        page = opener()
        expect(page.locator("#model")).to_have_text("tiny")
        page.get_by_label("Tokens at most").fill("0")
        page.get_by_label("Tokens at most").press("Tab")
        expect(page.get_by_label("Tokens at most")).to_have_value("1")
        expect(page.locator(".field output").first).to_have_text("1 to 32768")
        expect(page.get_by_text("decoded one after another")).to_be_visible()
        page.get_by_label("Tokens at most").fill("12")
        ask(page, "ab cd")
        expect_finished(page)
        shown = text(page, "aligned").locator(".t")
        ids = app_tokens(page)
        assert len(ids) == shown.count() == 12
        shown.nth(3).click()
        expect(page.locator("#token .about")).to_contain_text("4 of 12")
        page.locator(".alternatives button:enabled").first.click()
        expect(version_of(page)).to_have_text("2 of 2")
        expect_finished(page)
        branched = app_tokens(page)
        assert branched[:3] == ids[:3]
        assert branched[3] != ids[3]
        assert 4 < len(branched) <= 16
        opener.close()
        assert opener.complaints == []


def app_tokens(page: Page, column: str = "aligned") -> list[int]:
    """The ids of the answer that is shown, as they were saved."""
    return page.evaluate(
        """column => {
          dispatchEvent(new Event("pagehide"));
          const [conversation] = Object.keys(localStorage)
            .filter((key) => key.startsWith("rewardshift/conversation/"))
            .map((key) => JSON.parse(localStorage[key]));
          const { current } = conversation.turns.at(-1).columns[column];
          const version = JSON.parse(localStorage[`rewardshift/version/${current}`]);
          return version.tokens.map(([id]) => id);
        }""",
        column,
    )


# --- who uses it, and where ------------------------------------------------------------------


def focused(page: Page) -> str:
    """What has the focus, which must be seen to have it."""
    told = page.evaluate(
        """() => {
          const e = document.activeElement;
          const style = getComputedStyle(e.type === "radio" ? e.nextElementSibling : e);
          const isSeen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
          return [e === document.body || isSeen, e.id || e.ariaLabel || e.textContent];
        }"""
    )
    assert told[0], f"{told[1]} does not show that it has the focus"
    return str(told[1])


def tab_to(page: Page, wanted: str) -> None:
    for _ in range(40):
        page.keyboard.press("Tab")
        if focused(page).startswith(wanted):
            return
    pytest.fail(f"the Tab key does not reach {wanted}")


def test_the_keyboard_is_enough(server: ScriptedServer, page: Page) -> None:
    tab_to(page, "question")
    page.keyboard.type("hello")
    page.keyboard.press("Enter")
    expect_finished(page)
    page.evaluate("document.activeElement.blur()")
    tab_to(page, "aligned answer")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    selected = page.evaluate("document.activeElement.getAttribute('aria-activedescendant')")
    assert page.locator(f"[id='{selected}']").inner_text() == "said"
    page.keyboard.press("Enter")
    expect(page.locator("#token h2")).to_have_text("␣said")
    page.keyboard.press("Escape")
    assert focused(page).startswith("aligned answer")
    page.keyboard.press("Enter")
    tab_to(page, "good")
    page.keyboard.press("Enter")
    expect(text(page, "aligned")).to_have_text("YougoodYou said hello at 1")
    assert focused(page).startswith("aligned answer")
    tab_to(page, "slider")
    page.keyboard.press("ArrowRight")
    expect(text(page, "aligned")).to_have_text("You said hello at 1.1")
    assert len(server.requests) == 4


def expect_no_sideways_scrolling(page: Page) -> None:
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.viewport_size["width"], "the page scrolls sideways"


def test_a_phone_is_wide_enough(server: ScriptedServer, open_page: Opener) -> None:
    server.props["shifts"] = [
        {"name": name * 6, "strength": 1.0, "description": "does " + name * 40} for name in "abcde"
    ]
    server.props["model_alias"] = "a-model-of-a-very-long-name" * 4
    page = open_page(viewport=PHONE, has_touch=True)
    expect_no_sideways_scrolling(page)
    page.locator("summary", has_text="Settings").tap()
    expect_no_sideways_scrolling(page)
    page.locator("summary", has_text="Settings").tap()
    ask(page, "https://example.org/" + "long" * 100)
    expect_finished(page)
    for way in ("probability", "shift", "origin"):
        page.locator("label", has_text=way).tap()
        expect_no_sideways_scrolling(page)
    token_of(page, "said").tap()
    expect_no_sideways_scrolling(page)
    sheet, word = page.locator("#token").bounding_box(), token_of(page, "said").bounding_box()
    assert sheet is not None
    assert word is not None
    assert word["y"] + word["height"] <= sheet["y"], "the sheet covers what it is about"
    server.die()
    page.locator("#token").press("Escape")
    ask(page, "there?")
    expect(page.locator("#banner")).to_be_visible()
    expect_no_sideways_scrolling(page)


CONTRAST = """e => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const luminance = (colours) => {
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3)
      .map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = [];
  for (let x = e; x; x = x.parentElement) behind.unshift(getComputedStyle(x).backgroundColor);
  const [a, b] = [luminance(behind), luminance([...behind, getComputedStyle(e).color])];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_by_day_and_by_night(open_page: Opener, scheme: str) -> None:
    page = open_page(color_scheme=scheme)
    ask(page, "hello")
    expect_finished(page)
    token_of(page, "said").click()
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    is_dark = max(map(int, re.findall(r"\d+", ground))) < 64
    assert is_dark == (scheme == "dark")
    for way in ("origin", "probability", "shift"):
        page.locator(f'[name=colour][value="{way}"]').check()
        for where in page.locator("#legend .t").all():
            assert where.evaluate(CONTRAST) >= 4.5, (way, where.inner_text())
    places = ".message, .t, .how, h3, dt, dd, th, td, .about, .hint, .slider p, #send, .state, p"
    for where in page.locator(places).filter(visible=True).all():
        assert where.evaluate(CONTRAST) >= 4.5, where.evaluate("e => e.outerHTML")


def test_nothing_moves_for_those_who_asked_for_that(
    server: ScriptedServer, open_page: Opener
) -> None:
    async def script(_: dict[str, Any], us: ScriptedServer) -> AsyncIterator[dict[str, Any]]:
        yield says(token("Half", "bonus"))
        await us.until(threading.Event())

    server.script = script
    caret = "e => getComputedStyle(e, '::after').animationName"
    for motion, name in (("reduce", "none"), ("no-preference", "blink")):
        page = open_page(reduced_motion=motion)
        ask(page, "hello")
        expect(text(page, "aligned")).to_have_text("Half")
        assert text(page, "aligned").evaluate(caret) == name


def test_what_the_server_answers_is_listed_and_nothing_comes_from_elsewhere(
    files: Files, browser: Browser
) -> None:
    app = build_app(lambda: decoder_of(files), Settings())
    with listening(app) as (host, port):
        opener = Opener(browser, f"http://{host}:{port}/docs")
        page = opener(ready=False)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.reload()
        told = app.openapi()
        endpoints = [(m, p) for p, methods in told["paths"].items() for m in methods]
        expect(page.locator("#endpoints section")).to_have_count(len(endpoints))
        chat = page.locator("#post-v1-chat-completions")
        fields = told["components"]["schemas"]["ChatRequest"]["properties"]
        expect(chat.locator("tr")).to_have_count(len(fields))
        expect(chat.locator("tr", has_text="strength")).to_contain_text("number, object")
        expect(chat.locator("tr", has_text="messages")).to_contain_text("required")
        page.locator("#contents a", has_text="/v1/score").click()
        expect(page.locator("#post-v1-score")).to_be_in_viewport()
        expect_no_sideways_scrolling(opener(ready=False, viewport=PHONE))
        opener.close()
    assert opener.complaints == []
    assert {url.split("/")[2] for url in asked} == {f"{host}:{port}"}
