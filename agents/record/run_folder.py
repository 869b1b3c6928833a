"""The folder of a training run: its files, who may write to it, and what a killed process left in it."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from lambda_rl.files import atomic_write, sweep

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


class RunFolder:
    """The places of a run's files.

    ::

        <path>/config.yaml                all options, resolved
               command.txt                the command that started the run, then those that resumed it
               metrics.csv                the learning curve
               policy.safetensors         the best policy so far
               checkpoints/latest.pt      what a resumed run goes on from
               checkpoints/previous.pt    the one before, in case that latest.pt is damaged
               .lock                      there while a process trains in the folder, or after it was killed

    Args:
        path: the folder; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config, self.command = path / "config.yaml", path / "command.txt"
        self.metrics, self.policy = path / "metrics.csv", path / "policy.safetensors"
        self.latest, self.previous = (path / "checkpoints" / f"{name}.pt" for name in ("latest", "previous"))
        self.lock = path / ".lock"
        # config.yaml last: without it, a folder with a checkpoint could be neither resumed nor started.
        self._files = (self.latest, self.previous, self.policy, self.metrics, self.config)

    @classmethod
    def of_checkpoint(cls, path: Path) -> RunFolder:
        """The folder of a run of whose checkpoints this is one; of a checkpoint elsewhere, the folder it lies in."""
        return cls(path.parent.parent if path.parent.name == "checkpoints" else path.parent)

    def holds_run(self) -> bool:
        """Whether a new run would replace anything; the record of a command alone is nothing."""
        return any(os.path.lexists(file) for file in self._files)

    def refuse_run(self) -> None:
        """Keeps a new run from replacing another.

        Raises:
            ValueError: there is a run in this folder, or files with the names of one.
        """
        if self.holds_run():
            raise ValueError(
                f"{self.path}: there is a run in this folder; go on with it (--resume {shlex.quote(str(self.path))}), "
                f"give another --name, or replace it (--overwrite)"
            )

    def has_results(self) -> bool:
        """Whether something learned is there: a policy, or a row of the learning curve."""
        if self.policy.is_file():
            return True
        return self.metrics.is_file() and self.metrics.read_bytes().count(b"\n") > 1

    def clear(self) -> None:
        """Deletes the run's files and no others. Whenever this is cut off, what is left can be told for a run."""
        for file in self._files:
            file.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Removes temporary files that killed processes left; call it under the lock."""
        for file in (*self._files, self.command):
            sweep(file)

    def go_back(self) -> None:
        """Puts the checkpoint before the last in the place of the last, which is damaged."""
        os.replace(self.previous, self.latest)

    def record_command(self, command: str, *, first: bool = False) -> None:
        """Adds a line to ``command.txt``.

        Args:
            command: what started this process.
            first: of a new run; an old record is replaced.
        """
        old = b"" if first or not self.command.is_file() else self.command.read_bytes()
        atomic_write(self.command, old + command.encode() + b"\n")

    def first_command(self) -> str | None:
        """The command that started the run; None if it was not recorded."""
        if not self.command.is_file():
            return None
        lines = self.command.read_text(encoding="utf-8", errors="replace").splitlines()
        return lines[0] if lines else None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from training in this folder; made when missing.

        The lock is the system's, so that it ends with the process however that ends: a ``.lock`` that a killed
        process left holds nobody up. Where the file system has no locks, a warning says so.

        Raises:
            ValueError: another process (or another call in this one) trains in this folder; the message names it.
            OSError: the folder cannot be written to.
        """
        file = self._lock()
        try:
            yield
        finally:
            # Before it is released: afterwards it may be another's. Windows deletes no open file.
            with contextlib.suppress(OSError):
                self.lock.unlink()
            file.close()

    def _lock(self) -> IO[bytes]:
        while True:
            self.path.mkdir(parents=True, exist_ok=True)
            file = self.lock.open("ab+")
            try:
                self._take(file)
                # The one who had it may have deleted the file between our opening and locking it.
                if self.lock.exists() and os.path.samestat(os.fstat(file.fileno()), self.lock.stat()):
                    file.truncate(0)
                    file.write(str(os.getpid()).encode())
                    file.flush()
                    return file
            except BaseException:
                file.close()
                raise
            file.close()

    def _take(self, file: IO[bytes]) -> None:
        try:
            _lock_file(file)
        except (BlockingIOError, PermissionError):
            owner = b""
            with contextlib.suppress(OSError):
                file.seek(0)
                owner = file.read(20)
            named = f" (number {int(owner)})" if owner.isdigit() else ""
            raise ValueError(
                f"{self.path}: another process{named} is training in this folder; wait for its end, or give "
                f"another --name"
            ) from None
        except OSError as error:
            warnings.warn(
                f"{self.path}: this file system has no locks ({error.strerror}); two processes in this folder "
                f"would destroy each other's files",
                RuntimeWarning,
                stacklevel=5,
            )


if sys.platform == "win32":

    def _lock_file(file: IO[bytes]) -> None:
        """Locks without waiting; PermissionError if another has it."""
        file.seek(1 << 20)  # behind the owner's number: nobody can read what is locked
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:

    def _lock_file(file: IO[bytes]) -> None:
        """Locks without waiting; BlockingIOError if another has it."""
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
