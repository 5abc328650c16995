"""Chromium, and the editor in both front ends that are supported."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from consistent_face.tests.web.editor import Editor
from consistent_face.tests.web.editor import editor as opened
from consistent_face.tools import chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium.find(), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(params=["comfy", "comfy_new_front"])
def editor(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Editor]:
    with opened(browser, request.getfixturevalue(request.param)) as editor:
        yield editor
