"""What is imported once it is asked for, so that settings are read and refused without the seconds of PyTorch."""

from on_demand.exports import exports
from on_demand.options import Option, chosen, label, table

__all__ = ["Option", "chosen", "exports", "label", "table"]
