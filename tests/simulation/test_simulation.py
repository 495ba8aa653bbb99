"""Random lives of a whole cluster on virtual time: whatever happened, once it is quiet everything is as it should be.

pytest tests/simulation --seeds 200                  # more lives
pytest tests/simulation --first-seed 17 --seeds 1    # one of them again
"""

from random import Random

import pytest

from knarr.node.simulated.fleet import Fleet
from tests.simulation.cluster import open_cluster
from tests.simulation.invariants import violations
from tests.simulation.observer import Observer
from tests.simulation.world import World

ACTS = 60
QUIET_S = 1200.0
LOOK_S = 20.0
STEADY_LOOKS = 3
FLEET = Fleet(6, cores=8, memory_bytes=16 << 30)


async def test_everything_is_in_order_once_it_is_quiet(seed: int) -> None:
    random = Random(seed)
    async with open_cluster(FLEET, seed=seed) as cluster:
        registry = cluster.server.parts.registry
        observer = Observer(registry, cluster.clock)
        world = World(cluster, observer, random)
        await world.prepare()
        for _ in range(ACTS):
            world.history.append(f"-- {cluster.clock.monotonic_s():.1f} s")
            await world.act()
        await world.calm()
        found, steady, waited_s = ["?"], 0, 0.0
        while steady < STEADY_LOOKS and waited_s < QUIET_S:
            await cluster.pass_time(LOOK_S, step_s=5.0)
            waited_s += LOOK_S
            found = violations(registry, observer)
            found += [f"{name} is still written: {count} times" for name, count in observer.changes.items()]
            observer.changes.clear()
            steady = 0 if found else steady + 1
        problems = [*observer.violations, *found]
        if problems or steady < STEADY_LOOKS:
            story = "\n".join(world.history)
            told = "\n".join(problems) or "it does not stay quiet"
            pytest.fail(
                f"seed {seed} (replay: --first-seed {seed} --seeds 1)\n{story}\n== {waited_s} s after that:\n{told}"
            )
