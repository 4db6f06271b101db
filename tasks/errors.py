"""Errors that say what the user can do."""

from __future__ import annotations

from lightning_fabric.utilities.exceptions import MisconfigurationException

__all__ = ["USER_ERRORS", "UserError"]


class UserError(ValueError):
    """A mistake in what the user gave; its text is all that the user needs to see."""


USER_ERRORS = (ValueError, OSError, ImportError, MisconfigurationException)
"""Errors whose text says what the user can do."""
