"""fsprobe: why is my Python job slow to start, is it the filesystem, and what do I do about it?"""

__version__ = "0.1.0"
