"""What the examples of the gallery must not leave behind for each other."""

from __future__ import annotations

from typing import Any

import torch


def reset(gallery_conf: dict[str, Any], file_name: str) -> None:
    """Gives torch its default type back, and one thread, so that figures repeat themselves."""
    torch.set_default_dtype(torch.float32)
    torch.set_num_threads(1)
