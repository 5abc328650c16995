"""Stores a run's pictures in the form in which they leave."""

import asyncio

from .pictures import deliverable, low_res
from .service import Service
from .tables import JobRow


async def deliver(row: JobRow, number: int, content: bytes, unsafe: bool, service: Service) -> dict:
    """Stores a picture under a name that every attempt gives it; what it replaces is the same picture."""
    name, storage = row.output(number), service.storage(row)
    whole, small = await asyncio.to_thread(_forms, content, row.delivery)
    await storage.put(name, whole)
    if small is None:
        return {"name": name, "low": name, "unsafe": unsafe}
    low = row.low_output(number)
    await storage.put(low, small)
    return {"name": name, "low": low, "unsafe": unsafe}


def _forms(content: bytes, delivery: dict) -> tuple[bytes, bytes | None]:
    """The picture as it is delivered, and its low-resolution copy where one is wanted and makes a difference."""
    return deliverable(content, delivery["format"]), low_res(content) if delivery["low_res"] else None
