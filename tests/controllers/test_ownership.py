from knarr.controllers.ownership import (
    FOREGROUND,
    ORPHAN,
    Delete,
    Detach,
    Due,
    Graph,
    Identity,
    Keep,
    Node,
    Owner,
    Owners,
    plan,
)


def identity(name: str, kind: str = "ReplicaSet") -> Identity:
    return Identity("apps/v1", kind, "ns", name)


def owner(uid: str, *, blocks: bool = False) -> Owner:
    return Owner(identity(uid), uid, blocks=blocks)


def observe(graph: Graph, uid: str, *owners: Owner, is_deleting: bool = False, finalizers: tuple[str, ...] = ()) -> Due:
    return graph.observe(uid, identity(uid), owners, is_deleting=is_deleting, finalizers=frozenset(finalizers))


def test_an_owner_that_was_never_seen_is_looked_for() -> None:
    graph = Graph()
    due = observe(graph, "pod", owner("rs"))
    assert due.delete == ["rs", "pod"]
    rs = graph.get("rs")
    assert rs is not None
    assert rs.is_virtual
    assert observe(graph, "rs").delete == []
    assert not rs.is_virtual


def test_dependents_are_looked_at_when_their_owner_goes() -> None:
    graph = Graph()
    observe(graph, "rs")
    observe(graph, "a", owner("rs"))
    observe(graph, "b", owner("rs"))
    assert graph.forget("rs").delete == ["a", "b"]
    graph.forget("a")
    graph.forget("b")
    assert list(graph.nodes()) == []


def test_foreground_deletion_looks_at_dependents_then_at_the_owner_when_they_are_gone() -> None:
    graph = Graph()
    observe(graph, "rs")
    observe(graph, "pod", owner("rs", blocks=True))
    due = observe(graph, "rs", is_deleting=True, finalizers=(FOREGROUND,))
    assert due.delete == ["pod", "rs"]
    rs = graph.get("rs")
    assert rs is not None
    assert [node.uid for node in graph.blocking_dependents(rs)] == ["pod"]
    assert graph.forget("pod").delete == ["rs"]
    assert graph.blocking_dependents(rs) == []


def test_orphaning_is_due_once() -> None:
    graph = Graph()
    observe(graph, "rs")
    assert observe(graph, "rs", is_deleting=True, finalizers=(ORPHAN,)).orphan == ["rs"]
    assert observe(graph, "rs", is_deleting=True, finalizers=(ORPHAN,)).orphan == []


def test_losing_an_owner_reference_is_looked_at() -> None:
    graph = Graph()
    observe(graph, "rs")
    observe(graph, "pod", owner("rs"))
    assert observe(graph, "pod").delete == ["pod"]
    rs = graph.get("rs")
    assert rs is not None
    assert rs.dependents == set()


def node(*owners: Owner, dependents: tuple[str, ...] = (), finalizers: tuple[str, ...] = ()) -> Node:
    by_uid = {one.uid: one for one in owners}
    return Node("x", identity("x"), by_uid, set(dependents), finalizers=frozenset(finalizers))


def test_plans() -> None:
    a, b = owner("a"), owner("b")
    assert plan(node(), Owners((), (), ()), has_waiting_dependents=False) == Keep()
    assert plan(node(a), Owners((a,), (), ()), has_waiting_dependents=False) == Keep()
    assert plan(node(a, b), Owners((a,), (b,), ()), has_waiting_dependents=False) == Detach(("b",))
    assert plan(node(a), Owners((), (a,), ()), has_waiting_dependents=False) == Delete("Background")
    assert plan(node(a, finalizers=(ORPHAN,)), Owners((), (a,), ()), has_waiting_dependents=False) == Delete("Orphan")
    waiting = Owners((), (), (a,))
    assert plan(node(a), waiting, has_waiting_dependents=False) == Delete("Background")
    assert plan(node(a, dependents=("y",)), waiting, has_waiting_dependents=False) == Delete("Foreground")
    assert plan(node(a, dependents=("y",)), waiting, has_waiting_dependents=True) == Delete("Foreground", unblock=True)
