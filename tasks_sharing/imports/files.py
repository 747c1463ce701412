"""The files of tasks in a folder or an archive: found, and read within limits.

Whoever made the archive may have made it to do harm. Nothing is ever unpacked: of the files with
the names below, one at a time is read into memory, up to a limit, and a name is never a path here.
"""

import io
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol

from django.conf import settings

from roocloud.lib.refusals import InvalidInput, Refusal
from roocloud.lib.text import clean_label

#: Of a task: what was said, oldest name last.
CONVERSATIONS = ("ui_messages.json", "claude_messages.json")
API_HISTORY = "api_conversation_history.json"
METADATA = "task_metadata.json"
ITEM = "history_item.json"
_OF_A_TASK = {*CONVERSATIONS, API_HISTORY, METADATA, ITEM}
#: Beside the tasks: lists of all of them, of Roo Code and of Cline.
_LISTS = {"_index.json", "taskHistory.json"}
_PIECE = 2**20
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)


class Unreadable(Refusal):
    """A file cannot be read; the message says why, for the person whose it is."""


class Source(Protocol):
    """Folders of tasks. A folder is a path, with slashes, and empty for the top."""

    @property
    def folders(self) -> list[str]: ...

    @property
    def lists(self) -> list[str]:
        """Paths of files that list tasks."""

    def has(self, folder: str, name: str) -> bool: ...

    def pieces(self, path: str) -> Iterator[bytes]:
        """The bytes of a file. Raises Unreadable, also on the way."""


def path_of(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def read(source: Source, path: str) -> bytes:
    """A whole file, of at most ROOCLOUD_IMPORT_FILE_LIMIT bytes. Raises Unreadable."""
    limit = settings.ROOCLOUD_IMPORT_FILE_LIMIT
    pieces, size = [], 0
    for piece in source.pieces(path):
        size += len(piece)
        if size > limit:
            name = path.rpartition("/")[2]
            raise Unreadable(f"{name} is larger than {limit // 2**20} MiB")
        pieces.append(piece)
    return b"".join(pieces)


class _Found:
    """The paths of what may be read, sorted."""

    def __init__(self) -> None:
        self._of: dict[str, Any] = {}

    def _add(self, path: str, handle: Any) -> None:
        if path.rpartition("/")[2] in _OF_A_TASK | _LISTS:
            self._of.setdefault(path, handle)

    @property
    def folders(self) -> list[str]:
        paths = (path.rpartition("/") for path in self._of)
        return sorted({folder for folder, _, name in paths if name in CONVERSATIONS})

    @property
    def lists(self) -> list[str]:
        return sorted(path for path in self._of if path.rpartition("/")[2] in _LISTS)

    def has(self, folder: str, name: str) -> bool:
        return path_of(folder, name) in self._of


class Folder(_Found):
    """A folder on this machine. Symbolic links in it are not followed: they may lead anywhere."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        root = root.resolve()
        above = root.parent  # for the folder of one task, whose name is the task's id
        for folder, inner, names in os.walk(root):
            # Snapshots of workspaces: thousands of files, and none of them a task's.
            inner[:] = sorted(set(inner) - {"checkpoints"})
            for name in names:
                path = Path(folder, name)
                self._add(path.relative_to(above).as_posix(), path)

    def pieces(self, path: str) -> Iterator[bytes]:
        try:
            # A pipe would wait for a writer for ever.
            number = os.open(self._of[path], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with open(number, "rb") as file:
                if not stat.S_ISREG(os.fstat(number).st_mode):
                    raise Unreadable(f"{path.rpartition('/')[2]} is not a regular file")
                while piece := file.read(_PIECE):
                    yield piece
        except OSError as fault:
            raise Unreadable(f"{path.rpartition('/')[2]}: {fault.strerror}") from None


class _Bounded(io.BufferedIOBase):
    """A file that is not read in large steps. zipfile reads the list of contents in one, whatever
    its length."""

    def __init__(self, file: IO[bytes], limit: int) -> None:
        self._file = file
        self._limit = limit

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = self._limit + 1 if size is None or size < 0 else size
        data = self._file.read(min(wanted, self._limit + 1))
        if len(data) > self._limit:
            raise InvalidInput(
                "The archive holds too many files. Leave the folders named checkpoints out of it."
            )
        return data

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


class Archive(_Found):
    """A zip file. Raises InvalidInput if it is none, or unpacks to more than is allowed."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        try:
            self._zip = zipfile.ZipFile(_Bounded(file, settings.ROOCLOUD_IMPORT_LISTING_LIMIT))
        except (*_DAMAGED, OSError):
            raise InvalidInput("The file is not a zip archive, or a damaged one") from None
        for entry in self._zip.infolist():
            # Some archivers of Windows write its separator.
            self._add(entry.filename.replace("\\", "/"), entry)
        limit = settings.ROOCLOUD_IMPORT_UNPACKED_LIMIT
        # A reader stops at the length that an entry declares, so that this is all there is to read.
        if sum(entry.file_size for entry in self._of.values()) > limit:
            raise InvalidInput(
                f"The archive unpacks to more than {limit // 2**20} MiB: import parts of it"
            )

    def pieces(self, path: str) -> Iterator[bytes]:
        entry: zipfile.ZipInfo = self._of[path]
        name = path.rpartition("/")[2]
        parts = PurePosixPath(path).parts
        if ".." in parts or parts[0] == "/" or ":" in parts[0]:
            raise Unreadable("Its path leads out of the archive")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise Unreadable(f"{name} is a symbolic link")
        if entry.flag_bits & 1:
            raise Unreadable(f"{name} is encrypted")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Unreadable(f"{name} is compressed in a way that is not supported: use plain zip")
        try:
            with self._zip.open(entry) as file:
                while piece := file.read(_PIECE):
                    yield piece
        except _DAMAGED:
            raise Unreadable(f"{name} is damaged in the archive") from None


def label_of(folder: str) -> str:
    """A folder as reports show it."""
    return clean_label(folder, 300) or "(the top of the archive)"
