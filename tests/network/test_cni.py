import json
from pathlib import Path

from knarr.network.cni import FILE_NAME, gateway_of, plan_config, write_config


def test_gateway_is_the_first_address() -> None:
    assert gateway_of("10.244.3.0/24") == "10.244.3.1/24"


def test_configuration_is_written_once_and_follows_the_range(tmp_path: Path) -> None:
    folder = tmp_path / "cni"
    first = plan_config("knarr0", "10.244.0.0/24", mtu=1450, reservations=folder / "addresses")
    assert write_config(folder, first)
    assert not write_config(folder, first)
    assert write_config(folder, plan_config("knarr0", "10.244.7.0/24", mtu=0, reservations=folder / "addresses"))
    assert [path.name for path in folder.iterdir()] == [FILE_NAME]
    bridge = json.loads((folder / FILE_NAME).read_text())["plugins"][0]
    assert bridge["ipam"]["ranges"] == [[{"subnet": "10.244.7.0/24"}]]
    assert "mtu" not in bridge
