"""The interface of a vendor module: `app` registers the vendors, and lower layers use only this class."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from ..base.errors import ServiceError
from ..database.tables import JobRow

if TYPE_CHECKING:
    from .service import Service


@dataclass(frozen=True)
class Vendor:
    """`refuse` gives an error the vendor's shape; `webhook` makes the body that reports the end of a job.

    Paths that begin with `prefix` are the vendor's; of several prefixes that fit, the longest one counts.
    """

    name: str
    prefix: str
    router: APIRouter
    refuse: Callable[[Request, ServiceError], JSONResponse]
    webhook: Callable[[JobRow, "Service"], Awaitable[dict[str, Any]]] | None = None
