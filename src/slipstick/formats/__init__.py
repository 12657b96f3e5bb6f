"""Which numbers exist."""

from slipstick.formats.lns import LNS

__all__ = ["LNS"]
