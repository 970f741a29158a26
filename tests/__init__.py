"""Tests, in a tree that mirrors the code; what they share is in tests/support/, and no test imports a test."""

import pytest

pytest.register_assert_rewrite("tests.support")
