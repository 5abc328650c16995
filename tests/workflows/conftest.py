"""The client of the running ComfyUI."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from consistent_face.api.comfyui.client import Comfy
from consistent_face.tools.server import ComfyServer


@pytest.fixture
async def client(comfy: ComfyServer) -> AsyncIterator[Comfy]:
    async with aiohttp.ClientSession() as session:
        yield Comfy(comfy.url, session)
