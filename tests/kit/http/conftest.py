"""Every test here runs on asyncio's own loop and on uvloop: their transports differ."""

import asyncio

import uvloop


def pytest_asyncio_loop_factories():
    return {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}
