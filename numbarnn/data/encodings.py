"""Encodings of text files."""

import codecs
import gzip
import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator

from numbarnn.checks import brief, check_file

BOM = "\ufeff"
# What reading a compressed file raises where it is none, or is cut off.
DAMAGED = (EOFError, gzip.BadGzipFile, lzma.LZMAError, zipfile.BadZipFile, zlib.error)


def check_encoding(encoding: str) -> str:
    """Return the name of an encoding; raise ValueError unless it is one of text that Python knows."""
    try:
        codecs.lookup(encoding)
        "".encode(encoding)
    except (LookupError, TypeError, ValueError):
        raise ValueError(
            f"encoding must be one that Python knows, such as 'utf-8' or 'latin-1'; there is no encoding {brief(encoding)}"
        ) from None
    return encoding


def not_this_encoding(path, encoding: str, error: UnicodeError) -> ValueError:
    """Return the error of a file that has another encoding."""
    # Where that is, the error does not tell: files are decoded piece by piece.
    why = error.reason if isinstance(error, UnicodeDecodeError) else str(error)
    other = "latin-1" if codecs.lookup(encoding).name == "utf-8" else "utf-8"
    return ValueError(f"{shown(path)} is not {encoding} text ({why}); pass encoding=, such as encoding={other!r}")


def shown(path) -> str:
    """Return how messages name a file: by its path, or the name of a file that is open."""
    return str(getattr(path, "name", "the file")) if hasattr(path, "read") else repr(os.fspath(path))


def broken(path, error: Exception) -> ValueError:
    """Return the error of a compressed file that cannot be read."""
    return ValueError(f"{shown(path)} is not a compressed file, or is cut off or damaged: {error}")


def read_lines(path: str | os.PathLike, encoding: str = "utf-8") -> Iterator[str]:
    """Yield the lines of a file, also compressed (.gz), with their line breaks; a byte order mark is not part of the first.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file, or a folder of that name.
    ValueError
        If it has another encoding, or there is no such encoding.
    """
    check_encoding(encoding)
    check_file(path)
    with (gzip.open if os.fspath(path).endswith(".gz") else open)(path, "rt", encoding=encoding) as file:
        try:
            yield file.readline().removeprefix(BOM)
            yield from file
        except UnicodeError as error:
            raise not_this_encoding(path, encoding, error) from None
        except DAMAGED as error:
            raise broken(path, error) from None
