"""Sends the webhooks of the outbox: at least once, under a stable id, signed as Standard Webhooks specifies."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import logging
import time
from functools import partial

import aiohttp
from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError

from ..base.errors import ServiceError
from ..database.outbox import Due, chosen, due
from ..database.tables import Hook
from ..security.public_addresses import NETWORK
from ..security.urls import host_of
from .service import Service

LOG = logging.getLogger("consistent_face.webhooks")
LOOK_AGAIN = 1.0  # seconds
GATHER = 0.02  # seconds: webhooks that become due within this time are read together
AFTER_A_FAULT = 5.0  # seconds
LONGEST_PAUSE = 3600.0
MOST_DOUBLINGS = 20
AFTER_EXPIRY = "The job is gone."


async def deliver(service: Service) -> None:
    """Sends due webhooks until cancelled, each in its own task."""
    try:
        while True:
            service.hooks_due.clear()  # cleared first: a webhook that comes during the query sets it again
            on_their_way = service.on_their_way
            candidates = await asyncio.to_thread(_due, service, [one.hook.job_id for one in on_their_way])
            for one in chosen(candidates, on_their_way):
                task = asyncio.create_task(send(one.hook, service))
                on_their_way[one] = task
                task.add_done_callback(partial(_arrived, service, one))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(service.hooks_due.wait(), LOOK_AGAIN)
                await asyncio.sleep(GATHER)
    except asyncio.CancelledError:
        for task in service.on_their_way.values():
            task.cancel()
        await asyncio.gather(*service.on_their_way.values(), return_exceptions=True)
        raise


def _arrived(service: Service, one: Due, task: asyncio.Task[None]) -> None:
    """Ends an attempt. The same webhook may be sent again only now, after its result was written."""
    service.on_their_way.pop(one, None)
    service.hooks_due.set()
    if not task.cancelled() and (fault := task.exception()) is not None:
        LOG.error("A webhook could not be sent", exc_info=fault, extra={"job": one.hook.job_id})


async def send(hook: Hook, service: Service) -> None:
    """Makes one attempt and writes its result. Any 2xx counts as delivered; redirects are not followed."""
    try:
        answer = await _post(hook, service)
        delivered = answer is not None and 200 <= answer < 300
        met = AFTER_EXPIRY if answer is None else f"HTTP {answer}"
    except NETWORK as error:
        answer, delivered, met = 0, False, type(error).__name__
    except ServiceError as error:
        answer, delivered, met = 0, False, error.message
    except Exception as error:  # an internal error counts as a failed attempt and must not stop the others
        LOG.error("A webhook could not be built", exc_info=error, extra={"job": hook.job_id})
        answer, delivered, met = 0, False, type(error).__name__
    gone = answer is None or answer == 410
    dead = not delivered and (gone or hook.attempts + 1 >= service.settings.webhook_attempts)
    state = "delivered" if delivered else "dead" if dead else "owed"
    await _noted(hook, service, state, met)
    service.metrics.webhooks.labels(state).inc()
    LOG.info("webhook to %s: %s (%s)", host_of(hook.url), state, met, extra={"job": hook.job_id})


async def _noted(hook: Hook, service: Service, state: str, met: str) -> None:
    """Writes the result of an attempt, and retries until it is written: otherwise the attempt would be repeated."""
    pause = min(service.settings.webhook_backoff * 2 ** min(hook.attempts, MOST_DOUBLINGS), LONGEST_PAUSE)
    while True:
        try:
            return await asyncio.to_thread(_note, service, hook, state, met, time.time() + pause)
        except SQLAlchemyError as error:
            LOG.error("The outbox cannot be written", exc_info=error, extra={"job": hook.job_id})
            await asyncio.sleep(AFTER_A_FAULT)


def signed(identity: str, moment: int, body: bytes, secret: bytes) -> dict[str, str]:
    """The headers of Standard Webhooks, version 1; `moment` in seconds since 1970."""
    content = f"{identity}.{moment}.".encode() + body
    signature = base64.b64encode(hmac.new(secret, content, hashlib.sha256).digest()).decode()
    return {"webhook-id": identity, "webhook-timestamp": str(moment), "webhook-signature": f"v1,{signature}"}


def redeliver(service: Service, job_id: str | None) -> int:
    """Queues the webhooks that were given up, or one job's in any state; returns their number."""
    which = Hook.state == "dead" if job_id is None else Hook.job_id == job_id
    with service.store.write() as session:
        again = update(Hook).where(which).values(state="owed", attempts=0, due=time.time())
        return session.execute(again).rowcount  # type: ignore[attr-defined]


async def _post(hook: Hook, service: Service) -> int | None:
    """Sends a webhook; returns the HTTP status, or None if the job was deleted."""
    row = await asyncio.to_thread(service.store.get, hook.job_id)
    if row is None:
        return None
    report = service.vendors[row.vendor].webhook
    if report is None:
        raise ServiceError(f"{row.vendor} documents no webhooks.")
    body = json.dumps(await report(row, service)).encode()
    headers = signed(hook.job_id, int(time.time()), body, service.seal.webhook_secret(row.key_id))
    headers |= {"Content-Type": "application/json", "User-Agent": "consistent-face"}
    timeout = aiohttp.ClientTimeout(total=service.settings.webhook_timeout)
    async with service.to_receivers.post(
        hook.url, data=body, headers=headers, allow_redirects=False, timeout=timeout
    ) as answer:
        return answer.status


def _due(service: Service, on_their_way: list[str]) -> list[Due]:
    with service.store.read() as session:
        return due(session, time.time(), on_their_way)


def _note(service: Service, hook: Hook, state: str, met: str, due: float) -> None:
    with service.store.write() as session:
        values = {"state": state, "answer": met, "attempts": Hook.attempts + 1, "due": due}
        session.execute(update(Hook).where(Hook.job_id == hook.job_id).values(values))
