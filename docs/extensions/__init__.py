"""What the site needs beside its pages: docstrings as reStructuredText, and pages that are made of the code."""
