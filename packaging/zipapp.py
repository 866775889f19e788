"""fsprobe.pyz: all of fsprobe in one file, with click, rich and jinja2. Any CPython from 3.10 on runs it, nothing is installed.

    python packaging/zipapp.py [-o FILE]

What needs matplotlib or pandas (pictures, data frames) takes the interpreter's own, or says so. The inline recorder's .so is
carried along and goes into the user's cache, as out of the recorder that travels.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("click", "jinja2", "rich", "typing-extensions")
"""typing-extensions: rich takes it on Python 3.10."""
UNUSED = ("pygments", "markdown_it", "mdurl", "bin", "share")
"""What rich takes to colour source code and to render Markdown, which fsprobe does not; and what is no module."""
MAIN = (
    b"import sys\n\nfrom fsprobe import archived\n\narchived.install(__loader__)\n\n"
    b"from fsprobe.__main__ import main\n\nsys.exit(main())\n"
)
SHEBANG = b"#!/usr/bin/env python3\n"
DATE = (1980, 1, 1, 0, 0, 0)
"""The same sources make the same file."""


def install(place: Path) -> None:
    """Put fsprobe and what it needs into a directory."""
    shutil.rmtree(ROOT / "build" / "lib", ignore_errors=True)  # what an older build left would come along
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    subprocess.run([*pip, "--target", str(place), "--no-deps", str(ROOT)], check=True)
    subprocess.run([*pip, "--target", str(place), "--upgrade", *PACKAGES], check=True)


def is_carried(name: str) -> bool:
    """Whether a file goes along: an archive can't load another's extension modules, of which there are replacements."""
    top = name.partition("/")[0].partition("-")[0].lower()
    is_foreign_so = name.endswith(".so") and not name.startswith("fsprobe/")
    return top not in UNUSED and "__pycache__" not in name and not is_foreign_so and not name.endswith("/RECORD")


def write(place: Path, out: Path) -> int:
    """Write the archive; returns the number of files in it."""
    names = sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())
    carried = [name for name in names if is_carried(name)]
    part = out.with_name(out.name + ".part")
    with part.open("wb") as target:
        target.write(SHEBANG)
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in [("__main__.py", MAIN), *((name, (place / name).read_bytes()) for name in carried)]:
                info = zipfile.ZipInfo(name, DATE)
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, data)
    part.chmod(0o755)
    part.replace(out)
    return len(carried) + 1


def main() -> int:
    """Build it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("fsprobe.pyz"))
    output = parser.parse_args().output
    with tempfile.TemporaryDirectory(prefix="fsprobe-zipapp-") as scratch:
        install(Path(scratch))
        n_files = write(Path(scratch), output)
    print(f"wrote {output}: {n_files} files, {output.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
