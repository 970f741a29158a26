"""Draw the first screen of a report in a headless Chromium: python docs/draw_report.py runs/demo/report.html [picture].

The picture is docs/report.png unless another is named.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SCREEN = (1280, 860)
COLOURS = 64  # of a page of text and two or three hues
PICTURE = Path(__file__).parent / "report.png"


def draw(page: Path, picture: Path) -> None:
    """Write the first screen of a page as a picture. Raises FileNotFoundError without a browser or a page."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None or not page.exists():
        missing = f"one of {', '.join(BROWSERS)}" if browser is None else page
        raise FileNotFoundError(f"expected {missing}, found none")
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        size = f"--window-size={SCREEN[0]},{SCREEN[1]}"
        options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", size)
        subprocess.run(  # noqa: S603
            [browser, *options, f"--user-data-dir={folder}/profile", f"--screenshot={shot}", page.resolve().as_uri()],
            check=True,
            capture_output=True,
            timeout=300,
        )
        Image.open(shot).convert("RGB").quantize(COLOURS).save(picture, optimize=True)


if __name__ == "__main__":
    try:
        draw(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else PICTURE)
    except (IndexError, FileNotFoundError) as error:
        sys.exit(f"{__doc__}\n{error}")
