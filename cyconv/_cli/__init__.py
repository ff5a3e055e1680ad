"""The commands of ``cyconv`` (see ``cyconv.__main__``): one module per command, and image files."""

from __future__ import annotations

__all__ = ["CommandError"]


class CommandError(Exception):
    """A command cannot be carried out; the message is the one line that its user reads."""
