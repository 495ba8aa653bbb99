from knarr.network.proxy.rules import CHAIN, SET, SPREAD, Rules
from knarr.network.proxy.ruleset import Ruleset, format_all, format_changes, spread_needed
from knarr.network.proxy.skeleton import Table

TABLE = Table(
    name="knarr-t", bridge="knarr0", pod_cidr="10.244.0.0/16", service_cidr="10.96.0.0/16", dns_address="10.96.0.10"
)


def apply(ruleset: Ruleset) -> str:
    changes = ruleset.changes()
    ruleset.mark_applied(changes, from_empty=False)
    return format_changes(changes, TABLE)


def web(*ends: str) -> Rules:
    rules = {("backends", f"10.96.0.5 . tcp . 80 . {number}"): end for number, end in enumerate(ends)}
    return {
        **rules,
        ("service-ips", "10.96.0.5 . tcp . 80"): f"goto backends/{len(ends)}",
        (SPREAD, str(len(ends))): "",
    }


def test_only_what_changed_is_sent() -> None:
    ruleset = Ruleset()
    ruleset.replace("web", web("10.244.0.2 . 8080", "10.244.0.3 . 8080"))
    assert apply(ruleset) == (
        "add element ip knarr-t backends { 10.96.0.5 . tcp . 80 . 0 : 10.244.0.2 . 8080,"
        " 10.96.0.5 . tcp . 80 . 1 : 10.244.0.3 . 8080 }\n"
        "add element ip knarr-t service-ips { 10.96.0.5 . tcp . 80 : goto backends/2 }\n"
    )
    ruleset.replace("web", web("10.244.0.2 . 8080", "10.244.0.3 . 8080"))
    assert apply(ruleset) == ""
    ruleset.replace("web", web("10.244.0.2 . 8080"))
    assert apply(ruleset) == (
        "delete element ip knarr-t backends { 10.96.0.5 . tcp . 80 . 1 }\n"
        "delete element ip knarr-t service-ips { 10.96.0.5 . tcp . 80 }\n"
        "add element ip knarr-t service-ips { 10.96.0.5 . tcp . 80 : goto backends/1 }\n"
    )


def test_what_is_shared_goes_with_its_last_owner() -> None:
    ruleset = Ruleset()
    shared = {(CHAIN, "external/backends/1"): "jump mark-for-masquerade\ngoto backends/1"}
    ruleset.replace("a", shared)
    ruleset.replace("b", shared)
    assert apply(ruleset).count("add chain") == 1
    ruleset.replace("a", {})
    assert apply(ruleset) == ""
    ruleset.replace("b", {})
    assert apply(ruleset) == "flush chain ip knarr-t external/backends/1\ndelete chain ip knarr-t external/backends/1\n"


def test_the_first_to_claim_an_address_has_it_until_it_lets_go() -> None:
    ruleset = Ruleset()
    key = ("service-ips", "203.0.113.1 . tcp . 80")
    ruleset.replace("a", {key: "goto backends/1"})
    ruleset.replace("b", {key: "goto backends/2"})
    assert ruleset.get(key) == "goto backends/1"
    apply(ruleset)
    ruleset.replace("a", {})
    assert "goto backends/2" in apply(ruleset)


def test_references_are_valid_at_every_step() -> None:
    ruleset = Ruleset()
    ruleset.replace("a", {(SET, "s"): "type ipv4_addr;", (CHAIN, "c"): "ip saddr @s drop", ("m", "1"): "goto c"})
    assert [line.split(" {")[0] for line in apply(ruleset).splitlines()] == [
        "add set ip knarr-t s",
        "add chain ip knarr-t c",
        "add rule ip knarr-t c ip saddr @s drop",
        "add element ip knarr-t m",
    ]
    ruleset.replace("a", {})
    assert [line.split(" {")[0] for line in apply(ruleset).splitlines()] == [
        "flush chain ip knarr-t c",
        "delete element ip knarr-t m",
        "delete chain ip knarr-t c",
        "delete set ip knarr-t s",
    ]


def test_replacing_the_table_holds_everything_in_one_text() -> None:
    ruleset = Ruleset()
    ruleset.replace("web", web("10.244.0.2 . 8080"))
    apply(ruleset)
    text = format_all(ruleset.everything(), TABLE, spread_limit=2)
    assert text.startswith("add table ip knarr-t\ndelete table ip knarr-t\ntable ip knarr-t {\n")
    assert "chain backends/2 {" in text
    assert "chain backends/3 {" not in text
    assert "add element ip knarr-t service-ips { 10.96.0.5 . tcp . 80 : goto backends/1 }" in text


def test_how_far_to_spread_is_read_off_new_rules() -> None:
    ruleset = Ruleset()
    ruleset.replace("web", web("a", "b", "c"))
    assert spread_needed(ruleset.changes()) == 3
    apply(ruleset)
    ruleset.replace("web", {})
    assert spread_needed(ruleset.changes()) == 0
