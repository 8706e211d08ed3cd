"""Reads the golden vectors of the protocol."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict, List

#: Where the vectors are; a copy of this folder elsewhere names them by SYNCLINE_VECTORS.
FOLDER = Path(
    os.environ.get("SYNCLINE_VECTORS") or Path(__file__).resolve().parents[3] / "packages" / "protocol" / "vectors"
)


def cases(name: str) -> List[Dict[str, Any]]:
    """The cases of a file, which are there."""
    found = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    assert found, f"{name}.json has no cases"
    return found
