"""Orders and jobs: what they promise on their own."""

from uuid import UUID

import pytest

from consistent_face.api.base.order import Job, Order


def test_every_order_has_its_own_canonical_id() -> None:
    first, second = Order("face_consistency"), Order("face_consistency")
    assert first.id != second.id
    assert first.id == str(UUID(first.id))


@pytest.mark.parametrize(
    ("state", "ended"),
    [("pending", False), ("in_progress", False), ("completed", True), ("failed", True), ("cancelled", True)],
)
def test_a_job_has_ended_when_nothing_more_can_happen_to_it(state: str, ended: bool) -> None:
    assert Job("7d0c0b3e-0000-4000-8000-000000000000", state).ended is ended  # type: ignore[arg-type]
