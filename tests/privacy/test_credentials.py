"""Secrets: each place they stand in, each way to write them, and what only looks like one."""

from __future__ import annotations

import json
import string
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsprobe import pipeline
from fsprobe.model.serial import to_json
from fsprobe.privacy import disclosure
from fsprobe.privacy.concealment import Concealment
from fsprobe.privacy.identities import Names
from fsprobe.privacy.redaction import Redaction
from fsprobe.privacy.secrets import credentials
from fsprobe.privacy.secrets.secret_names import is_secret_name
from fsprobe.recording import file as recordings
from fsprobe.recording.file import Recording
from tests.privacy.test_redaction import VARIABLES, all_bytes, ways_to_write

SECRET = "Zq8SECRETx7"
COMMANDS = [
    ["python", "run.py", "--password=@"],
    ["python", "run.py", "--IdentityProvider.token=@"],
    ["python", "run.py", "--token", "@"],
    ["python", "run.py", "-password", "@"],
    ["python", "run.py", "--api-key=@", "x"],
    ["python", "run.py", "--apiKey", "@"],
    ["python", "run.py", "--hf_token=@"],
    ["python", "run.py", "--set", "db.password=@,a=b"],
    ["python", "run.py", '{"user": "x", "token": "@"}'],
    ["python", "run.py", '{\\"secret\\": \\"@\\"}'],
    ["python", "run.py", '{"a": {"passwords": ["@", "@"]}}'],
    ["python", "run.py", "--config={'api_key': '@'}"],
    ["python", "-c", "import os; os.environ['WANDB_API_KEY'] = '@'"],
    ["python", "-c", 'connect(host="h", password="@")'],
    ["mysql", "-p@", "-u", "bob"],
    ["mysqldump", "--password=@"],
    ["sshpass", "-p", "@", "ssh", "h"],
    ["mytool", "-u", "bob", "-p@", "h"],
    ["python", "-u", "run.py", "-u", "bob", "-p", "@"],
    ["mytool", "--username=bob", "-w", "@"],
    ["srun", "-u", "-p", "gpu", "mytool", "--user", "bob", "-p", "@"],
    ["mytool", "-u", "bob:@", "h"],
    ["mytool", "-pH!@x9", "h"],
    ["mytool", "Bearer", "@"],
    ["mytool", "--hmac", "@"],
    ["mysqladmin", "-u", "root", "password", "@"],
    ["unrar", "x", "-hp@", "a.rar"],
    ["ssh-keygen", "-N", "@", "-f", "x"],
    ["xfreerdp", "/u:bob", "/p:@", "/v:h"],
    ["kubectl", "create", "secret", "generic", "s", "--from-literal=k=@"],
    ["vault", "kv", "put", "secret/x", "value=@"],
    ["cvs", "-d", ":pserver:bob:@@host:/x", "co"],
    ["curl", "https://hooks.slack.com/services/T0000AAAA/B0000AAAA/@@x"],
    ["conda", "install", "-c", "https://h/t/tk-@-x/get", "x"],
    ["curl", "https://h/x?state=1&code=@&b=c"],
    ["sh", "-c", "echo bob:@ | chpasswd"],
    ["mytool", "sk_live_0123456789@"],
    ["mytool", "hvs.0123456789012345@"],
    ["mytool", "SG.0123456789@.0123456789012345678901234567890"],
    ["sshpass", "-p@", "ssh", "h"],
    ["curl", "-u", "bob:@", "http://h/x"],
    ["curl", "-ubob:@", "http://h/x"],
    ["curl", "--user", "bob:@", "http://h/x"],
    ["curl", "-H", "Authorization: Bearer @", "http://h/x"],
    ["curl", "-H", "X-Api-Key: @", "http://h/x"],
    ["curl", "--header=Cookie: session=@; b=@", "http://h/x"],
    ["wget", "--http-password=@", "http://h/x"],
    ["docker", "login", "-u", "bob", "-p", "@"],
    ["redis-cli", "-a", "@"],
    ["smbclient", "-U", "bob%@", "//h/x"],
    ["wandb", "login", "@"],
    ["python", "fetch.py", "--user", "me:@"],
    ["python", "fetch.py", "--passwort=@"],
    ["python", "fetch.py", "--db.senha", "@"],
    ["openssl", "enc", "-k", "@"],
    ["aws", "configure", "set", "aws_secret_access_key", "@"],
    ["env", "AWS_SECRET_ACCESS_KEY=@", "python", "x.py"],
    ["env", "PGPASSWORD=@", "psql"],
    ["srun", "--export=ALL,HF_TOKEN=@,B=1", "python"],
    ["sh", "-c", "TOKEN=@ python x.py"],
    ["sh", "-c", "export GITHUB_TOKEN=@ && git fetch"],
    ["sh", "-c", "cd x; mysql -p@ | head; curl -u a:@ h"],
    ["sh", "-c", "cmd --password '@' --other"],
    ["bash", "-lc", "bash -c 'mysql -p@'"],
    ["git", "clone", "https://@@github.com/o/r"],
    ["git", "clone", "https://x-access-token:@@github.com/o/r"],
    ["git", "-c", "http.extraHeader=Authorization: Basic @", "fetch"],
    ["pip", "install", "--index-url", "https://bob:@@pypi.example.org/simple"],
    ["python", "run.py", "https://h/x?a=1&access_token=@&b=2"],
    ["python", "run.py", "https://h/x?X-Amz-Signature=@"],
    ["python", "run.py", "https://h/#access_token=@"],
    ["python", "run.py", "https%3A%2F%2Fbob%3A@%40h%2Fx"],
    ["python", "run.py", "postgresql://bob:@@h:5432/db"],
    ["python", "run.py", "sftp://bob:@@h/x"],
    ["python", "run.py", "bob:@@host:/x"],
    ["python", "run.py", '["--token", "@"]'],
    ["python", "run.py", '[{"name": "API_TOKEN", "value": "@"}]'],
    ["python", "run.py", "--password", "-@"],
    ["curl", "-HAuthorization: token @", "http://h/x"],
    ["docker", "run", "-e", "MYSQL_ROOT_PASSWORD=@", "img"],
    ["sh", "-c", "echo @ | docker login -u x --password-stdin"],
    ["sqlplus", "scott/@@db"],
    ["ssh", "host", "TOKEN=@ python x.py"],
    ["mount", "-t", "cifs", "-o", "username=a,password=@", "//h/x"],
    ["psql", "host=h user=u password=@ dbname=x"],
    ["java", "-Dhttp.proxyPassword=@", "X"],
    ["python", "run.py", "AccountName=x;AccountKey=@;Endpoint=y"],
]
IDS = [" ".join(words) for words in COMMANDS]


def concealed(words: list[str]) -> list[bytes]:
    given = [word.encode() for word in words]
    return [
        credentials.replaced(word, spans, lambda _: b"HIDDEN")
        for word, spans in zip(given, credentials.in_words(given), strict=True)
    ]


def filled(words: list[str], secret: str) -> list[str]:
    # in `user:@@host` the first is the secret, and the second is one
    return [word.replace("@@", "\0").replace("@", secret).replace("\0", secret + "@") for word in words]


@pytest.mark.parametrize("words", COMMANDS, ids=IDS)
def test_no_secret_stays_in_a_command_line(words: list[str]) -> None:
    shown = b" ".join(concealed(filled(words, SECRET)))
    assert SECRET.encode() not in shown
    assert b"HIDDEN" in shown
    assert shown.split()[0] == words[0].encode()


@pytest.mark.parametrize(
    "words",
    [
        ["python", "train.py", "--max-tokens", "512", "--tokenizer", "gpt2", "--num_tokens=7"],
        ["python", "train.py", "--password-file", "/x/y", "--token-path=/x", "--author", "bob", "--key-length=256"],
        ["python", "train.py", "--use-auth-token=true", "--monkey=banana", "--keyword", "x", "--passes", "3"],
        ["ssh", "bob@host", "-p", "22"],
        ["git", "clone", "ssh://git@host/x", "git@github.com:o/r"],
        ["mysql", "-u", "bob", "-h", "host"],
        ["python", "-m", "tokenize", "file.py"],
        ["tar", "-p", "x"],
        ["srun", "-u", "-p", "gpu", "python", "-u", "train.py", "-p", "conf"],
        ["sudo", "-u", "bob", "mkdir", "-p", "data"],
        ["psql", "-U", "bob", "-p", "5432"],
        ["mytool", "-u", "bob", "-p", "/scratch/x"],
        ["gcc", "-pthread", "-pedantic-errors", "-p8080"],
        ["pip", "install", "-c", "https://conda.anaconda.org/t/x", "https://h/x?version=2"],
        ["python", "run.py", "https://host:8080/x?a=b", "http://h/a@b"],
        ["sh", "-c", 'curl -H "Authorization: $AUTH" --token "$TOKEN"'],
    ],
    ids=" ".join,
)
def test_what_only_looks_like_a_secret_stays(words: list[str]) -> None:
    assert concealed(words) == [word.encode() for word in words]


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        *(
            (name, True)
            for name in "password DB_PASSWORD dbPassword PGPASSWORD MYSQL_PWD token HF_TOKEN apiKey api-key AWS_SECRET_ACCESS_KEY "
            "client_secret credential auth X-Auth-Token cookie SSHPASS passphrase WANDB_API_KEY AWS_ACCESS_KEY_ID accesskey".split()
        ),
        *(
            (name, False)
            for name in "PATH author tokenizer keyword monkey token_file PASSWORD_FILE key-length SLURM_JOB_ID passes steps".split()
        ),
    ],
)
def test_names_of_secrets(name: str, is_secret: bool) -> None:
    assert is_secret_name(name.encode()) == is_secret


# -- recordings -------------------------------------------------------------------------------------------------------

PLACES = (
    "command option url json path source mount_option variable marks_variable marks_mounts link missing label argv symlink mount"
).split()


def recorded(place: Path, secret: str, where: str) -> Path:
    """A recording with one secret in one place, or ("everywhere") first named and then standing in a path."""

    def at(*names: str, otherwise: str = "x") -> str:
        return secret if where in names else otherwise

    url = f"https://bob:{at('url')}@h/x"
    mounts = (
        "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        f"22 21 0:5 / /mnt/d rw - fuse.davfs https://u:{at('source', 'marks_mounts')}@dav/x rw\n"
        f"23 21 0:6 / /mnt/k rw - cifs //s/share rw,password={at('mount_option')}\n"
    ).encode()
    calls = [
        f'execve("/usr/bin/python3", ["python3", "run.py", "--token={at("command")}"], 0x7ffd /* 9 vars */) = 0',
        f'openat(AT_FDCWD</home/bob>, "/tmp/x?token={at("path")}", O_RDONLY) = -1 ENOENT (No such file or directory)',
        f'execve("/usr/bin/curl", ["curl", "-H", "{at("argv")}", "x"], ["TOKEN={at("argv")}"]) = 0',
        f'symlink("https://u:{at("symlink")}@h/x", "/home/bob/l") = 0',
        f'mount("https://u:{at("mount")}@h/x", "/mnt/v", "fuse.davfs", 0, "password={at("mount")}") = -1 EPERM (Operation not permitted)',
    ]
    log = "".join(f"77    1795506711.{n:06d} (+     0.000000100) {call} <0.000010>\n" for n, call in enumerate(calls))
    facts = {"pid": 77, "environment": {"PYTHONPATH": f"/x?token={at('marks_variable')}"}, "mounts": "mounts.1"}
    body = ("=" + ascii(facts) + "\n").encode()
    manifest = {
        "backend": "strace",
        "markers": "time",
        "command": ["python3", "run.py", f"--token={at('command')}", "--pw", at("option"), url, json.dumps({"key": at("json")})],
        "cwd": "/home/bob",
        "label": f"token={at('label')}",
        "environment": {"PYTHONPATH": f"https://u:{at('variable')}@h/x"},
        "exit_code": 0,
        "wall_s": 1.0,
        "fsprobe_version": "0",
    }  # fmt: skip
    lookups = {
        "distributions": {},
        "links": {"/home/bob/l": f"https://u:{at('link')}@h"},
        "missing": [f"/x/y?token={at('missing')}"],
        "files": [],
        "programs": {},
        "sizes": {},
    }
    path = place / "given.fsprobe"
    sections = [
        ("manifest", json.dumps(manifest).encode()),
        ("log", log.encode()),
        ("marks", b"@marks.77.abc %d\n%s@mounts.1 %d\n%s" % (len(body), body, len(mounts), mounts)),
        ("mounts", mounts),
        ("lookups", json.dumps(lookups).encode()),
    ]
    recordings.write(str(path), "recording", sections)
    return path


SECRETS = st.text(string.ascii_letters + string.digits + "+_.~-", min_size=8, max_size=24).filter(
    lambda text: text[0].isalnum() and text[-1].isalnum() and not text.isdigit() and not text.isalpha()
)


@given(SECRETS, st.sampled_from(PLACES), st.booleans())
@settings(max_examples=250, deadline=None)
def test_a_planted_secret_does_not_survive(text: str, where: str, is_redacting: bool) -> None:
    secret = "q7" + text
    with tempfile.TemporaryDirectory() as scratch:
        given_ = recorded(Path(scratch), secret, where)
        names = Names()
        disclosure.learn(Recording(str(given_)), names, VARIABLES)
        hide = Redaction(names) if is_redacting else Concealment(names)
        output = Path(scratch) / "shown.fsprobe"
        disclosure.write(Recording(str(given_)), str(output), hide, VARIABLES)
        data = all_bytes(output)
        for section, content in data.items():
            for written in ways_to_write(secret.encode()):
                assert written not in content, section
        shown = json.dumps(to_json(pipeline.analyse(output)))
        assert secret not in shown
        if not is_redacting:
            assert "/home/bob" in shown


@given(SECRETS, st.sampled_from(["raw", "percent", "octal", "hex"]))
@settings(max_examples=100, deadline=None)
def test_a_secret_that_was_named_once_is_hidden_in_every_spelling(text: str, how: str) -> None:
    secret = ("q7" + text).encode()
    names = Names()
    names.secrets.add(secret)
    spelled = {
        "raw": secret,
        "percent": b"".join(b"%%%02X" % code for code in secret),
        "octal": b"".join(b"\\%03o" % code for code in secret),
        "hex": b"".join(b"\\x%02x" % code for code in secret),
    }[how]
    assert Concealment(names).path(b"/tmp/" + spelled + b"/x") == b"/tmp/secret1/x"


def test_an_ordinary_word_is_a_secret_only_in_its_place() -> None:
    names = Names()
    names.secrets.add(b"python")
    hide = Concealment(names)
    assert hide.path(b"/usr/lib/python") == b"/usr/lib/python"
    assert hide.argv([b"x", b"--password", b"python", b"python"]) == [b"x", b"--password", b"secret1", b"python"]
