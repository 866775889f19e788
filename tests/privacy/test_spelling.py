"""Names in every spelling: composed, decomposed, in capitals, percent-encoded, escaped."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsprobe.privacy.identities import Names
from fsprobe.privacy.learning import Learning
from fsprobe.privacy.redaction import Redaction
from fsprobe.privacy.spelling import canonical

LETTERS = "abcdefghijklmnopqrstuvwxyzäöüéèëñçøåšžłœαβγжшя"
NAMES = st.text(LETTERS, min_size=5, max_size=10).map(lambda text: unicodedata.normalize("NFC", text + "q7"))
ESCAPES = {
    "raw": lambda data: data,
    "percent": lambda data: b"".join(b"%%%02X" % code for code in data),
    "percent of what is not ASCII": lambda data: b"".join(b"%%%02x" % code if code > 127 else bytes((code,)) for code in data),
    "octal": lambda data: b"".join(b"\\%03o" % code if code > 127 else bytes((code,)) for code in data),
    "hexadecimal": lambda data: b"".join(b"\\x%02x" % code if code > 127 else bytes((code,)) for code in data),
    "all hexadecimal": lambda data: b"".join(b"\\x%02X" % code for code in data),
}  # fmt: skip
CASES = {"small": str.lower, "capitals": str.upper, "title": str.title, "as it is": str}


@given(
    NAMES,
    st.sampled_from(sorted(ESCAPES)),
    st.sampled_from(sorted(CASES)),
    st.sampled_from(["NFC", "NFD"]),
    st.sampled_from([b"/tmp/%s", b"/tmp/x-%s-y/z", b"/opt/%s.d/a", b"/data/%s/x", b"/home/%s", b"/tmp/file%%3A%%2F%%2F%%2Fhome%%2F%s%%2Fx"]),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_no_spelling_of_a_user_is_left(name: str, escape: str, case: str, form: str, place: bytes) -> None:
    names = Names()
    names.add_home(f"/home/{name}".encode())
    spelled = ESCAPES[escape](unicodedata.normalize(form, CASES[case](name)).encode())
    path = place % spelled
    Learning(names).path(path)
    hide = Redaction(names)
    for shown in (hide.path(path), hide.text(path), hide.text(b"see " + path + b" now"), hide.words(spelled)):
        assert spelled not in shown
        assert canonical(name.encode()) not in canonical(shown)


@pytest.mark.parametrize(
    "spelled",
    ["zoë".encode(), "zoe\u0308".encode(), "ZOË".encode(), "Zoë".encode(), b"zo%C3%AB", b"zo%c3%ab", b"zo\\303\\253", b"zo\\xc3\\xab", b"zo\xeb"],
)  # fmt: skip
def test_one_name_in_its_spellings(spelled: bytes) -> None:
    names = Names()
    names.add("user", "zoë".encode())
    assert Redaction(names).path(b"/tmp/" + spelled + b"-x") == b"/tmp/user1-x"
    assert canonical(spelled) == "zoë".encode()


def test_another_name_that_only_begins_so_stays() -> None:
    names = Names()
    names.add("user", b"zoe")
    names.add("user", b"alice17")
    hide = Redaction(names)
    for path in ("/opt/zoe\u0308/x".encode(), b"/opt/zoe%C3%AB", b"/opt/alice170", b"/opt/%61lice17x"):
        assert hide.path(path) == path


def test_a_lock_file_names_nobody() -> None:
    hide = Redaction(Names())
    for link, text in (
        (b"/home/x/.#file", b"carol@node7.1234:5678"),
        (b"/home/x/.mozilla/lock", b"10.1.2.3:+137"),
        (b"/home/x/SingletonLock", b"node7-1234"),
        (b"/home/x/.lock", b"carol"),
    ):
        assert hide.link_text(link, text).startswith(b"lock")
    assert hide.link_text(b"/usr/lib/libx.so", b"libx.so.1") == b"libx.so.1"
    assert hide.link_text(b"/proc/self/fd/3", b"pipe:[17]") == b"pipe:[17]"
