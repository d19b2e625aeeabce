"""Headless Chromium for tests of the pages: fixture `browser`, and checks that every page must pass."""

from __future__ import annotations

import shutil
from contextlib import contextmanager

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES = {"wide": {"width": 1280, "height": 900}, "narrow": {"width": 390, "height": 844}}

# what screen readers would have nothing to say about, and what is wider than the page
NAMELESS = """() => [...document.querySelectorAll(
    'a[href], button, input:not([type=hidden]), select, textarea, summary, [role=button], [tabindex="0"]')]
  .filter((e) => e.checkVisibility())
  .filter((e) => {
    const by = (e.getAttribute('aria-labelledby') || '').split(' ').map((id) => document.getElementById(id));
    const words = [e.getAttribute('aria-label'), e.title, ...[...by, ...(e.labels || [])]
      .map((n) => n && n.textContent), e.matches('input, select, textarea') ? '' : e.textContent];
    return !words.some((w) => w && w.trim());
  }).map((e) => e.outerHTML.slice(0, 120))"""
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


def executable():
    return next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="session")
def playwright():
    """Playwright's synchronous API; skips where it or the browser is missing."""
    api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    if executable() is None:
        pytest.skip("no Chromium: install one of " + ", ".join(NAMES))
    with api.sync_playwright() as running:
        yield running


@pytest.fixture(scope="session")
def browser(playwright):
    """Chromium without a profile, one for all tests."""
    browser = playwright.chromium.launch(executable_path=executable(), args=ARGUMENTS)
    yield browser
    browser.close()


@contextmanager
def profile(playwright, folder, **options):
    """Chromium with a profile that is kept in `folder`, as on a user's machine."""
    context = playwright.chromium.launch_persistent_context(
        folder, executable_path=executable(), args=ARGUMENTS, **options
    )
    try:
        yield context
    finally:
        context.close()


def watch(page):
    """Collect what the page complains about."""
    complaints = []
    page.on("console", lambda m: m.type in ("error", "warning") and complaints.append(m.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return complaints


def check_page(page):
    """Fail where the page is wider than the window or a control has no accessible name."""
    assert page.evaluate(OVERFLOW) <= 0
    assert page.evaluate(NAMELESS) == []
