from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from lightkube.models import core_v1, meta_v1

from knarr.node.volumes import localpath

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def volume(
    path: str, *, node: str = "n1", going: bool = True, policy: str = "Delete", by: str = localpath.PROVISIONER
) -> Any:
    return core_v1.PersistentVolume(
        metadata=meta_v1.ObjectMeta(
            name="pvc-u",
            annotations={localpath.PROVISIONED_BY: by, localpath.NODE: node},
            deletionTimestamp=NOW if going else None,
        ),
        spec=core_v1.PersistentVolumeSpec(
            claimRef=core_v1.ObjectReference(namespace="ns", name="c", uid="u"),
            local=core_v1.LocalVolumeSource(path=path),
            persistentVolumeReclaimPolicy=policy,
        ),
    )


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (volume("/data/pvc-u_ns_c"), Path("/data/pvc-u_ns_c")),
        (volume("/data/pvc-u_ns_c", node="n2"), None),
        (volume("/data/pvc-u_ns_c", going=False), None),
        (volume("/data/pvc-u_ns_c", policy="Retain"), None),
        (volume("/data/pvc-u_ns_c", by="x.io/p"), None),
        (volume("/etc"), None),
        (volume("/data/../etc/pvc-u_ns_c"), None),
        (volume("data/pvc-u_ns_c"), None),
        (volume("/data/pvc-u_ns_other"), None),
    ],
)
def test_only_the_folder_of_the_claim_is_ever_removed(one: core_v1.PersistentVolume, expected: Path | None) -> None:
    assert localpath.removable(one, "n1") == expected


def test_a_folder_is_made_for_all_users(tmp_path: Path) -> None:
    place = tmp_path / "storage" / "pvc-u_ns_c"
    localpath.make(place)
    localpath.make(place)
    assert place.stat().st_mode & 0o777 == 0o777
