from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from lightkube.models import meta_v1, networking_v1

from knarr.controllers import servicecidrs
from tests.controllers.lab import open_lab

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def cidr(*cidrs: str, gone_s: float | None = None, name: str = "extra") -> networking_v1.ServiceCIDR:
    deleted = None if gone_s is None else NOW - timedelta(seconds=gone_s)
    meta = meta_v1.ObjectMeta(name=name, deletionTimestamp=deleted, finalizers=[servicecidrs.FINALIZER])
    return networking_v1.ServiceCIDR(metadata=meta, spec=networking_v1.ServiceCIDRSpec(cidrs=list(cidrs)))


@pytest.mark.parametrize(
    ("gone_s", "others", "addresses", "expected"),
    [
        (None, [], ["10.1.0.1"], ("True", True)),
        (60, [], ["10.1.0.1"], ("False", True)),
        (60, [cidr("10.0.0.0/8")], ["10.1.0.1"], (None, False)),
        (60, [cidr("10.0.0.0/8", gone_s=1)], ["10.1.0.1"], ("False", True)),
        (60, [], ["10.2.0.1", "fd00::1"], (None, False)),
        (5, [], [], (None, True)),
    ],
)
def test_a_range_goes_when_no_address_needs_it(gone_s: Any, others: Any, addresses: list[str], expected: Any) -> None:
    step = servicecidrs.plan(cidr("10.1.0.0/16", gone_s=gone_s), others, addresses, NOW)
    assert (step.condition[0] if step.condition else None, servicecidrs.FINALIZER in step.finalizers) == expected


async def test_ranges_come_and_go() -> None:
    async with open_lab() as lab:
        spec = networking_v1.ServiceCIDRSpec(cidrs=["10.99.0.0/24"])
        await lab.client.create(networking_v1.ServiceCIDR(metadata=meta_v1.ObjectMeta(name="extra"), spec=spec))

        async def ready() -> bool:
            one = await lab.client.get(networking_v1.ServiceCIDR, "extra")
            conditions = (one.status.conditions or ()) if one.status else ()
            return any(condition.type == "Ready" and condition.status == "True" for condition in conditions)

        await lab.until(ready)
        await lab.client.delete(networking_v1.ServiceCIDR, "extra")

        async def gone() -> bool:
            names = [
                one.metadata.name for one in (await lab.client.list(networking_v1.ServiceCIDR)).items if one.metadata
            ]
            return "extra" not in names

        await lab.until(gone)
