"""A file on its way: the bytes so far, and a journal that says which of them are known to be sound.

The journal is a text file of JSON lines. The first line says what is fetched; each further one gives the end
of a segment and its digest, and is written after the segment has been synced. So after a kill or a power cut,
what the journal tells of can be verified, and everything behind it is cut off and fetched again.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from ilion import storage
from ilion.errors import ArtifactError
from ilion.opening import open_regular, parse_json, read_bytes

SEGMENT = 4 << 20
"""Bytes between two lines of the journal, which is the most that a kill loses."""
FORMAT = 1


@dataclass(frozen=True)
class Head:
    """The file that a partial file is a part of.

    Args:
        url: Address that its bytes came from.
        total: Bytes of the whole file; None if unknown.
        etag: Strong entity tag, or "".
        modified: ``Last-Modified``, or "".
    """

    url: str = ""
    total: int | None = None
    etag: str = ""
    modified: str = ""


class Partial:
    """A partial file, opened to go on; what the journal does not vouch for is cut off first.

    Args:
        path: File of the bytes; the journal lies beside it.
        segment: Bytes between two lines of the journal.

    Raises:
        ArtifactError: The folder cannot be written.
    """

    def __init__(self, path: Path, segment: int = SEGMENT) -> None:
        self.path = path
        self.journal = path.with_name(f"{path.name}.journal")
        self.head = Head()
        self.end = 0
        self.damaged = 0
        self._segment = segment
        self._whole = hashlib.sha256()
        self._piece = hashlib.blake2b(digest_size=16)
        self._marked = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lines = self._read_sound()
        self._file: IO[bytes] = self._open(path, "r+b" if path.exists() else "w+b")
        self._log: IO[bytes] | None = None
        self._cut()

    @staticmethod
    def _open(path: Path, mode: str) -> IO[bytes]:
        try:
            return path.open(mode)
        except OSError as error:
            raise _write_error(path, error) from error

    def _read_sound(self) -> list[dict[str, Any]]:
        """Read the journal, and re-read the bytes that it vouches for as far as they are sound."""
        try:
            raw = read_bytes(self.journal).split(b"\n")[:-1]
            head = parse_json(raw[0])
            if head.pop("format") != FORMAT:
                return []
            self.head = Head(**head)
        except (OSError, ValueError, IndexError, KeyError, TypeError, AttributeError):
            return []
        sound: list[dict[str, Any]] = []
        if not self.path.exists():
            return sound
        with open_regular(self.path) as file:
            for line in raw[1:]:
                try:
                    entry = parse_json(line)
                    end, digest = int(entry["end"]), str(entry["digest"])
                except (ValueError, KeyError, TypeError):
                    break
                piece = hashlib.blake2b(digest_size=16)
                whole = self._whole.copy()
                left = end - self.end
                while left > 0 and (data := file.read(min(left, 1 << 20))):
                    piece.update(data)
                    whole.update(data)
                    left -= len(data)
                if left != 0 or piece.hexdigest() != digest:
                    self.damaged += 1
                    break
                self._whole, self.end = whole, end
                sound.append({"end": end, "digest": digest})
        self._marked = self.end
        return sound

    def _cut(self) -> None:
        """Keep the sound bytes and the lines about them; lines go first, so that they never tell too much."""
        self._write_journal()
        try:
            self._file.truncate(self.end)
            self._file.seek(self.end)
        except OSError as error:
            raise _write_error(self.path, error) from error

    def _write_journal(self) -> None:
        if self._log is not None:
            self._log.close()
        lines = [{"format": FORMAT, **asdict(self.head)}, *self._lines]
        storage.write_bytes(self.journal, "".join(f"{json.dumps(line)}\n" for line in lines).encode())
        self._log = self._open(self.journal, "ab")

    def start(self, head: Head) -> None:
        """Begin anew, as a part of the file in ``head``; all bytes so far are dropped."""
        self.head, self.end, self._marked, self._lines = head, 0, 0, []
        self._whole, self._piece = hashlib.sha256(), hashlib.blake2b(digest_size=16)
        self._cut()

    def move_to(self, head: Head) -> None:
        """Go on with the same bytes from another address, or with a size now known."""
        if head != self.head:
            self.mark()
            self.head = head
            self._write_journal()

    def write(self, data: bytes) -> None:
        """Append bytes.

        Raises:
            ArtifactError: The disk is full; what was there before is kept.
        """
        view = memoryview(data)
        while view:
            room = self._segment - (self.end - self._marked)
            now, view = view[:room], view[room:]
            try:
                self._file.write(now)
            except OSError as error:
                raise _write_error(self.path, error) from error
            self._whole.update(now)
            self._piece.update(now)
            self.end += len(now)
            if self.end - self._marked >= self._segment:
                self.mark()

    def mark(self) -> None:
        """Sync the bytes that were written, and vouch for them in the journal."""
        if self.end == self._marked or self._log is None:
            return
        try:
            # bytes first, then the line: after a power cut the journal must not know more than the file
            self._file.flush()
            os.fsync(self._file.fileno())
            line = {"end": self.end, "digest": self._piece.hexdigest()}
            self._log.write(f"{json.dumps(line)}\n".encode())
            self._log.flush()
            os.fsync(self._log.fileno())
        except OSError as error:
            raise _write_error(self.path, error) from error
        self._lines.append(line)
        self._marked, self._piece = self.end, hashlib.blake2b(digest_size=16)

    def sha256(self) -> str:
        """Return the digest of all bytes so far."""
        return self._whole.hexdigest()

    def close(self) -> None:
        """Vouch for what is there, as far as the disk allows, and close."""
        try:
            self.mark()
        except ArtifactError:
            # a full disk: the journal still tells of what was synced before
            pass
        finally:
            for file in (self._file, self._log):
                if file is not None:
                    try:
                        file.close()
                    except OSError:
                        continue

    def discard(self) -> None:
        """Close, and delete the bytes and the journal."""
        self._marked = self.end
        for file in (self._file, self._log):
            if file is not None:
                file.close()
        self.path.unlink(missing_ok=True)
        self.journal.unlink(missing_ok=True)

    def finish(self, target: Path) -> None:
        """Give the whole file its name; the journal is deleted last."""
        self.close()
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(self.path, target)
        except OSError as error:
            raise _write_error(target, error) from error
        self.journal.unlink(missing_ok=True)


def _write_error(path: Path, error: OSError) -> ArtifactError:
    return ArtifactError(
        f"{path}: cannot be written ({error.strerror}); free space or choose another folder, then run the "
        "same command again to go on"
    )
