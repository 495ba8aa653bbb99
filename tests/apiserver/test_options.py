import pytest

from knarr.api import errors
from knarr.apiserver import options


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", False),
        ("watch", True),
        ("watch=", True),
        ("watch=true", True),
        ("watch=0", False),
        ("watch=False", False),
        ("watch=x", True),
    ],
)
def test_flags_are_set_by_being_there(query: str, expected: bool) -> None:
    assert options.flag(options.parse(query), "watch") is expected


@pytest.mark.parametrize(("text", "expected"), [("5", 5), ("-1", -1), ("+7", 7), ("", None)])
def test_numbers(text: str, expected: int | None) -> None:
    assert options.integer({"limit": [text]}, "limit") == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x", "invalid syntax"),
        ("1.5", "invalid syntax"),
        ("9" * 30, "value out of range"),
        ("\u0661", "invalid syntax"),
    ],
)
def test_bad_numbers(text: str, words: str) -> None:
    with pytest.raises(errors.BadRequest, match=words):
        options.integer({"limit": [text]}, "limit")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10.0), ("1m30s", 90.0), ("1.5h", 5400.0), ("250ms", 0.25), ("0", 0.0), (".5s", 0.5), ("-3s", -3.0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert options.duration_s(text) == seconds


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("5", 'time: missing unit in duration "5"'),
        ("", 'time: invalid duration ""'),
        ("abc", 'time: invalid duration "abc"'),
        ("5y", 'time: unknown unit "y" in duration "5y"'),
    ],
)
def test_bad_durations(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        options.duration_s(text)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("dryRun=None", 'dryRun: Unsupported value: ["None"]: supported values: "All"'),
        (
            "fieldValidation=Never",
            'fieldValidation: Unsupported value: "Never": supported values: "Ignore", "Strict", "Warn"',
        ),
        ("fieldManager=" + "x" * 129, "fieldManager: Too long: may not be more than 128 bytes"),
    ],
)
def test_bad_write_options(query: str, message: str) -> None:
    with pytest.raises(errors.Invalid) as raised:
        options.write_options(options.parse(query), "CreateOptions")
    assert raised.value.message == f'CreateOptions.meta.k8s.io "" is invalid: {message}'


def test_force_belongs_to_apply() -> None:
    with pytest.raises(errors.Invalid, match="force: Forbidden: may not be specified for non-apply patch"):
        options.write_options({"force": ["true"]}, "PatchOptions", patch_type="application/merge-patch+json")
    given = options.write_options(
        {"force": ["true"], "fieldManager": ["m"]}, "PatchOptions", patch_type="application/apply-patch+yaml"
    )
    assert given.force is True
