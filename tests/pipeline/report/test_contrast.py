"""Letters of the page are readable on every ground, in light and dark."""

import re

import pytest

from pipeline.report.html import TEMPLATES


def luminance(colour):
    """Relative, of a #rrggbb colour (WCAG 2.1)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_letters_are_readable_on_every_ground_in_light_and_dark():
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    themes = [dict(re.findall(r"--(\w+): (#\w{6})", rule)) for rule in re.findall(r":root \{([^}]*)\}", style)]
    assert len(themes) == 2
    for theme in themes:
        for letters in ("ink", "soft", "accent", "good", "bad"):
            for ground in ("paper", "panel", "own"):
                lighter, darker = sorted((luminance(theme[letters]), luminance(theme[ground])), reverse=True)
                assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (letters, ground)


def test_the_contrast_of_these_tests_is_the_published_one():
    assert (luminance("#ffffff") + 0.05) / (luminance("#000000") + 0.05) == pytest.approx(21)
    assert (luminance("#ffffff") + 0.05) / (luminance("#767676") + 0.05) == pytest.approx(4.54, abs=0.005)  # WebAIM
