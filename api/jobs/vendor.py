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
    """A vendor's API. `refuse` formats an error as the vendor does; `webhook` builds the body that reports a job's end.

    Paths that begin with `prefix` belong to the vendor; among several matching prefixes the longest one counts.
    """

    name: str
    prefix: str
    router: APIRouter
    refuse: Callable[[Request, ServiceError], JSONResponse]
    webhook: Callable[[JobRow, "Service"], Awaitable[dict[str, Any]]] | None = None
