"""Settings of what trains or analyses a learned optimizer."""
