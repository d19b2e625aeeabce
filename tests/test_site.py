"""The built pages in headless Chromium: `make docs` builds them, without them there is nothing to look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from ._browser import SIZES, check_page, watch

SITE = Path(__file__).parents[1] / "docs" / "_build" / "html"
PAGES = [
    "index",
    "guide/idea",
    "guide/maps",
    "how-good",
    "api/metrics",
    "generated/skecgattn.AttentionECGClassifier",
    "auto_examples/index",
    "auto_examples/getting_started/plot_quickstart",
]

pytestmark = pytest.mark.skipif(
    not (SITE / "index.html").exists(), reason="the pages are not built: make docs"
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_pages_look_right(browser, size, scheme):
    page = browser.new_page(viewport=SIZES[size], color_scheme=scheme)
    complaints, asked = watch(page), []
    page.on("request", lambda request: asked.append(request.url))
    for name in PAGES:
        page.goto((SITE / f"{name}.html").as_uri())
        check_page(page)
        assert page.evaluate("document.documentElement.dataset.theme") == scheme, name
        broken = "[...document.images].filter((i) => i.complete && !i.naturalWidth).map((i) => i.src)"
        assert page.evaluate(broken) == [], name
        assert complaints == [], name
    page.close()
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
