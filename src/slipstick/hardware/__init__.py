"""The same arithmetic as hardware: RTL from the arithmetic object, proved equal, with area, delay and energy.

Needs the extra ``slipstick[hardware]``. ``import slipstick`` does not load it.
"""
