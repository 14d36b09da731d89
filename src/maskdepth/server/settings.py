"""What the operator of a server sets: where it listens, who may use it, and its limits."""

from __future__ import annotations

import hashlib
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from maskdepth.errors import UsageError, first_line
from maskdepth.files import read_text

DEFAULT_PORT: Final = 8000
LOCAL_OWNER: Final = "local"
"""Who owns the plates of a server without tokens."""

_MIN_TOKEN_LENGTH: Final = 20


@dataclass(frozen=True)
class ServerSettings:
    """The settings of a server.

    Attributes:
        host: address to listen on.
        port: port to listen on; 0 for any that is free.
        store: folder of the uploaded plates.
        tokens: who may use the server: the owner's name by `token_hash`. Empty: everybody who
            can reach it.
        model: the model that the page runs in browsers, as in `Predictor.from_pretrained`.
        names: host names under which clients reach it, beside ``localhost`` and plain addresses.
        workers: predictions at a time.
        queue: predictions that may wait; more are turned away.
        time_limit_s: seconds that a prediction may wait and compute.
        max_bytes: bytes of a file, or of a frame.
        body_memory: bytes that all bodies together may take while they are received and worked on.
        max_pixels: pixels of a picture.
        max_plates: stored plates of one owner.
        plate_seconds: how long a plate is kept after its last use.
        max_streams: streams at a time.
        max_connections: open connections.
        header_seconds: how long a client may take to send a request's headers.
        body_seconds: how long a body may take beyond its share at ``min_rate``.
        min_rate: bytes a second at which a body, and whoever reads an answer, has to proceed.
        idle_seconds: how long a stream may be without a frame.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    store: Path = Path("maskdepth-plates")
    tokens: Mapping[str, str] = field(default_factory=dict)
    model: str | None = None
    names: frozenset[str] = frozenset()
    workers: int = 1
    queue: int = 64
    time_limit_s: float = 30.0
    max_bytes: int = 32_000_000
    body_memory: int = 256_000_000
    max_pixels: int = 25_000_000
    max_plates: int = 100
    plate_seconds: float = 30 * 86400.0
    max_streams: int = 16
    max_connections: int = 500
    header_seconds: float = 10.0
    body_seconds: float = 20.0
    min_rate: int = 32 * 2**10
    idle_seconds: float = 60.0

    def __post_init__(self) -> None:
        if not self.tokens and not is_loopback(self.host):
            raise UsageError(
                "a token file for an address that other machines reach",
                f"the host {self.host} without one",
                "write a long random token into a file and pass it as --token-file, or listen on "
                "127.0.0.1",
                f"{self.host} can be reached from other machines, which needs a --token-file.",
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def token_hash(token: str) -> str:
    """What is kept of a token: to compare hashes takes the same time for all wrong tokens."""
    return hashlib.sha256(f"maskdepth-token:{token}".encode()).hexdigest()


def read_tokens(path: str | os.PathLike[str]) -> dict[str, str]:
    """The owners of a token file by the hashes of their tokens.

    The file has one token a line; empty lines and lines that begin with # do not count. An owner
    is named by a hash as well, so that a token's plates outlast a restart and no token is on disk.

    Raises:
        UsageError: the file cannot be read, has no token, or one that is too short or not ASCII.
    """
    try:
        lines = [line.strip() for line in read_text(path).splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = first_line(error)
        raise UsageError(
            f"a token file at {os.fspath(path)}",
            reason,
            "check the path and its permissions",
            f"The token file {os.fspath(path)} cannot be read: {reason}.",
        ) from None
    tokens = [line for line in lines if line and not line.startswith("#")]
    for token in tokens:
        usable = token.isascii() and token.isprintable() and " " not in token
        if not usable or len(token) < _MIN_TOKEN_LENGTH:
            raise UsageError(
                f"tokens of {_MIN_TOKEN_LENGTH} ASCII characters or more without spaces",
                f"one of {len(token)} characters",
                "make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'",
                f"A token in {os.fspath(path)} is too short, or has other characters than "
                "ASCII letters, digits and signs.",
            )
    if not tokens:
        raise UsageError(
            f"a token in {os.fspath(path)}",
            "none",
            "write a long random token into it",
            f"The token file {os.fspath(path)} has no token.",
        )
    return {
        token_hash(token): hashlib.sha256(f"maskdepth-owner:{token}".encode()).hexdigest()[:32]
        for token in tokens
    }
