"""Tokens of a service: random, shown once, kept as hashes, each with a role."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ilion import storage
from ilion.errors import ArtifactError, ConfigError

FILE = "tokens.json"
Role = Literal["read", "write"]
_NAME = re.compile(r"[\w.@-]{1,64}")


@dataclass(frozen=True)
class Token:
    """A token that somebody holds.

    Args:
        name: Name of the holder.
        role: ``read`` may search and give feedback; ``write`` may add and remove photos too.
    """

    name: str
    role: Role

    @property
    def writes(self) -> bool:
        """Whether it may change the index."""
        return self.role == "write"


def make_token(folder: Path, name: str, role: Role = "read") -> str:
    """Make a token for somebody; an earlier one of the same name ends.

    Args:
        folder: Folder of the index.
        name: Name of the holder.
        role: Rights of the holder.

    Returns:
        The token. Only its hash is stored, so it cannot be shown again.

    Raises:
        ConfigError: The name or the role cannot be used.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"token name {name!r}: use letters, digits and . _ @ -, at most 64")
    if role not in get_args(Role):
        raise ConfigError(f"role {role!r}: choose one of {', '.join(get_args(Role))}")
    token = secrets.token_urlsafe(32)
    kept = [entry for entry in _read(folder) if entry["name"] != name]
    _write(folder, [*kept, {"name": name, "role": role, "sha256": _hash(token), "made": time.time()}])
    return token


def revoke_token(folder: Path, name: str) -> None:
    """End a token.

    Raises:
        ConfigError: Nobody of that name has one.
    """
    entries = _read(folder)
    kept = [entry for entry in entries if entry["name"] != name]
    if len(kept) == len(entries):
        names = ", ".join(entry["name"] for entry in entries) or "nobody"
        raise ConfigError(f"there is no token of {name!r}; {names} has one")
    _write(folder, kept)


def tokens(folder: Path) -> tuple[Token, ...]:
    """Return who holds tokens."""
    return tuple(Token(entry["name"], entry["role"]) for entry in _read(folder))


def find_token(folder: Path, token: str) -> Token | None:
    """Return who holds a token; None for one that nobody was given."""
    digest, found = _hash(token), None
    for entry in _read(folder):  # all of them, so that the time tells nothing
        if hmac.compare_digest(entry["sha256"], digest):
            found = Token(entry["name"], entry["role"])
    return found


def _hash(token: str) -> str:
    # of 256 random bits: a slow hash, as for passwords, would protect nothing more
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _read(folder: Path) -> list[dict[str, Any]]:
    path = folder / FILE
    if not path.is_file():
        return []
    entries = storage.read_json(path)
    keys = {"name", "role", "sha256", "made"}
    if not isinstance(entries, list) or any(not isinstance(e, dict) or set(e) != keys for e in entries):
        raise ArtifactError(f"{path}: is no list of tokens; delete it and make new ones")
    return entries


def _write(folder: Path, entries: list[dict[str, Any]]) -> None:
    storage.write_json(folder / FILE, entries)
    os.chmod(folder / FILE, 0o600)
