"""The lab: a throwaway box in containers, with the registry and the model it needs."""

from tests.lab.lab import Lab
from tests.lab.report import LabError

__all__ = ["Lab", "LabError"]
