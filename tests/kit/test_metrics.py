import pytest

from knarr.kit import metrics


def lines(registry: metrics.Registry) -> list[str]:
    return [line for line in registry.expose().decode().splitlines() if not line.startswith("#")]


def test_counters_gauges_and_histograms_are_exposed_in_prometheus_text() -> None:
    registry = metrics.Registry()
    requests = registry.counter("requests_total", "Requests.", ("verb",))
    requests.labels("get").add()
    requests.labels("get").add(2)
    depth = registry.gauge("depth", "Depth.")
    depth.labels().set(5)
    depth.labels().add(-2)
    seconds = registry.histogram("seconds", "Seconds.", (0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 3):
        seconds.labels().observe(value)
    assert lines(registry) == [
        'requests_total{verb="get"} 3.0',
        "depth 3.0",
        'seconds_bucket{le="0.1"} 2.0',
        'seconds_bucket{le="1.0"} 3.0',
        'seconds_bucket{le="+Inf"} 4.0',
        "seconds_count 4.0",
        "seconds_sum 3.65",
    ]


def test_a_removed_child_is_shown_no_more() -> None:
    registry = metrics.Registry()
    family = registry.gauge("g", "G.", ("name",))
    family.labels("a").set(1)
    family.remove("a")
    assert lines(registry) == []


def test_the_number_of_labels_is_checked() -> None:
    with pytest.raises(ValueError, match="has the labels"):
        metrics.Registry().counter("c", "C.", ("a", "b")).labels("only one")


def test_the_process_shows_its_own_memory_and_cpu() -> None:
    text = metrics.Registry(process=True).expose().decode()
    assert "process_resident_memory_bytes" in text
    assert "process_cpu_seconds_total" in text
