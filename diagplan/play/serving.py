"""From a stage to a running server: the address, and a clean end."""

import contextlib
import socket

from diagplan.planner.errors import SpecError
from diagplan.play.messages import MOST_BYTES
from diagplan.play.server import Settings, is_loopback, make_app
from diagplan.play.stage import Stage

__all__ = ["LEAST_TOKEN", "listen", "require_token", "serve"]

#: Characters of a token.
LEAST_TOKEN = 16


def require_token(host: str, token: str | None) -> None:
    """Raise ``SpecError`` for a host that others reach without a token of some length."""
    if token is None and not is_loopback(host):
        raise SpecError(
            f"expected a token with --host {host}, which other machines reach, got none. Give --token TEXT of "
            f"{LEAST_TOKEN} characters or more, and tell it to those who may come."
        )
    if token is not None and (len(token) < LEAST_TOKEN or not token.isascii() or not token.isalnum()):
        raise SpecError(
            f"expected a token of {LEAST_TOKEN} letters and digits or more, got another one. Give a longer one."
        )


def listen(host: str, port: int) -> socket.socket:
    """A socket at an address.

    Raises:
        SpecError: the address is taken, or none of this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        opened = socket.socket(family, kind, protocol)
    except OSError as error:
        raise SpecError(f"expected an address of this machine, got --host {host}: {error.strerror}.") from None
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(128)
    except (OSError, OverflowError) as error:
        opened.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise SpecError(f"expected a free port at {host}, got --port {port}: {reason}. Give another one.") from None
    return opened


def serve(stage: Stage, settings: Settings, opened: socket.socket) -> None:
    """Serve until Ctrl-C.

    Raises:
        KeyboardInterrupt: at the end, when all connections are closed.
    """
    import uvicorn

    config = uvicorn.Config(
        make_app(stage, settings), log_level="error", access_log=False, server_header=False, ws="websockets-sansio",
        ws_max_size=2 * MOST_BYTES, ws_max_queue=8, timeout_graceful_shutdown=1, http="h11", loop="asyncio",
    )  # fmt: skip
    with contextlib.closing(opened):
        uvicorn.Server(config).run(sockets=[opened])
