"""In which options programs take passwords: of those that are known, and of one that is given an account too."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fsprobe.privacy.secrets.secret_names import is_secret_value

Span = tuple[int, int]

_MYSQL = {b"-p": "joined"}
PROGRAMS: dict[bytes, dict[bytes, str]] = {
    **dict.fromkeys(b"mysql mysqldump mysqladmin mysqlimport mysqlshow mariadb mariadb-dump mysqlsh".split(), _MYSQL),
    b"sshpass": {b"-p": "value"},
    b"curl": {
        b"-u": "user", b"--user": "user", b"-U": "user", b"--proxy-user": "user", b"-b": "value", b"-E": "user", b"--cert": "user",
    },
    **dict.fromkeys(b"http https xh".split(), {b"-a": "value"}),
    b"lftp": {b"-u": "user"},
    **dict.fromkeys(
        b"docker podman nerdctl buildah skopeo helm oras apptainer singularity twine".split(),
        {b"-p": "value", b"--creds": "user", b"--src-creds": "user", b"--dest-creds": "user"},
    ),
    b"redis-cli": {b"-a": "value"},
    **dict.fromkeys(b"mongo mongosh mongodump mongorestore".split(), {b"-p": "value"}),
    **dict.fromkeys(b"ldapsearch ldapadd ldapmodify ldapwhoami".split(), {b"-w": "value"}),
    **dict.fromkeys(b"smbclient smbget rpcclient net".split(), {b"-U": "user"}),
    **dict.fromkeys(b"7z 7za 7zr unrar rar".split(), {b"-p": "joined", b"-hp": "joined"}),
    **dict.fromkeys(b"zip unzip sqlcmd bcp ipmitool p4".split(), {b"-P": "value"}),
    **dict.fromkeys(b"az cqlsh hydra psftp plink pscp".split(), {b"-p": "value", b"-pw": "value"}),
    **dict.fromkeys(b"pdftotext pdftoppm pdfinfo".split(), {b"-upw": "value", b"-opw": "value"}),
    **dict.fromkeys(b"swaks sendemail".split(), {b"-ap": "value", b"-xp": "value"}),
    b"ssh-keygen": {b"-N": "value", b"-P": "value"},
    **dict.fromkeys(b"xfreerdp wfreerdp signtool".split(), {b"/p": "after"}),
    **dict.fromkeys(b"kubectl vault".split(), {b"--from-literal": "pair", b"put": "pair", b"write": "pair"}),
    **dict.fromkeys(b"snmpget snmpwalk".split(), {b"-A": "value", b"-X": "value", b"-c": "value"}),
    b"openssl": {b"-k": "value", b"-K": "value", b"-passin": "value", b"-passout": "value", b"-pass": "value"},
    **dict.fromkeys(b"sqlplus exp imp expdp impdp sqlldr".split(), {b"": "slash"}),
    b"htpasswd": {},
}  # fmt: skip
"""Program -> its options: `value` (in the next word or in the same), `joined` (in the same alone), `user` (after USER: or USER%),
`slash` (USER/PASSWORD), `after` (after a colon), `pair` (NAME=PASSWORD, from this word on)."""
OF_ANY: dict[bytes, str] = {b"--user": "user", b"--proxy-user": "user"}
"""The same of a program that is not known: a name and a number, or two numbers (`--user 1000:1000`), are an account and a group."""
_ACCOUNT = re.compile(rb"(?:-[ulU]|--?(?:user|username|login|account))(?:=.+)?|-u[A-Za-z]\w*")
_AFTER_ACCOUNT = re.compile(rb"(?:-[pPw]|--p)(?:=?(.+))?", re.DOTALL)
_LIKE_PASSWORD = re.compile(rb"-p(?=.*[a-z])(?=.*[A-Z])(?=.*[\d!#$%^&*@])([^\s/.=,:]{6,})")
_OTHER_OPTIONS = frozenset(
    b"srun sbatch salloc squeue sacct scancel qsub qstat bsub mpirun mpiexec ps top ssh sudo su doas runuser setpriv".split()
)
_PYTHON = re.compile(rb"python[\d.]*")
"""Here `-u` and `-p` are something else: a partition, a port, a process, unbuffered output."""
LOGINS = frozenset(b"wandb vault comet hf huggingface-cli kaggle snowsql databricks".split())


class Account:
    """Of a program that is not known: who names an account (`-u NAME`) gives its password with `-p` or `-w`, but no number with it."""

    __slots__ = ("is_given", "of_other")

    def __init__(self) -> None:
        self.is_given = False
        self.of_other = b""
        """The starter whose own options these are."""

    def look(self, words: Sequence[bytes], at: int, found: list[list[Span]]) -> None:
        """Look at one word after the other."""
        word, before = words[at], words[at - 1] if at else b""
        base = word.rpartition(b"/")[2]
        if base in _OTHER_OPTIONS or _PYTHON.fullmatch(base):
            self.is_given, self.of_other = False, base
        elif (
            word == b"--"
            or not word.startswith(b"-")
            and (_PYTHON.fullmatch(self.of_other) or not before.startswith(b"-"))
        ):
            self.of_other = b""
        if self.of_other:
            return
        given = _AFTER_ACCOUNT.fullmatch(word)
        if given is not None and self.is_given:
            to, start = (at, given.start(1)) if given.group(1) else (at + 1, 0)
            value = words[to][start:] if to < len(words) else b""
            if value and not value.isdigit() and value[:1] not in b"-/.~" and is_secret_value(b"", value):
                found[to].append((start, len(words[to])))
        elif _LIKE_PASSWORD.fullmatch(word):
            found[at].append((2, len(word)))
        elif before in (b"-u", b"-U") and re.fullmatch(rb"[\w.@+-]+[:%](?!\d+$)[^\s/]+", word):
            found[at].append((re.search(rb"[:%]", word).end(), len(word)))  # type: ignore[union-attr]
        self.is_given = self.is_given or _ACCOUNT.fullmatch(word) is not None


def note_option(words: Sequence[bytes], at: int, option: bytes, how: str, found: list[list[Span]]) -> None:
    """Add what an option of a program holds, in its own word or in the next one."""
    word = words[at]
    if how == "after":
        if word.startswith(option + b":"):
            found[at].append((len(option) + 1, len(word)))
        return
    if how == "pair":
        pair = re.fullmatch(rb"(?:--[\w-]+=)?[\w.-]+=(?!@)(.+)", word, re.DOTALL)
        if pair is not None and any(one.partition(b"=")[0] == option for one in words[: at + 1]):
            found[at].append(pair.span(1))
        return
    if how == "slash":  # USER/PASSWORD@DATABASE
        account = re.fullmatch(rb"[\w$#]+/([^/@]+)(?:@.*)?", word)
        if account is not None:
            found[at].append(account.span(1))
        return
    if word == option and how != "joined" and at + 1 < len(words):
        at, start = at + 1, 0
    elif (
        not option.startswith(b"--")
        and (len(option) == 2 or how == "joined")
        and word.startswith(option)
        and len(word) > len(option)
        and word[len(option) : len(option) + 1] != b"="
    ):
        start = len(option)
    else:
        return
    value = words[at][start:]
    if how == "user":
        if re.fullmatch(rb"\w+:\d{1,6}", value):
            return
        split = re.search(rb"[:%,]", value)
        if split is None:
            return
        start += split.end()
    if words[at][start:]:
        found[at].append((start, len(words[at])))
