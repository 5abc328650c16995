"""/docs in a browser that reaches nothing but the service: it opens, and sends a vendor's own example."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Route, sync_playwright

from consistent_face.tests.api.conftest import Running
from consistent_face.tools import chromium


@pytest.fixture
def page(idle: Running) -> Iterator[Page]:
    def pass_on(route: Route) -> None:
        if route.request.url.startswith((idle.url, "data:")):
            route.continue_()
        else:
            beyond.append(route.request.url)
            route.abort()

    beyond: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.find(), args=["--no-sandbox"])
        opened = browser.new_page()
        opened.route("**/*", pass_on)
        yield opened
        browser.close()
    assert beyond == []


def test_docs_send_an_example_without_the_internet(idle: Running, page: Page) -> None:
    page.goto(f"{idle.url}/docs")
    page.locator("#operations-Segmind-consistent_character_v1_consistent_character_ai_neolemon_post").wait_for()
    page.goto(f"{idle.url}/docs/qolaba")
    status = page.locator("#operations-Qolaba-status_getImage_post")
    status.click()
    status.get_by_role("button", name="Try it out").click()
    assert "8c3ef6ea-1c44-4d69-91cb-fc11971a65d1" in status.locator("textarea").input_value()
    status.get_by_role("button", name="Execute").click()
    answer = status.locator(".live-responses-table tbody .response")
    answer.wait_for()
    assert "404" in answer.inner_text() and "There is no task 8c3ef6ea" in answer.inner_text()
