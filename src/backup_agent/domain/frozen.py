"""What every model of the domain has in common: immutable, strict, and closed to unknown fields."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, ser_json_bytes="utf8", defer_build=True)
