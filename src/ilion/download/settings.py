"""Settings of the network and of mirrors: defaults, then a settings file, then the command line."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ilion.config import from_dict
from ilion.errors import ConfigError
from ilion.opening import parse_toml, read_bytes


@dataclass(frozen=True)
class _Plain:
    """The scalar settings, as a file may give them."""

    parallel: int = 4
    connect_timeout: float = 20.0
    read_timeout: float = 30.0
    slow: int = 1024
    retries: int = 8
    refetches: int = 2
    backoff: float = 1.0
    longest_wait: float = 300.0


@dataclass(frozen=True)
class DownloadSettings(_Plain):
    """Settings of a download.

    Args:
        parallel: Number of files fetched at once.
        connect_timeout: Seconds to reach a server.
        read_timeout: Seconds without a byte after which a connection counts as stalled.
        slow: Bytes a second below which a connection counts as stalled, averaged over ``read_timeout``.
        retries: Number of failures in a row, without progress, after which an address is given up.
        refetches: Number of times that a file with a wrong checksum is fetched again.
        backoff: Seconds before the first retry; each further one doubles it, up to a minute.
        longest_wait: Most seconds to wait; a server that asks for more by ``Retry-After`` ends the download.
        mirrors: Recipe name -> addresses that stand for the source's base, tried before it.
    """

    mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        for name in ("parallel", "connect_timeout", "read_timeout"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"download setting '{name}' must be above 0, got {getattr(self, name)}")
        for name in ("slow", "retries", "refetches", "backoff", "longest_wait"):
            if getattr(self, name) < 0:
                raise ConfigError(
                    f"download setting '{name}' must not be negative, got {getattr(self, name)}"
                )
        for recipe, addresses in self.mirrors.items():
            for address in addresses:
                check_url(address, f"mirror of {recipe}")


def check_url(url: str, what: str) -> str:
    """Return ``url`` if it is a plain http or https address.

    Raises:
        ConfigError: Another scheme, no host, or a name and password in it.

    >>> check_url("https://example.org/a", "mirror")
    'https://example.org/a'
    >>> check_url("file:///etc/passwd", "mirror")
    Traceback (most recent call last):
    ilion.errors.ConfigError: mirror 'file:///etc/passwd': only http:// and https:// addresses are fetched
    """
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{what} {url!r}: not an address ({error})") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError(f"{what} {url!r}: only http:// and https:// addresses are fetched")
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            f"{what}: an address must not hold a name and password; download the file by hand instead"
        )
    if any(ord(c) <= 32 or ord(c) == 127 for c in url):
        raise ConfigError(
            f"{what} {url!r}: an address has no blanks or control characters; write them as %20"
        )
    return url


def default_file() -> Path:
    """Return the path of the settings file: ``ilion/download.toml`` in the user's configuration folder."""
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "ilion" / "download.toml"


def load_settings(path: Path | None = None, **overrides: Any) -> DownloadSettings:
    """Read the settings file, and let what is given win.

    Args:
        path: TOML file with the fields of `DownloadSettings` and a table ``[mirrors]``; None takes the one of
            `default_file`, if it is there.
        **overrides: Fields that win over the file; None leaves the file's value.

    Raises:
        ConfigError: The file is missing or damaged, or a value is impossible.
    """
    values: dict[str, Any] = {}
    file = path or default_file()
    if path is not None or file.exists():
        try:
            values = parse_toml(read_bytes(file))
        except OSError as error:
            raise ConfigError(f"{file}: cannot be read ({error.strerror})") from None
        except ValueError as error:
            raise ConfigError(f"{file}: not TOML ({error})") from None
    mirrors = values.pop("mirrors", {})
    if not isinstance(mirrors, dict):
        raise ConfigError(f"{file}: [mirrors] must be a table of recipe = [addresses]")
    addresses: dict[str, tuple[str, ...]] = {}
    for name, given in mirrors.items():
        several = [given] if isinstance(given, str) else given
        if not isinstance(several, list) or not all(isinstance(url, str) for url in several):
            raise ConfigError(f"{file}: mirrors.{name} must be an address or a list of them, got {given!r}")
        addresses[name] = tuple(several)
    fields = dataclasses.asdict(from_dict(_Plain, values))
    fields |= {name: value for name, value in overrides.items() if value is not None}
    fields["mirrors"] = {**addresses, **fields.get("mirrors", {})}
    return DownloadSettings(**fields)
