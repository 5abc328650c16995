"""Selects the webhooks to send next, so that no key and no host delays the webhooks of others."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Executable, func, select
from sqlalchemy.orm import Session

from .tables import Hook, JobRow

ALL = 128  # webhooks sent at the same time
EACH = 16  # per key
TO_ONE = 4  # per key and host
LOOKED_AT = 4 * ALL  # candidates that are read: more than keys at their limit can have among them


@dataclass(frozen=True)
class Due:
    """A webhook that is due, the id of its key, and its host."""

    hook: Hook
    key: str
    host: str


def due(session: Session, now: float, on_their_way: Sequence[str]) -> list[Due]:
    """The due webhooks: first the oldest of every key and host, then the second ones, and so on."""
    return [Due(*row) for row in session.execute(_ranked(now, on_their_way))]


def chosen(candidates: Sequence[Due], on_their_way: Iterable[Due]) -> list[Due]:
    """The candidates that the limits allow in addition to those being sent."""
    flying = list(on_their_way)
    keys, places = Counter(one.key for one in flying), Counter((one.key, one.host) for one in flying)
    taken: list[Due] = []
    for one in candidates:
        if len(flying) + len(taken) < ALL and keys[one.key] < EACH and places[one.key, one.host] < TO_ONE:
            taken.append(one)
            keys[one.key] += 1
            places[one.key, one.host] += 1
    return taken


def _ranked(now: float, on_their_way: Sequence[str]) -> Executable:
    rest = func.substr(Hook.url, func.instr(Hook.url, "://") + 3)
    host = func.substr(rest, 1, func.instr(rest.concat("/"), "/") - 1)
    owner = func.coalesce(JobRow.key_id, "")
    to_one = func.row_number().over(partition_by=(owner, host), order_by=Hook.due)
    owed = (
        select(Hook.job_id, owner.label("owner"), host.label("host"), Hook.due, to_one.label("place"))
        .outerjoin(JobRow, JobRow.id == Hook.job_id)
        .where(Hook.state == "owed", Hook.due <= now, Hook.job_id.not_in(on_their_way))
        .subquery()
    )
    of_key = func.row_number().over(partition_by=owed.c.owner, order_by=(owed.c.place, owed.c.due))
    ranked = select(owed, of_key.label("rank")).where(owed.c.place <= TO_ONE).subquery()
    return (
        select(Hook, ranked.c.owner, ranked.c.host)
        .join(ranked, ranked.c.job_id == Hook.job_id)
        .where(ranked.c.rank <= 2 * EACH)
        .order_by(ranked.c.rank, ranked.c.due)
        .limit(LOOKED_AT)
    )
