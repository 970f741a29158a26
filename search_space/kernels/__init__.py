"""Faster arithmetic for supernets and networks, with the values of plain PyTorch to rounding."""
