"""What is asked of every backend."""

from tests.store.test_backend import *  # noqa: F403
