"""Creates, lists, revokes and recognizes API keys."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select, update

from ..base.errors import ForbiddenError, KeyRefusedError
from .engine import Database
from .tables import OPEN, Key

SCOPES = ("admin", "safety_off")  # read the metrics; switch off the safety check
UNLIMITED = 999_999  # the value of x-remaining-credits for unlimited credits


@dataclass(frozen=True)
class Caller:
    """The caller of a request. Without keys in the store every caller is `open` and has all scopes."""

    id: str
    scopes: frozenset[str]

    def need(self, scope: str) -> None:
        if scope not in self.scopes:
            raise ForbiddenError(f"This key lacks the scope {scope}: ask the operator for one that has it.")


EVERYONE = Caller(OPEN, frozenset(SCOPES))


class Keys:
    def __init__(self, database: Database):
        self._database = database

    def add(self, name: str, credits: int | None, scopes: Sequence[str]) -> tuple[str, str]:
        """Creates a key; returns its id and the key, which cannot be read again. Raises ValueError for a used name."""
        key = "cf_" + secrets.token_urlsafe(32)
        row = Key(id=secrets.token_hex(6), name=name, digest=_digest(key), scopes=list(scopes), created=time.time())
        row.credits = credits
        with self._database.write() as session:
            if session.scalar(select(Key.id).where(Key.name == name)) is not None:
                raise ValueError(f"There is already a key named {name}: choose another name.")
            session.add(row)
        return row.id, key

    def all(self) -> Sequence[Key]:
        with self._database.read() as session:
            return session.scalars(select(Key).order_by(Key.created)).all()

    def revoke(self, name: str) -> bool:
        """Revokes a key; returns False if there is no active key of that name.

        The row stays: a name is used once, and a service whose keys are all revoked must not become `open`.
        """
        with self._database.write() as session:
            live = (Key.name == name, Key.revoked.is_(None))
            return session.execute(update(Key).where(*live).values(revoked=time.time())).rowcount == 1  # type: ignore

    def any(self) -> bool:
        with self._database.read() as session:
            return session.scalar(select(Key.id).limit(1)) is not None

    def recognize(self, presented: str | None) -> Caller:
        """Returns the caller of a key. Without keys in the store every caller is accepted. Raises KeyRefusedError."""
        digest = _digest(presented or "")
        row = None
        if presented:
            with self._database.read() as session:
                row = session.scalar(select(Key).where(Key.digest == digest))
        if row is None and not self.any():
            return EVERYONE
        if row is None or not hmac.compare_digest(row.digest, digest) or row.revoked is not None:
            found = "no key was sent" if not presented else "this one is unknown or revoked"
            raise KeyRefusedError(f"Invalid API key: {found}.", "key")
        return Caller(row.id, frozenset(row.scopes))

    def remaining(self, key_id: str | None) -> int:
        """The value of x-remaining-credits: the key's credits, or 0 for an unknown caller."""
        if key_id is None or key_id == OPEN:
            return UNLIMITED if key_id == OPEN else 0
        with self._database.read() as session:
            found = session.scalar(select(Key).where(Key.id == key_id))
        return 0 if found is None else UNLIMITED if found.credits is None else found.credits


def presented(headers: Mapping[str, str], fields: Mapping[str, object]) -> str | None:
    """The key of a request, from Authorization: Bearer, x-api-key or the body's `key`: each vendor documents one."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    if key := headers.get("x-api-key"):
        return key
    key = fields.get("key")
    return key if isinstance(key, str) and key else None


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
