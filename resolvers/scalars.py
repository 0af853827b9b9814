"""The Python types behind the schema's own scalars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NewType

JSONObject = NewType("JSONObject", Mapping[str, object])
