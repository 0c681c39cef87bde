"""From a service to a running server, and its end: by SIGTERM or Ctrl-C when what is in hand is done."""

import contextlib
import signal
import socket
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import uvicorn

from diagplan.serve.app import make_app
from diagplan.serve.service import Service
from diagplan.serve.settings import HEADERS

__all__ = ["connections", "serve_jobs"]

#: Connections at once; more are told to come later. Files that something else may have open.
_CONNECTIONS, _OTHERS = 2000, 128


class _Server(uvicorn.Server):
    """A server that answers on while what is in hand is done."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self.service = service
        self.interrupted = False

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take signals, and give none on: the process is to end with code 0."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.heard) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def heard(self, number: int, frame: FrameType | None) -> None:
        """A signal: the first drains, a second Ctrl-C ends at once."""
        del frame
        if number == signal.SIGINT and self.service.engine.draining:
            self.interrupted = self.force_exit = True
            self.service.engine.abandon()
        else:
            self.service.engine.drain()


def connections() -> int:
    """Connections at once: as many as the process may have files open."""
    import resource

    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _CONNECTIONS if most == resource.RLIM_INFINITY else max(16, min(_CONNECTIONS, most - _OTHERS))


def serve_jobs(service: Service, opened: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C; jobs in hand are done first, those that wait stay in the spool.

    Args:
        service: not started yet.
        opened: a socket that listens.

    Raises:
        DiagplanError: the workers cannot work: the model, the plan, too little memory.
        KeyboardInterrupt: a second Ctrl-C; what was in hand is done by the next service.
    """
    config: Any = uvicorn.Config(
        make_app(service), log_level="error", access_log=False, server_header=False, ws="none", http="h11",
        loop="asyncio", timeout_graceful_shutdown=2, limit_concurrency=connections(),
        h11_max_incomplete_event_size=HEADERS,
    )  # fmt: skip
    server = _Server(config, service)

    def ended() -> None:
        server.should_exit = True

    service.engine.on_end = ended
    try:
        with contextlib.closing(opened):
            server.run(sockets=[opened])
    finally:
        service.close()
    if server.interrupted:
        raise KeyboardInterrupt("Jobs that are not done stay in the spool; the same command goes on.")
    if service.engine.failed is not None:
        raise service.engine.failed
