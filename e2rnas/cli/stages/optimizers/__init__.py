"""Stages that train or analyse a learned optimizer."""
