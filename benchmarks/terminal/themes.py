"""The colours that usual terminals come with: GNOME's (Tango), Visual Studio Code's, xterm's, and Solarized."""

from __future__ import annotations

from benchmarks.terminal.screen import Theme

_TANGO = (
    "#2e3436 #cc0000 #4e9a06 #c4a000 #3465a4 #75507b #06989a #d3d7cf "
    "#555753 #ef2929 #8ae234 #fce94f #729fcf #ad7fa8 #34e2e2 #eeeeec"
)
_CODE_DARK = (
    "#000000 #cd3131 #0dbc79 #e5e510 #2472c8 #bc3fbc #11a8cd #e5e5e5 "
    "#666666 #f14c4c #23d18b #f5f543 #3b8eea #d670d6 #29b8db #e5e5e5"
)
_CODE_LIGHT = (
    "#000000 #cd3131 #107c10 #949800 #0451a5 #bc05bc #0598bc #555555 "
    "#666666 #cd3131 #14ce14 #b5ba00 #0451a5 #bc05bc #0598bc #a5a5a5"
)
_XTERM = (
    "#000000 #cd0000 #00cd00 #cdcd00 #0000ee #cd00cd #00cdcd #e5e5e5 "
    "#7f7f7f #ff0000 #00ff00 #ffff00 #5c5cff #ff00ff #00ffff #ffffff"
)
_SOLARIZED = (
    "#073642 #dc322f #859900 #b58900 #268bd2 #d33682 #2aa198 #eee8d5 "
    "#002b36 #cb4b16 #586e75 #657b83 #839496 #6c71c4 #93a1a1 #fdf6e3"
)


def _theme(name: str, background: str, foreground: str, colours: str) -> Theme:
    return Theme(name, background, foreground, tuple(colours.split()))


DARK = _theme("Tango, dark", "#000000", "#d3d7cf", _TANGO)
LIGHT = _theme("Tango, light", "#ffffff", "#2e3436", _TANGO)
ALL = (
    DARK,
    _theme("Code, dark", "#1e1e1e", "#cccccc", _CODE_DARK),
    _theme("xterm, dark", "#000000", "#e5e5e5", _XTERM),
    _theme("Solarized, dark", "#002b36", "#839496", _SOLARIZED),
    LIGHT,
    _theme("Code, light", "#ffffff", "#333333", _CODE_LIGHT),
    _theme("xterm, light", "#ffffff", "#000000", _XTERM),
    _theme("Solarized, light", "#fdf6e3", "#657b83", _SOLARIZED),
)
