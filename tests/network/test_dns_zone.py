import ipaddress

import pytest

from knarr.network.dns.records import Code, Endpoint, Port, Record, Service, Type
from knarr.network.dns.zone import Zone

HTTP = Port("http", "tcp", 80)
DNS = Port("dns", "udp", 53)
ZONE = Zone(
    "cluster.local", "10.96.0.10", (ipaddress.ip_network("10.96.0.0/16"), ipaddress.ip_network("10.244.0.0/16"))
)


class View:
    """Two namespaces with one Service of each sort."""

    def __init__(self) -> None:
        self.services = {
            ("default", "web"): Service(
                "web", "default", ("10.96.0.5",), (HTTP, DNS), (Endpoint("10.244.0.9", "10-244-0-9", (HTTP,)),)
            ),
            ("default", "db"): Service(
                "db",
                "default",
                (),
                (),
                (
                    Endpoint("10.244.0.2", "db-0", (Port("sql", "tcp", 5432),)),
                    Endpoint("10.244.0.3", "db-1", (Port("sql", "tcp", 5432),)),
                    Endpoint("10.244.0.4", "10-244-0-4", (Port("sql", "tcp", 5432),)),
                ),
            ),
            ("default", "empty"): Service("empty", "default"),
            ("default", "out"): Service("out", "default", external_name="example.com"),
            ("six", "dual"): Service("dual", "six", ("10.96.0.6", "fd00::6"), (HTTP,)),
        }

    def has_namespace(self, name: str) -> bool:
        return name in {"default", "six"}

    def service(self, namespace: str, name: str) -> Service | None:
        return self.services.get((namespace, name))

    def owners(self, address: str) -> list[str]:
        return {"10.96.0.5": ["web.default.svc"], "10.244.0.2": ["db-0.db.default.svc"]}.get(address, [])


NODATA = (Code.NOERROR, [])
NXDOMAIN = (Code.NXDOMAIN, [])


@pytest.mark.parametrize(
    ("name", "type_", "expected"),
    [
        ("web.default.svc", Type.A, (Code.NOERROR, ["10.96.0.5"])),
        ("web.default.svc", Type.AAAA, NODATA),
        ("web.default.svc", Type.TXT, NODATA),
        ("dual.six.svc", Type.A, (Code.NOERROR, ["10.96.0.6"])),
        ("dual.six.svc", Type.AAAA, (Code.NOERROR, ["fd00::6"])),
        ("db.default.svc", Type.A, (Code.NOERROR, ["10.244.0.2", "10.244.0.3", "10.244.0.4"])),
        ("db-1.db.default.svc", Type.A, (Code.NOERROR, ["10.244.0.3"])),
        ("10-244-0-4.db.default.svc", Type.A, (Code.NOERROR, ["10.244.0.4"])),
        ("10-244-0-9.web.default.svc", Type.A, (Code.NOERROR, ["10.244.0.9"])),
        ("db-7.db.default.svc", Type.A, NXDOMAIN),
        ("empty.default.svc", Type.A, NXDOMAIN),
        ("none.default.svc", Type.A, NXDOMAIN),
        ("web.none.svc", Type.A, NXDOMAIN),
        ("default.svc", Type.A, NODATA),
        ("none.svc", Type.A, NXDOMAIN),
        ("svc", Type.A, NODATA),
        ("other", Type.A, NXDOMAIN),
        ("a.b.c.d.default.svc", Type.A, NXDOMAIN),
        ("_tcp.web.default.svc", Type.SRV, NODATA),
        ("_sctp.web.default.svc", Type.SRV, NXDOMAIN),
        ("_http._tcp.web.default.svc", Type.A, (Code.NOERROR, ["10.96.0.5"])),
        ("_http._udp.web.default.svc", Type.SRV, NXDOMAIN),
        ("out.default.svc", Type.A, (Code.NOERROR, ["example.com"])),
        ("out.default.svc", Type.CNAME, (Code.NOERROR, ["example.com"])),
        ("x.out.default.svc", Type.A, NXDOMAIN),
        ("10-244-3-4.default.pod", Type.A, (Code.NOERROR, ["10.244.3.4"])),
        ("10-244-3-4.default.pod", Type.AAAA, NODATA),
        ("fd00--7.default.pod", Type.AAAA, (Code.NOERROR, ["fd00::7"])),
        ("10-244-3-4.none.pod", Type.A, NXDOMAIN),
        ("web-1.default.pod", Type.A, NXDOMAIN),
        ("default.pod", Type.A, NODATA),
        ("dns-version", Type.TXT, (Code.NOERROR, ["1.1.0"])),
        ("ns.dns", Type.A, (Code.NOERROR, ["10.96.0.10"])),
    ],
)
def test_names_below_the_domain(name: str, type_: Type, expected: tuple[Code, list[str]]) -> None:
    answer = ZONE.resolve(View(), f"{name}.cluster.local", type_)
    assert answer is not None
    assert (answer.code, [one.data for one in answer.records]) == expected


def test_srv_of_a_cluster_address_names_the_service() -> None:
    answer = ZONE.resolve(View(), "_http._tcp.web.default.svc.cluster.local", Type.SRV)
    assert answer is not None
    assert answer.records == (
        Record("_http._tcp.web.default.svc.cluster.local", Type.SRV, "web.default.svc.cluster.local", 80, 100),
    )
    assert answer.additional == (Record("web.default.svc.cluster.local", Type.A, "10.96.0.5"),)


def test_srv_of_a_headless_service_names_its_endpoints() -> None:
    answer = ZONE.resolve(View(), "_sql._tcp.db.default.svc.cluster.local", Type.SRV)
    assert answer is not None
    assert [(one.data, one.port, one.weight) for one in answer.records] == [
        ("db-0.db.default.svc.cluster.local", 5432, 33),
        ("db-1.db.default.svc.cluster.local", 5432, 33),
        ("10-244-0-4.db.default.svc.cluster.local", 5432, 33),
    ]
    assert [one.data for one in answer.additional] == ["10.244.0.2", "10.244.0.3", "10.244.0.4"]


def test_srv_without_a_port_gives_all() -> None:
    answer = ZONE.resolve(View(), "web.default.svc.cluster.local", Type.SRV)
    assert answer is not None
    assert [one.port for one in answer.records] == [80, 53]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("5.0.96.10.in-addr.arpa", (Code.NOERROR, ["web.default.svc.cluster.local"])),
        ("2.0.244.10.in-addr.arpa", (Code.NOERROR, ["db-0.db.default.svc.cluster.local"])),
        ("9.9.244.10.in-addr.arpa", NXDOMAIN),
        ("8.8.8.8.in-addr.arpa", None),
        ("96.10.in-addr.arpa", None),
        ("example.com", None),
        ("notcluster.local", None),
    ],
)
def test_reverse_names_and_names_of_others(name: str, expected: tuple[Code, list[str]] | None) -> None:
    answer = ZONE.resolve(View(), name, Type.PTR)
    assert (answer and (answer.code, [one.data for one in answer.records])) == expected


def test_the_domain_itself() -> None:
    soa, ns, a = (ZONE.resolve(View(), "cluster.local", type_) for type_ in (Type.SOA, Type.NS, Type.A))
    assert soa and ns and a
    assert [one.type for one in soa.records] == [Type.SOA]
    assert [one.data for one in ns.records] == ["ns.dns.cluster.local"]
    assert [one.data for one in ns.additional] == ["10.96.0.10"]
    assert a.records == ()
