"""Take the result away: python scripts/export.py run=runs/mine [export.formats=[darts,onnx]] [genotype=DARTS_V2]."""

from e2rnas.cli.main import run

if __name__ == "__main__":
    run("export")
