"""Expressions over declared types: what they give, what does not compile, what is refused while running, what they may cost."""

from dataclasses import replace
from typing import Any

import pytest

from knarr.lang import cel
from knarr.lang.cel import cost
from knarr.lang.cel.declarations import DOUBLE, DURATION, DYN, INT, STRING, TIMESTAMP, Decl
from knarr.lang.cel.escaping import escape

ITEM = Decl("object", {"key": STRING, "n": INT}, {"key": "key", "n": "n"})
FIELDS = {
    "ports": Decl("list", element=INT),
    "when": TIMESTAMP,
    "x__dash__y": STRING,
    "items": Decl("list", element=ITEM),
    "ratio": DOUBLE,
    "labels": Decl("map", element=STRING),
    "grid": Decl("list", element=Decl("list", element=INT)),
    "any": DYN,
    "dur": DURATION,
    "byName": Decl("map", element=ITEM),
}
SELF = Decl("object", FIELDS, {name: name for name in FIELDS} | {"x__dash__y": "x-y"})
OBJECT: dict[str, Any] = {
    "ports": [1, 2],
    "when": "2020-01-01T00:00:00Z",
    "x-y": "z",
    "items": [{"key": "a", "n": 1}],
    "ratio": 2,
    "labels": {"a": "b"},
    "grid": [[1, 2]],
    "any": {"q": 1},
    "dur": "1h30m",
    "byName": {"k": {"key": "v", "n": 2}},
}
ENVIRONMENT = cel.Environment({"self": SELF, "oldSelf": replace(SELF, is_optional=True)})


@pytest.mark.parametrize(
    "expression",
    [
        "self.ports.all(p, p > 0)",
        "self.ports.all(i, p, p > i)",
        "self.when < timestamp('2021-01-01T00:00:00Z')",
        "self.x__dash__y == 'z'",
        "self.ratio == 2.0",
        "self.labels['a'] == 'b' && self.labels.all(k, v, v == 'b')",
        "self.grid[0][1] == 2",
        "self.any.q == 1",
        "self.dur == duration('90m')",
        "self.byName['k'].n == 2",
        "self.ports.sum() == 3 && [1.5, 2.0].sum() == 3.5",
        "self.ports.isSorted() && !['b', 'a'].isSorted()",
        "self.ports.min() == 1 && self.ports.max() == 2",
        "self.ports.indexOf(2) == 1 && [1, 1].lastIndexOf(1) == 1 && 'abc'.indexOf('c') == 2",
        "'a1b2'.findAll('[0-9]') == ['1', '2'] && 'a1b2'.findAll('[0-9]', 1) == ['1'] && 'abc'.find('b+') == 'b'",
        "url('https://me@a.example:80/p?x=1#f').getHostname() == 'a.example'",
        "url('https://a:80/p?x=1').getQuery()['x'] == ['1'] && url('https://a:80/p').getPort() == '80'",
        "isURL('/a/b') && !isURL('a b')",
        "quantity('1Gi').isGreaterThan(quantity('1G')) && quantity('1') == quantity('1000m')",
        "quantity('1').add(quantity('500m')).compareTo(quantity('1.5')) == 0 && quantity('2').add(3).asInteger() == 5",
        "!isQuantity('x') && quantity('-1').sign() == -1 && quantity('1500m').asApproximateFloat() == 1.5",
        "ip('1.2.3.4').family() == 4 && ip('::1').isLoopback() && ip.isCanonical('::1') && string(ip('::0001')) == '::1'",
        "cidr('10.0.0.0/8').containsIP('10.1.1.1') && cidr('10.0.0.0/8').containsCIDR(cidr('10.2.0.0/16'))",
        "string(cidr('10.1.0.0/8').masked()) == '10.0.0.0/8' && cidr('10.1.0.0/8').ip() == ip('10.1.0.0')",
        "semver('1.2.3').isLessThan(semver('1.10.0')) && semver('v1.2', true).minor() == 2 && !isSemver('1.2')",
        "semver('1.0.0-rc.1').isLessThan(semver('1.0.0'))",
        "sets.contains([1, 2], [1]) && sets.equivalent([1, 1], [1]) && sets.intersects(self.ports, [2, 3])",
        "self.?nothing.hasValue() == false || true",
        "self.?ports[?5].orValue(9) == 9",
        "has(self.ports)",
        "{'a': 1, 'b': 2}.transformMap(k, v, v > 1, [v, v]) == {'b': [2, 2]}",
        "self.byName.transformMapEntry(k, v, {v.key: k}) == {'v': 'k'}",
        "self.labels.transformList(k, v, k + v) == ['ab']",
        "'%s %d'.format(['a', 1]) == 'a 1'",
    ],
)
def test_holds(expression: str) -> None:
    if "?nothing" in expression:
        with pytest.raises(cel.CompileError):
            ENVIRONMENT.compile(expression)
        return
    assert ENVIRONMENT.compile(expression).evaluate({"self": OBJECT}) is True


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("self.nope == 1", "undefined field 'nope'"),
        ("self.items[0].nope", "undefined field 'nope'"),
        ("self.ports + 'a'", "found no matching overload for '_+_' applied to '(list(int), string)'"),
        ("other", "undeclared reference to 'other'"),
        ("self.ports.all(p", "Syntax error"),
        ("oldSelf.nope == 1", "undefined field 'nope'"),
        ("oldSelf.ports == 1", "ERROR: <input>:1:15: found no matching overload for '_==_'"),
    ],
)
def test_does_not_compile(expression: str, words: str) -> None:
    with pytest.raises(cel.CompileError) as caught:
        ENVIRONMENT.compile(expression)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("self.any.zz == 1", "no such key: zz"),
        ("self.ports[9] == 1", "index out of bounds: 9"),
        ("quantity('abc').isInteger()", "quantities must match the regular expression"),
        ("[].min() == 1", "min called on empty list"),
        ("'a'.matches('(')", "invalid regular expression"),
    ],
)
def test_has_no_value(expression: str, words: str) -> None:
    with pytest.raises(cel.EvaluationError) as caught:
        ENVIRONMENT.compile(expression).evaluate({"self": OBJECT})
    assert words.lower() in str(caught.value).lower()


def test_too_many_steps_end_the_evaluation() -> None:
    program = cel.Environment({"self": Decl("list", element=INT)}).compile(
        "self.all(x, self.all(y, self.all(z, x + y + z >= 0)))"
    )
    with pytest.raises(cel.OutOfBudget, match="call cost exceeds limit"):
        program.evaluate({"self": list(range(100))})


def test_an_optional_variable_may_be_missing() -> None:
    program = ENVIRONMENT.compile("oldSelf.hasValue() ? self.ports == oldSelf.value().ports : self.ports.size() > 1")
    assert program.names() == {"self", "oldSelf"}
    assert program.evaluate({"self": OBJECT}) is True
    assert program.evaluate({"self": OBJECT, "oldSelf": {"ports": [1]}}) is False


@pytest.mark.parametrize(
    ("size", "expression", "least", "most"),
    [
        (10, "self.all(x, x.size() > 0)", 10, 200),
        (64, "self.all(x, self.exists_one(y, x == y))", 10_000, 500_000),
        (-1, "self.all(x, self.all(y, x == y))", 10**10, 10**20),
        (-1, "self.size() > 1", 1, 10),
    ],
)
def test_estimates_of_cost(size: int, expression: str, least: int, most: int) -> None:
    variables = {"self": Decl("list", element=Decl("string", size=64), size=size)}
    tree = cel.Environment(variables).compile(expression).tree
    assert least <= cost.estimate(tree, variables) <= most


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("a", "a"),
        ("namespace", "__namespace__"),
        ("a-b", "a__dash__b"),
        ("a.b/c", "a__dot__b__slash__c"),
        ("a__b", "a__underscores__b"),
        ("1a", None),
        ("a b", None),
    ],
)
def test_escaping(name: str, escaped: str | None) -> None:
    assert escape(name) == escaped
