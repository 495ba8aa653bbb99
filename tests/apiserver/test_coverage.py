"""Every endpoint that upstream serves by default is served: called with its verb, it answers with the right code and kind."""

from pathlib import Path

from tests.apiserver import coverage


async def test_every_endpoint_is_served(tmp_path: Path) -> None:
    async with coverage.open_walker(tmp_path) as walker:
        results = await walker.walk(coverage.endpoints())
    broken = [
        f"{one.endpoint.method} {one.endpoint.path}: {one.why}"
        for one in results
        if one.endpoint.is_expected and one.why
    ]
    assert not broken, "\n".join(broken)
    extra = [one.endpoint for one in results if not one.endpoint.is_expected and not one.why]
    assert not extra, extra
    assert coverage.DOCUMENT.read_text() == coverage.report(results), "run scripts/coverage"
