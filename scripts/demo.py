"""The whole way on small real images: python scripts/demo.py. The same stages and files as the other scripts."""

from e2rnas.cli.main import run

if __name__ == "__main__":
    run("demo")
