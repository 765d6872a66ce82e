"""Pages in a real browser without a window and without a network, through playwright."""

import contextlib
import os
import shutil
import time

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # no name leads anywhere, so a page that asks the network for something fails
    "--host-resolver-rules=MAP * ~NOTFOUND",
)


def find_browser() -> str | None:
    """The browser that CHROME_BIN names, or the first one on the PATH."""
    return os.environ.get("CHROME_BIN") or next(filter(None, map(shutil.which, NAMES)), None)


@contextlib.contextmanager
def open_browser():
    """Start a browser (``playwright.sync_api.Browser``); the test is skipped where there is none, or no playwright."""
    api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install 'effowt_d2[browser]'")
    command = find_browser()
    if command is None:
        pytest.skip(f"no browser: install Chromium or Chrome ({', '.join(NAMES)} on the PATH) or set CHROME_BIN")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=command, args=list(ARGUMENTS))
        yield browser
        browser.close()


@contextlib.contextmanager
def open_page(browser, dark: bool = False):
    """A fresh page (``playwright.sync_api.Page``).

    On leaving it must have had no errors, and have asked for nothing but files, of which there was one at least.
    """
    look = dict(color_scheme="dark" if dark else "light", viewport=dict(width=1200, height=900))
    with browser.new_context(offline=True, **look) as context:
        page, errors, requests = context.new_page(), [], []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: requests.append(request.url))
        yield page
    assert errors == []
    schemes = {url.split(":", 1)[0] for url in requests}
    assert "file" in schemes <= {"file", "data", "about", "blob"}, requests


def click_at(page, selector: str, x: float, y: float = 0.5) -> None:
    """Click on an element at a point given in fractions of its size."""
    element = page.locator(selector)
    element.scroll_into_view_if_needed()
    box = element.bounding_box()
    page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])


def wait_for(page, expression: str, seconds: float = 30.0) -> None:
    """Wait until a JavaScript expression is true.

    ``page.wait_for_function`` evaluates in the page, which the content security policy of the report refuses.
    """
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"not within {seconds} s: {expression}"
        page.wait_for_timeout(30)
