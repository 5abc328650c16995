"""Runs one job: takes its row, returns its pictures, and copes with the state that an earlier attempt left."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable

from ..base.order import Job, OrderError
from ..comfyui.client import Comfy, ComfyError, LostError, TimedOutError, UnreachableError
from ..comfyui.workflow import TemplateError, fill, load, photo_name
from ..database.tables import JobRow
from .batches import Part, cut, parts
from .results import deliver
from .service import Service

LOG = logging.getLogger("consistent_face.runner")
FILE_LOST = "A file of this job cannot be read or written: send the request again, or tell the operator the job's id."
ALONE_AFTER = 2  # losses of a run, for any reason
WATCH = 0.5  # seconds between two checks of the cancel flag


class SupersededError(Exception):
    """Another attempt runs this job: this one must not write anything."""


class RunError(Exception):
    """The job failed and is not tried again."""

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind


class CancelledRunError(Exception):
    """ComfyUI ended the run because someone cancelled it."""


async def run_job(row: JobRow, service: Service, comfy: Comfy, ran: Callable[[], None]) -> JobRow | None:
    """Runs a claimed job to its end. A run that ComfyUI already has is followed, not queued again.

    `ran` is called when ComfyUI has finished and the pictures are not stored yet.

    Returns the ended job; None if another attempt runs it, or if it is queued again.
    Raises UnreachableError if ComfyUI does not answer (the job is queued again), and StorageError if the pictures
    cannot be stored (the job is still running).
    """
    store, keep = service.store, service.settings.retention_s
    try:
        service.storage(row)  # checked first: a run whose results cannot be stored would delay other jobs
        outputs, seconds = await _pictures(row, service, comfy, ran)
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
    except OSError as error:  # not its own text, which has paths of this machine
        LOG.error("A file of a job cannot be read or written", exc_info=error, extra={"job": row.id})
        return store.fail(row.id, row.attempt, type(error).__name__, FILE_LOST, keep)
    return None


async def _pictures(row: JobRow, service: Service, comfy: Comfy, ran: Callable[[], None]) -> tuple[list[dict], float]:
    """Runs all parts and stores their pictures. Those for a key's own bucket, which may be slow, are stored at the end.

    By then ComfyUI can run the next job. Few jobs per key are stored at the same time.
    """
    outputs: list[dict] = []
    later: list[tuple[Part, Job]] = []
    seconds = 0.0
    for part in parts(service.order(row), service.settings.max_batch):
        job = await _run_part(row, part, service, comfy)
        seconds += job.seconds or 0.0
        if row.in_own_bucket:
            later.append((part, job))
        else:
            outputs += await _stored(row, part, job, service, comfy)
        if part.first + part.count < part.total and not service.store.part_done(row.id, row.attempt):
            raise SupersededError
    ran()
    if later:
        async with service.storing.held(row.key_id):
            for part, job in later:
                outputs += await _stored(row, part, job, service, comfy)
    if not outputs:
        raise RunError("Exception", "ComfyUI ended the workflow without a picture.")
    return outputs, seconds


async def _stored(row: JobRow, part: Part, job: Job, service: Service, comfy: Comfy) -> list[dict]:
    outputs: list[dict] = []
    for number, picture in enumerate(job.pictures):
        if (current := service.store.get(row.id)) is None or current.cancel:
            raise CancelledRunError
        unsafe = number < len(job.unsafe) and job.unsafe[number]
        outputs.append(await deliver(row, part.first + number, await comfy.picture(picture), unsafe, service))
    return outputs


async def _run_part(row: JobRow, part: Part, service: Service, comfy: Comfy) -> Job:
    """Runs one part. A run that ComfyUI lost several times may crash it: such a run passes the gate alone.

    A loss is then its own fault and counts. Among other runs a loss counts only if the run had begun.
    """
    if row.attempt > 1 and await comfy.job(part.id) is not None:  # at the first attempt ComfyUI cannot have it
        async with service.gate.passed(alone=False):
            return await _followed(row, part, service, comfy, counted=row.posts > 0)
    given = service.given.setdefault(row.id, Counter())
    alone = given[part.id] >= ALONE_AFTER
    async with service.gate.passed(alone):
        await _post(row, part, service, comfy, alone)
        given[part.id] += 1
        job = await _followed(row, part, service, comfy, counted=alone)
    given.pop(part.id, None)
    return job


async def _followed(row: JobRow, part: Part, service: Service, comfy: Comfy, counted: bool) -> Job:
    def began() -> None:
        nonlocal counted
        if not counted:
            counted = service.store.posting(row.id, row.attempt) is not None

    async with _watched(row, part, service, comfy) as seen:
        try:
            job = await comfy.wait(part.id, service.settings.job_timeout, seen, began)
        except TimedOutError:
            await comfy.cancel(part.id)
            raise
    if job.state == "cancelled":
        raise CancelledRunError
    if job.failure is not None:
        raise RunError(job.failure.kind, job.failure.message)
    return job


async def _post(row: JobRow, part: Part, service: Service, comfy: Comfy, alone: bool) -> None:
    """Queues a prompt in ComfyUI. One that runs alone counts at once: ComfyUI may crash before it reports the start."""
    store, most = service.store, service.settings.max_posts
    current = store.running(row.id, row.attempt)
    if current is None:
        raise SupersededError
    if current.cancel:
        raise CancelledRunError
    if current.posts >= most:
        raise RunError("LostError", f"ComfyUI was lost {most} times while this job ran.")
    if alone and store.posting(row.id, row.attempt) is None:
        raise SupersededError
    order = service.order(row)
    filled = fill(order, load(order.workflow, service.settings.workflows))
    graph = cut(filled, order.workflow, part)
    for parameter, photo in order.photos.items():
        await comfy.upload(photo, photo_name(order, parameter))
    await comfy.queue(part.id, graph)


class _Progress:
    """Computes the percent of a job from the sampling steps: the node with the most steps of a part counts."""

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
    """Writes the progress to the row and passes a cancellation to ComfyUI while the block runs."""
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
