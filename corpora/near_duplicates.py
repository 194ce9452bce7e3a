"""placeholder until merged"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class NearDuplicateRules:
    threshold: str = "0.5"
