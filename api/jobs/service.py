"""The objects that requests and runners share, made from the settings alone: any process may make its own."""

import asyncio
import json
import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import aiohttp
from limits import parse

from ..base.errors import BusyError, UnusableBucketError
from ..base.limits import Rates, Slots
from ..base.order import Order, Value
from ..base.settings import Settings
from ..database.keys import Keys
from ..database.outbox import Due
from ..database.tables import OPERATORS, JobRow
from ..database.tables import Bucket as BucketRow
from ..database.transitions import Store
from ..database.waiting import Waiting
from ..media.decoding import Decoding
from ..media.intake import Intake
from ..media.storage import CALL, Bucket, BucketAccess, Disk, Storage
from ..security.public_addresses import guarded_session
from ..security.secrets import Seal
from .exclusive_runs import Gate
from .metrics import Metrics
from .vendor import Vendor

LOG = logging.getLogger("consistent_face.jobs")
STRANGERS = 32, 4, 10.0  # large bodies read before their key is known: in all, per address, seconds to wait
KNOWN = 64, 8, 30.0  # large bodies of known keys: in all, per key, seconds to wait
STORING = 256, 4, None  # jobs that store pictures in a key's own bucket: in all, per key; they wait without limit
FETCHING = 64, 8, 30.0  # requests that fetch photos by URL, until the photos are decoded: in all, per key, seconds
BUCKETS = 256  # keys' buckets that are kept open


class Service:
    """The shared objects of one process. Create it inside a running event loop, and close it."""

    def __init__(self, settings: Settings, vendors: Sequence[Vendor] = ()):
        self.settings = settings
        self.vendors = {vendor.name: vendor for vendor in vendors}
        self.seal = Seal.load(settings.data)
        self.store = Store(settings.data)
        self.keys = Keys(self.store)
        self.waiting = Waiting(self.store)
        self.metrics = Metrics(self.store)
        self.strangers, self.known, self.fetching = Slots(*STRANGERS), Slots(*KNOWN), Slots(*FETCHING)
        self.reading = Slots(1, 1, None)  # callers' turns at the one thread that parses large bodies
        self.bell = asyncio.Condition()  # notified for each new job: one worker wakes
        self.hooks_due = asyncio.Event()  # set when a webhook may be owed
        self.to_clean = asyncio.Event()  # set when a job has ended
        self.out = guarded_session(settings.allow_loopback, settings.fetch_timeout)
        self.to_receivers = guarded_session(settings.allow_loopback, settings.webhook_timeout)
        self.to_buckets = guarded_session(settings.allow_loopback, CALL)
        self.inside = aiohttp.ClientSession()  # to ComfyUI and the operator's bucket
        self.intake = Intake(settings, self.out)
        self.decoding = Decoding(settings)
        self.disk = Disk(settings.data / "results", settings.base_url, self.seal)
        self.photos = settings.data / "photos"
        self.photos.mkdir(exist_ok=True)
        self._rates = Rates()
        self.on_their_way: dict[Due, asyncio.Task[None]] = {}  # webhooks
        self.unstored: Counter[str] = Counter()  # how often a job's pictures could not be stored
        self.given: dict[str, Counter[str]] = {}  # job -> part -> how often an unfinished part was queued
        self.gate = Gate()  # for all runs
        self.storing = Slots(*STORING)
        self.at_work: set[asyncio.Task[object]] = set()  # jobs that run or store pictures
        self.faulty: set[str] = set()  # jobs whose cleaning fails: each is logged once
        self.later: set[asyncio.Task[None]] = set()  # jobs that pause before the next attempt
        self._bucket = lru_cache(BUCKETS)(self._opened)

    async def close(self) -> None:
        for task in self.later:
            task.cancel()
        await asyncio.to_thread(self.decoding.close)
        for session in (self.out, self.to_receivers, self.to_buckets, self.inside):
            await session.close()
        self.store.close()

    def vendor_of(self, path: str) -> Vendor:
        """The vendor of a path: errors have its format."""
        fitting = (vendor for vendor in self.vendors.values() if path.startswith(vendor.prefix))
        return max(fitting, key=lambda vendor: len(vendor.prefix))

    def limit(self, what: str, who: str, rate: str) -> None:
        """Counts that `who` does `what`. Raises BusyError beyond the rate."""
        if wait := self._rates.wait(_parsed(rate), what, who):
            raise BusyError(f"Rate limit exceeded: {rate.replace('/', ' requests a ')}.", math.ceil(wait))

    def order(self, row: JobRow) -> Order:
        photos = {parameter: self.photos / name for parameter, name in row.photos.items()}
        values: Mapping[str, Value | None] = {**row.values, **self.settings.models.get(row.workflow, {})}
        return Order(row.workflow, values, photos, row.id)

    def storage(self, row: JobRow) -> Storage:
        """The storage of this job's results. Raises UnusableBucketError."""
        return self._bucket(row.bucket) if row.bucket else self.disk

    def links(self, row: JobRow, names: Sequence[str]) -> list[str]:
        """The links of these results; empty if the key's bucket cannot be opened, so that the job is still shown."""
        try:
            storage = self.storage(row)
        except UnusableBucketError:
            return []
        return [storage.link(name, row.expires) for name in names]

    def bucket_for(self, key_id: str) -> str:
        """The value of `row.bucket` for a key's new job, which later changes of the key's bucket do not affect."""
        with self.store.read() as session:
            if (own := session.get(BucketRow, key_id)) is not None:
                return own.sealed
        return OPERATORS if self.settings.s3_bucket else ""

    def set_bucket(self, key_id: str, access: BucketAccess | None) -> None:
        with self.store.write() as session:
            if (row := session.get(BucketRow, key_id)) is not None:
                session.delete(row)
                session.flush()
            if access is not None:
                session.add(BucketRow(key_id=key_id, sealed=self.seal.close(access.text())))

    async def ring(self) -> None:
        async with self.bell:
            self.bell.notify()

    def ended(self, row: JobRow) -> None:
        """Notifies waiting requests, then the sweep, the metrics and the webhooks, that a job has ended."""
        self.waiting.tell(row)
        self.unstored.pop(row.id, None)
        self.given.pop(row.id, None)
        self.to_clean.set()
        self.metrics.job(row)
        if row.webhook is not None:
            self.hooks_due.set()
        LOG.info("%s %s", row.state, row.error or "", extra={"job": row.id, "seconds": row.seconds})

    def _opened(self, bucket: str) -> Storage:
        if bucket == OPERATORS:
            return Bucket(self._operators_access(), self.inside)
        try:
            access = BucketAccess(**json.loads(self.seal.open(bucket)))
        except (ValueError, TypeError) as error:
            raise UnusableBucketError(
                "The bucket of this job cannot be opened, because its access data cannot be read: send update_s3 again."
            ) from error
        opened = Bucket(access, self.to_buckets)
        opened.check()
        return opened

    def _operators_access(self) -> BucketAccess:
        settings = self.settings
        return BucketAccess(
            settings.s3_bucket or "",
            settings.s3_region,
            settings.s3_endpoint,
            settings.s3_access_key_id or "",
            settings.s3_secret_access_key or "",
        )


_parsed = lru_cache(parse)


def remove_photos(row: JobRow, folder: Path) -> None:
    for name in row.photos.values():
        (folder / name).unlink(missing_ok=True)
