"""Phases of benchmarks/cuda.py: each measures one claim about CUDA, and gives its rows one by one."""
