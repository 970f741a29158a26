"""Stages of analytic continuation."""
