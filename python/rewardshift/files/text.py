"""Text files that users bring."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .paths import given_path

if TYPE_CHECKING:
    import os


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """The lines of a UTF-8 file, with or without the mark that Windows' programs begin it with.

    Only line feeds end a line: JSON may have other separators, such as U+2028, in its strings.

    Raises:
        ValueError: If the file is not UTF-8.
    """
    try:
        text = given_path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        utf16 = error.object[:2] in (b"\xff\xfe", b"\xfe\xff")
        is_what = "UTF-16" if utf16 else f"not UTF-8 ({error.reason} at byte {error.start})"
        raise ValueError(f"{path} is {is_what}: save it as UTF-8") from None
    return text.split("\n")
