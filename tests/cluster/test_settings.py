from pathlib import Path

import pytest

from knarr.cluster import credentials, errors, settings
from knarr.cluster.layout import Layout


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KNARR_HOME", str(tmp_path / "lib"))
    monkeypatch.setenv("KNARR_RUN", str(tmp_path / "run"))
    return tmp_path


def test_clusters_on_one_machine_share_no_port_range_or_bridge() -> None:
    plans = [settings.plan("a", number, node_name="n", advertise_address="192.0.2.1") for number in range(50)]
    for attribute in ("api_port", "node_port", "service_cidr", "pod_cidr", "dns_address", "bridge"):
        assert len({getattr(plan, attribute) for plan in plans}) == 50
    assert not {plan.service_cidr for plan in plans} & {plan.pod_cidr for plan in plans}


def test_settings_are_decided_once() -> None:
    layout = Layout.of("demo")
    first = settings.load_or_create(layout)
    assert settings.load_or_create(layout) == settings.load(layout) == first
    other = settings.load_or_create(Layout.of("other"))
    assert other.number != first.number


def test_an_unknown_cluster_is_named_in_the_error() -> None:
    with pytest.raises(errors.ClusterNotFound, match="no cluster 'nope'"):
        settings.load(Layout.of("nope"))


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a" * 25, "../x", "a/b"])
def test_bad_cluster_names_are_refused(name: str) -> None:
    with pytest.raises(errors.UsageError):
        Layout.of(name)


def test_a_damaged_file_is_an_error_that_names_it() -> None:
    layout = Layout.of("demo")
    settings.load_or_create(layout)
    layout.settings.write_text("{}")
    with pytest.raises(errors.ClusterError, match=r"cluster\.json is damaged"):
        settings.load(layout)


def test_credentials_are_kept_until_due_and_private(home: Path) -> None:
    import datetime

    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    layout = Layout.of("demo")
    decided = settings.load_or_create(layout)
    credentials.ensure(layout, decided, now=now)
    before = {path.name: path.read_bytes() for path in layout.pki.iterdir()}
    credentials.ensure(layout, decided, now=now)
    assert {path.name: path.read_bytes() for path in layout.pki.iterdir()} == before
    credentials.ensure(layout, decided, now=now + datetime.timedelta(days=300))
    after = {path.name: path.read_bytes() for path in layout.pki.iterdir()}
    assert {name for name in before if before[name] == after[name]} == {
        "ca.crt", "ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "sa.key",
    }  # fmt: skip
    assert all(path.stat().st_mode & 0o077 == 0 for path in layout.pki.glob("*.key"))
    config = credentials.admin_kubeconfig(layout, decided)
    assert config["current-context"] == "knarr-demo"


def test_a_machine_without_a_network_is_reached_at_its_bridge() -> None:
    assert settings.plan("a", 1, node_name="n", advertise_address="").advertise_address == "10.243.0.1"


def test_a_machine_that_joins_has_the_clusters_addresses_and_a_balancer_before_its_servers() -> None:
    layout = Layout.of("far")
    layout.create()
    facts = settings.Facts("10.100.0.0/16", "10.200.0.0/16", "cluster.test")
    made = settings.create_joined(layout, facts, server="https://192.0.2.1:6443", name="n2", address="192.0.2.2")
    assert settings.load(layout) == made
    assert made.facts == facts
    assert (made.dns_address, made.service_address) == ("10.200.0.10", "10.200.0.1")
    assert made.server_url == f"https://127.0.0.1:{made.balancer_port}"
    assert made.processes == ("agent",)
    assert settings.change(layout, server="https://192.0.2.3:6443").server == "https://192.0.2.3:6443"


def test_clusters_with_the_same_addresses_do_not_share_a_machine() -> None:
    own = settings.load_or_create(Layout.of("demo"))
    layout = Layout.of("far")
    layout.create()
    with pytest.raises(errors.UsageError, match="in use by cluster demo of this machine"):
        settings.create_joined(layout, own.facts, server="https://192.0.2.1:6443", name="n2", address="192.0.2.2")
    assert not layout.settings.exists()
