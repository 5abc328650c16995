"""Stores a run's pictures in their delivery format."""

from ..database.tables import JobRow
from .service import Service


async def deliver(row: JobRow, number: int, content: bytes, unsafe: bool, service: Service) -> dict:
    """Stores a picture and returns its entry of JobRow.outputs. Each attempt uses the same name: it may replace it."""
    name, storage = row.output(number), service.storage(row)
    whole, small = await service.decoding.forms(row.key_id, content, row.delivery)
    await storage.put(name, whole)
    if small is None:
        return {"name": name, "low": name, "unsafe": unsafe}
    low = row.low_output(number)
    await storage.put(low, small)
    return {"name": name, "low": low, "unsafe": unsafe}
