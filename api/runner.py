"""Runs one job: from its row to its pictures, whatever an earlier attempt left behind."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from .comfy import Comfy, ComfyError, LostError, TimedOutError, UnreachableError
from .graph import TemplateError, fill, load, photo_name
from .order import Job, OrderError
from .parts import Part, cut, parts
from .service import Service
from .tables import JobRow

LOG = logging.getLogger("consistent_face.runner")
FILE_LOST = "A file of this job cannot be read or written: send the request again, or tell the operator the job's id."
WATCH = 0.5  # seconds between two looks at the cancel flag


class SupersededError(Exception):
    """Another attempt runs this job now: nothing of this one may be written."""


class RunError(Exception):
    """The job has failed for good."""

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind


class CancelledRunError(Exception):
    """ComfyUI ended the run because someone cancelled it."""


async def run_job(row: JobRow, service: Service, comfy: Comfy) -> JobRow | None:
    """Runs a claimed job to its end. A run that ComfyUI already has is adopted, not queued again.

    The result becomes visible in the compare-and-set of `store.succeed`; whoever loses it writes nothing.
    Gives the ended job; None when it is not this attempt's to end, or goes back to the queue.
    Raises UnreachableError, with the job back in the queue, when ComfyUI does not answer, and StorageError, with the
    job still running, when its pictures cannot be stored.
    """
    store, keep = service.store, service.settings.retention_s
    try:
        outputs, seconds = await _pictures(row, service, comfy)
        return store.succeed(row.id, row.attempt, outputs, seconds, keep)
    except SupersededError:
        return None
    except CancelledRunError:
        return store.cancelled(row.id, row.attempt, keep)
    except LostError:
        store.requeue(row.id, row.attempt)
    except UnreachableError:
        store.requeue(row.id, row.attempt)
        raise
    except RunError as error:
        return store.fail(row.id, row.attempt, error.kind, str(error), keep)
    except (ComfyError, OrderError, TemplateError) as error:
        return store.fail(row.id, row.attempt, type(error).__name__, str(error), keep)
    except OSError as error:  # whose text names folders of this machine
        LOG.error("A file of a job", exc_info=error, extra={"job": row.id})
        return store.fail(row.id, row.attempt, type(error).__name__, FILE_LOST, keep)
    return None


async def _pictures(row: JobRow, service: Service, comfy: Comfy) -> tuple[list[dict], float]:
    outputs: list[dict] = []
    seconds = 0.0
    for part in parts(service.order(row), service.settings.max_batch):
        job = await _run_part(row, part, service, comfy)
        for number, picture in enumerate(job.pictures, start=len(outputs)):
            unsafe = job.unsafe[number - part.first] if number - part.first < len(job.unsafe) else False
            outputs.append(await _deliver(row, number, await comfy.picture(picture), unsafe, service))
        seconds += job.seconds or 0.0
        if part.first + part.count < part.total and not service.store.part_done(row.id, row.attempt):
            raise SupersededError
    if not outputs:
        raise RunError("Exception", "ComfyUI ended the workflow without a picture.")
    return outputs, seconds


async def _run_part(row: JobRow, part: Part, service: Service, comfy: Comfy) -> Job:
    if row.attempt == 1 or await comfy.job(part.id) is None:  # nobody gave it to ComfyUI before a first attempt
        await _post(row, part, service, comfy)
    async with _watched(row, part, service, comfy) as seen:
        try:
            job = await comfy.wait(part.id, service.settings.job_timeout, seen)
        except TimedOutError:
            await comfy.cancel(part.id)
            raise
    if job.state == "cancelled":
        raise CancelledRunError
    if job.failure is not None:
        raise RunError(job.failure.kind, job.failure.message)
    return job


async def _post(row: JobRow, part: Part, service: Service, comfy: Comfy) -> None:
    """Gives a prompt to ComfyUI, counted before: a job that takes ComfyUI down with it must not do so for ever."""
    current = service.store.posting(row.id, row.attempt)
    if current is None:
        raise SupersededError
    if current.cancel:
        raise CancelledRunError
    if current.posts > service.settings.max_posts:
        raise RunError("LostError", f"ComfyUI was lost {service.settings.max_posts} times while this job ran.")
    order = service.order(row)
    filled = fill(order, load(order.workflow, service.settings.workflows))
    graph = cut(filled, order.workflow, part)
    for parameter, photo in order.photos.items():
        await comfy.upload(photo, photo_name(order, parameter))
    await comfy.queue(part.id, graph)


async def _deliver(row: JobRow, number: int, content: bytes, unsafe: bool, service: Service) -> dict:
    """Stores a picture under a name that every attempt gives it; what it replaces is the same picture."""
    name, storage = row.output(number), service.storage(row)
    whole, small = await service.decoding.forms(row.key_id, content, row.delivery)
    await storage.put(name, whole)
    if small is None:
        return {"name": name, "low": name, "unsafe": unsafe}
    low = row.low_output(number)
    await storage.put(low, small)
    return {"name": name, "low": low, "unsafe": unsafe}


class _Progress:
    """The percent of a job, as the sampling steps tell it: the node with the most steps of a part counts."""

    def __init__(self, part: Part):
        self._part, self._largest, self.percent = part, 1.0, 0

    def __call__(self, title: str, value: float, maximum: float) -> None:
        if maximum < self._largest or maximum <= 1:
            return
        self._largest = maximum
        done = self._part.first + self._part.count * value / maximum
        self.percent = max(self.percent, min(99, int(100 * done / self._part.total)))


@contextlib.asynccontextmanager
async def _watched(row: JobRow, part: Part, service: Service, comfy: Comfy) -> AsyncIterator[_Progress]:
    """Takes down progress and passes on a cancellation, for as long as the run is waited for."""
    seen = _Progress(part)

    async def watch() -> None:
        told = 0
        while True:
            await asyncio.sleep(WATCH)
            current = service.store.get(row.id)
            if current is None or current.cancel:
                with contextlib.suppress(ComfyError):
                    await comfy.cancel(part.id)
            elif seen.percent > told and service.store.progress(row.id, row.attempt, seen.percent):
                told = seen.percent

    watcher = asyncio.create_task(watch())
    try:
        yield seen
    finally:
        watcher.cancel()
