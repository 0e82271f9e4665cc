"""Publish a vDSO: values that every process on the machine reads at the cost of a load.

A vDSO has one publisher. :meth:`Publisher.create` builds one from a declaration and publishes
it, :meth:`Publisher.open` publishes one that ``vdso build`` made. Leaving the ``with`` block
retires it, which readers see at once; a process that dies leaves the last values, and readers
find them stale.
"""

from __future__ import annotations

import ctypes
import os
from types import TracebackType
from typing import Optional, Type, Union

__all__ = ["Error", "Publisher", "Scalar", "bounds"]

Value = Union[bool, int, float, str]


class Error(OSError):
    """What the library refused: ``errno`` and a sentence that says what to do."""


def _load() -> ctypes.CDLL:
    path = os.environ.get("VDSOKIT_LIBRARY", "libvdsokit.so.0")
    try:
        library = ctypes.CDLL(path, use_errno=True)
    except OSError as error:
        raise ImportError(
            f"{path} cannot be loaded ({error}): install libvdsokit, or name its file in "
            "VDSOKIT_LIBRARY"
        ) from error
    text, handle = ctypes.c_char_p, ctypes.c_void_p
    signatures: dict[str, tuple[object, list[object]]] = {
        "vdsokit_bounds": (
            ctypes.c_int,
            [ctypes.c_int, ctypes.POINTER(ctypes.c_uint64), ctypes.POINTER(ctypes.c_uint64)],
        ),
        "vdsokit_create": (handle, [text, text]),
        "vdsokit_open": (handle, [text]),
        "vdsokit_set": (ctypes.c_int, [handle, text, text]),
        "vdsokit_assign": (ctypes.c_int, [handle, text]),
        "vdsokit_get": (ctypes.c_ssize_t, [handle, text, text, ctypes.c_size_t]),
        "vdsokit_var": (handle, [handle, text]),
        "vdsokit_var_set_f64": (ctypes.c_int, [handle, ctypes.c_double]),
        "vdsokit_var_set_i64": (ctypes.c_int, [handle, ctypes.c_int64]),
        "vdsokit_var_set_u64": (ctypes.c_int, [handle, ctypes.c_uint64]),
        "vdsokit_var_set_bool": (ctypes.c_int, [handle, ctypes.c_bool]),
        "vdsokit_var_free": (None, [handle]),
        "vdsokit_beat": (ctypes.c_int, [handle]),
        "vdsokit_stale_after": (ctypes.c_int, [handle, ctypes.c_uint64]),
        "vdsokit_retire": (ctypes.c_int, [handle]),
        "vdsokit_close": (None, [handle]),
        "vdsokit_error": (text, []),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library


_library = _load()


def _failure() -> Error:
    sentence = _library.vdsokit_error()
    message = sentence.decode() if sentence else os.strerror(ctypes.get_errno())
    return Error(ctypes.get_errno(), message)


def _check(result: int) -> int:
    if result < 0:
        raise _failure()
    return result


def _text(value: Value) -> bytes:
    if isinstance(value, bool):
        return b"true" if value else b"false"
    return str(value).encode()


def _quoted(value: Value) -> bytes:
    text = _text(value)
    if not isinstance(value, str):
        return text
    return b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _path(path: "os.PathLike[str] | str") -> bytes:
    return os.fsencode(path)


def bounds(clock: int) -> tuple[int, int]:
    """The earliest and the latest moment that the true time of a clock may be, in nanoseconds.

    ``clock`` is one of the module ``time``, such as ``time.CLOCK_REALTIME``. Of two events, on
    two machines too, the first surely happened first if its latest moment is before the earliest
    of the other.

    :raises Error: ``ENODATA`` for a wall clock that no NTP daemon keeps, ``EINVAL`` for a clock
        that this machine does not have.
    """
    earliest, latest = ctypes.c_uint64(), ctypes.c_uint64()
    _check(_library.vdsokit_bounds(clock, ctypes.byref(earliest), ctypes.byref(latest)))
    return earliest.value, latest.value


class Scalar:
    """A scalar variable: :meth:`set` is one store."""

    def __init__(self, publisher: "Publisher", name: str) -> None:
        handle = _library.vdsokit_var(publisher._open(), name.encode())
        if not handle:
            raise _failure()
        self._handle: Optional[int] = handle

    def set(self, value: Union[bool, int, float]) -> None:
        """Writes the value; readers see it at their next load.

        :raises Error: ``ERANGE`` when the type does not hold the value, ``EINVAL`` when it is of
            another kind than the variable. Nothing is written then.
        """
        if self._handle is None:
            raise ValueError("the handle is closed")
        if isinstance(value, bool):
            _check(_library.vdsokit_var_set_bool(self._handle, value))
        elif isinstance(value, float):
            _check(_library.vdsokit_var_set_f64(self._handle, value))
        elif -(2**63) <= value < 2**63:
            _check(_library.vdsokit_var_set_i64(self._handle, value))
        elif value < 2**64 and value > 0:
            _check(_library.vdsokit_var_set_u64(self._handle, value))
        else:
            raise OverflowError(f"{value} needs more than 64 bits")

    def close(self) -> None:
        """Gives the handle back; further calls do nothing."""
        if self._handle is not None:
            _library.vdsokit_var_free(self._handle)
            self._handle = None

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            self.close()


class Publisher:
    """The one publisher of a vDSO. Made by :meth:`create` or :meth:`open`."""

    def __init__(self, handle: Optional[int]) -> None:
        if not handle:
            raise _failure()
        self._handle: Optional[int] = handle

    @classmethod
    def create(
        cls,
        declaration: "os.PathLike[str] | str",
        path: "os.PathLike[str] | str | None" = None,
    ) -> "Publisher":
        """Builds the declaration's image and publishes it at ``path``.

        Without ``path`` the file lies beside the declaration, or in the ``RuntimeDirectory=`` of a
        systemd service.

        :raises Error: ``EBUSY`` when another process publishes there, ``EPERM`` when nothing can
            be published in that directory, ``EINVAL`` for a declaration with errors.
        """
        at = None if path is None else _path(path)
        return cls(_library.vdsokit_create(_path(declaration), at))

    @classmethod
    def open(cls, path: "os.PathLike[str] | str") -> "Publisher":
        """Publishes the vDSO in the file ``path``, with the values that are there."""
        return cls(_library.vdsokit_open(_path(path)))

    def _open(self) -> int:
        if self._handle is None:
            raise ValueError("the publisher is closed")
        return self._handle

    def scalar(self, name: str) -> Scalar:
        """A handle that writes a scalar with one store."""
        return Scalar(self, name)

    def set(self, name: str, value: Value) -> None:
        """Writes a variable, or a field ``"wind.speed"`` of a record."""
        _check(_library.vdsokit_set(self._open(), name.encode(), _text(value)))

    def assign(self, **values: Value) -> None:
        """Writes several variables, or none if one of them is refused.

        ``wind__speed`` names the field ``wind.speed``; fields of one record are written together.
        """
        line = b" ".join(
            name.replace("__", ".").encode() + b"=" + _quoted(value)
            for name, value in values.items()
        )
        _check(_library.vdsokit_assign(self._open(), line))

    def get(self, name: str) -> str:
        """The value now, as text."""
        size = 256
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = _check(_library.vdsokit_get(self._open(), name.encode(), buffer, size))
            if length < size:
                return buffer.value.decode()
            size = length + 1

    def beat(self) -> None:
        """Sends a heartbeat: all values are up to date now."""
        _check(_library.vdsokit_beat(self._open()))

    def stale_after(self, seconds: float) -> None:
        """Promises a heartbeat at least this often; 0 promises nothing."""
        _check(_library.vdsokit_stale_after(self._open(), round(seconds * 1e9)))

    def retire(self) -> None:
        """Tells readers that no value will change again; writes are refused from then on."""
        _check(_library.vdsokit_retire(self._open()))

    def close(self) -> None:
        """Retires the vDSO and frees the publisher; further calls do nothing."""
        if self._handle is not None:
            _library.vdsokit_close(self._handle)
            self._handle = None

    def __enter__(self) -> "Publisher":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()
