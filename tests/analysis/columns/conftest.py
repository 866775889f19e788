"""The recorder, for tests that read what it wrote."""

from tests.capture.backends.inline.conftest import library

__all__ = ["library"]
