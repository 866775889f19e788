"""A program under fsprobe does what it does alone: output, exit, signals, descriptors, and all it can see of itself.

Each program runs twice, alone and recorded; what it writes (its whole state, where that is what is tested) must be equal
to the byte.
"""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import zipapp
from collections.abc import Callable
from pathlib import Path

import pytest

from fsprobe import pipeline
from tests.conftest import Done, Fsprobe, clean_environment, need, run_plain

Same = Callable[..., Done]

STATE = r"""
import sys
modules = sorted(sys.modules)
cache = sorted(sys.path_importer_cache)
import builtins, gc, json, locale, os, resource, signal, threading, warnings
environment = dict(os.environ)
entries = environment.pop("PYTHONPATH", "").split(":")
state = {
    "path": sys.path, "argv": sys.argv, "modules": modules, "flags": repr(sys.flags), "cache": cache,
    "orig_argv": getattr(sys, "orig_argv", None), "warnoptions": sys.warnoptions,
    "meta_path": [str(entry).split(" at 0x")[0] for entry in sys.meta_path], "path_hooks": [str(hook)[:40] for hook in sys.path_hooks],
    "builtins": dir(builtins), "sys": dir(sys), "prefix": [sys.prefix, sys.exec_prefix, sys.executable],
    "environment": environment, "user_paths": [entry for entry in entries if "fsprobe-" not in entry and entry],
    "cmdline": open("/proc/self/cmdline").read(), "exe": os.readlink("/proc/self/exe"), "cwd": os.getcwd(),
    "fds": sorted((fd, os.readlink("/proc/self/fd/" + fd).split(":")[0]) for fd in os.listdir("/proc/self/fd")
                  if os.path.lexists("/proc/self/fd/" + fd)),
    "umask": os.umask(0o22), "nice": os.nice(0), "group": os.getpgrp(), "session": os.getsid(0), "ids": os.getresuid(),
    "groups": os.getgroups(), "limits": {name: resource.getrlimit(getattr(resource, name))
                                        for name in dir(resource) if name.startswith("RLIMIT_")},
    "signals": [line for line in open("/proc/self/status").read().split("\n") if line.startswith(("Sig", "Shd"))][1:],
    "handlers": {str(k): str(signal.getsignal(k)) for k in range(1, 32) if k not in (9, 19)},
    "filters": [str(entry) for entry in warnings.filters], "threads": threading.active_count(),
    "depth": [sys.getrecursionlimit(), len(__import__("inspect").stack())], "main": sorted(globals()),
    "traces": [str(sys.gettrace()), str(sys.getprofile())], "encoding": [sys.stdout.encoding, sys.getfilesystemencoding()],
    "locale": str(locale.setlocale(locale.LC_ALL)), "affinity": sorted(os.sched_getaffinity(0)), "gc": gc.get_threshold(),
    "tty": [os.isatty(fd) for fd in range(3)], "oom": open("/proc/self/oom_score_adj").read(),
}
print(json.dumps(state, sort_keys=True, indent=0))
"""


def assert_complete(done: Done) -> None:
    """The program got to the end of what it says of itself, and nothing of ours is in it."""
    assert done.status == 0, done.err
    assert {"modules", "fds", "signals", "handlers", "environment"} <= set(json.loads(done.out))
    assert b"/fsprobe-" not in done.out


def test_all_a_program_sees_of_itself(run_same: Same, interpreter: str, tmp_path: Path) -> None:
    assert_complete(run_same([interpreter, "-c", STATE, "a", "b c"], cwd=tmp_path))


@pytest.mark.parametrize(
    "options", [["-I"], ["-E"], ["-s"], ["-B"], ["-O"], ["-u"], ["-W", "error"], ["-X", "dev"], ["-q", "-b"]]
)
def test_under_each_option_of_the_interpreter(run_same: Same, options: list[str]) -> None:
    assert_complete(run_same([sys.executable, *options, "-c", STATE]))


def test_without_site_the_program_runs_the_same(run_same: Same) -> None:
    run_same([sys.executable, "-S", "-c", "import sys, json; print(sorted(sys.modules), sys.flags)"])


def test_without_site_our_entry_of_the_path_stays_and_costs_nothing_that_is_counted(
    run_fsprobe: Fsprobe, interpreter: str
) -> None:
    """Nothing of ours runs there that could take it away; children without -S need it."""
    command = [interpreter, "-S", "-c", "import sys, json; print(sys.path)"]
    plain = ast.literal_eval(run_plain(command).out.decode())
    metrics = []
    for options in (("-q",), ("-q", "--no-markers")):
        done = run_fsprobe(command, options=options)
        seen = ast.literal_eval(done.out.decode())
        ours = [entry for entry in seen if entry.endswith("/hook")]
        assert len(ours) == (1 if "--no-markers" not in options else 0)
        assert [entry for entry in seen if entry not in ours] == plain
        metrics.append(pipeline.analyse(done.recording).metrics.by_syscall)
    assert metrics[0] == metrics[1]


@pytest.mark.parametrize("how", ["", "-S"])
def test_interpreter_started_without_site_by_one_with_it(run_fsprobe: Fsprobe, how: str) -> None:
    inner = "import os, subprocess, sys; subprocess.run([sys.executable, '-c', 'import json'], check=True)"
    done = run_fsprobe([sys.executable, *how.split(), "-c", inner])
    assert done.status == 0, done.err
    rows = pipeline.analyse(done.recording).metrics.by_module
    assert "json.decoder" in [row.key for row in rows]


def test_safe_path(run_same: Same) -> None:
    need(sys.version_info >= (3, 11), "-P is of 3.11")
    assert_complete(run_same([sys.executable, "-P", "-c", STATE]))


def test_verbose_output_names_our_hook_and_nothing_else(run_fsprobe: Fsprobe) -> None:
    done = run_fsprobe([sys.executable, "-v", "-c", "import json; print(7)"])
    assert (done.status, done.out) == (0, b"7\n")
    assert b"Traceback" not in done.err


def test_importtime_lists_the_same_imports(run_fsprobe: Fsprobe) -> None:
    command = [sys.executable, "-X", "importtime", "-c", "import json.tool, sqlite3; print(7)"]

    def names(err: bytes) -> list[bytes]:
        return [line.split(b"|")[2] for line in err.splitlines() if line.startswith(b"import time:")]

    plain = subprocess.run(command, capture_output=True, check=True, env=clean_environment())
    done = run_fsprobe(command)
    assert (done.status, done.out) == (0, plain.stdout)
    # the hook itself is a module, and that one is named; what it borrows of the interpreter is not
    assert [name.strip() for name in names(done.err) if name.strip() != b"sitecustomize"] == [
        name.strip() for name in names(plain.stderr) if name.strip() != b"sitecustomize"
    ]


@pytest.mark.parametrize("value", [None, "", "{0}", "{0}:{1}", ":{0}", "{0}:", "{0}::{1}", "relative", "{0}/missing"])
def test_pythonpath_keeps_its_meaning(run_same: Same, tmp_path: Path, value: str | None) -> None:
    for name in ("a", "b", "relative"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"in_{name}.py").write_text("")
    given = value if value is None else value.format(tmp_path / "a", tmp_path / "b")
    assert_complete(run_same([sys.executable, "-c", STATE], env=clean_environment(PYTHONPATH=given), cwd=tmp_path))


def test_pythonpath_that_the_target_is_given(run_fsprobe: Fsprobe) -> None:
    program = "import os; print(os.environ['PYTHONPATH'])"
    alone = run_fsprobe([sys.executable, "-c", program]).out.decode().strip()
    assert alone.endswith("/hook")
    assert ":" not in alone
    assert run_fsprobe([sys.executable, "-c", program], env=clean_environment(PYTHONPATH="/x")).out.endswith(
        b"/hook:/x\n"
    )


# -- ways to start a program ------------------------------------------------------------------------------------


def test_module_package_directory_and_zipapp(run_same: Same, tmp_path: Path) -> None:
    package = tmp_path / "app"
    package.mkdir()
    (package / "__main__.py").write_text("import sys, json\nprint(sys.argv[1:], __name__, sorted(sys.modules))\n")
    zipapp.create_archive(package, tmp_path / "app.pyz")
    for command in (["-m", "app", "1"], ["app", "2"], ["app.pyz", "3"]):
        assert run_same([sys.executable, *command], cwd=tmp_path).status == 0


def test_console_script_and_program_from_stdin(run_same: Same, tmp_path: Path) -> None:
    script = tmp_path / "tool"
    script.write_text(f"#!{sys.executable}\nimport sys\nprint(sys.argv, sys.path)\nsys.exit(3)\n")
    script.chmod(0o755)
    assert run_same([str(script), "x"]).status == 3
    assert run_same([sys.executable, "-", "x"], stdin=b"import sys; print(sys.argv, sys.stdin.read())").status == 0
    assert run_same([sys.executable], stdin=b"print(open(0).read())\n1/0\n").status in (0, 1)


def test_through_a_shell_and_exec(run_same: Same) -> None:
    run_same(["/bin/sh", "-c", f"echo $# $0 \"$@\"; exec {sys.executable} -c 'print(7)'", "zero", "a b", ""])


def test_exec_of_itself_in_mid_import(run_same: Same, tmp_path: Path) -> None:
    (tmp_path / "again.py").write_text(
        "import os, sys\nif len(sys.argv) < 3:\n    os.execv(sys.executable, [sys.executable, *sys.argv, 'x'])\nprint(sys.argv)\n"
    )
    (tmp_path / "main.py").write_text("import again\nprint('end')\n")
    assert b"end" in run_same([sys.executable, "main.py", "1"], cwd=tmp_path).out


def test_hostile_arguments(run_same: Same) -> None:
    odd = ["", " ", "\n", "a\tb", "--", "-o", "é", "\udcff\udc80", "'\"\\", "x" * 60000, "%s", "$(x)"]
    run_same([sys.executable, "-c", "import sys; print(ascii(sys.argv))", *odd])


# -- exit and signals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1, 7, 125, 126, 127, 255])
def test_exit_code(run_same: Same, code: int) -> None:
    assert run_same(["/bin/sh", "-c", f"echo out; echo err >&2; exit {code}"]).status == code


@pytest.mark.parametrize(
    "name", ["SIGKILL", "SIGSEGV", "SIGTERM", "SIGABRT", "SIGUSR1", "SIGINT", "SIGPIPE", "SIGALRM"]
)
def test_death_by_signal(run_same: Same, name: str) -> None:
    number = int(getattr(signal, name))
    default = "pass" if name == "SIGKILL" else f"signal.signal({number}, signal.SIG_DFL)"
    program = f"import os, signal; {default}; os.kill(os.getpid(), {number})"
    assert run_same([sys.executable, "-c", program]).status == -number


def test_death_by_signal_as_a_shell_sees_it(run_fsprobe: Fsprobe) -> None:
    for number in (9, 11, 15):
        words = run_fsprobe.command(["/bin/sh", "-c", f"kill -{number} $$"])
        shell = ["/bin/sh", "-c", '"$@"; echo $?', "sh", *words]
        done = subprocess.run(shell, capture_output=True, check=False, env=clean_environment())
        assert done.stdout == b"%d\n" % (128 + number)


@pytest.mark.parametrize(
    "body",
    [
        "import no_such_module_at_all",
        "import no_such.module.at_all",
        "from json import no_such_name",
        "import broken_syntax",
        "import raises",
        "import interrupts",
        "import leaves",
        "import nested.inner",
        "import cycle_a",
        "import with_nul",
        "import not_text",
        "import importlib; importlib.import_module('raises')",
        "import warns",
        "import recurses",
        "__import__('raises')",
        "import builtins; builtins.__import__ = lambda *a, **k: 1 / 0\nimport json",
        "import sys; sys.modules['json'] = None\nimport json",
    ],
)
def test_tracebacks_are_equal_to_the_byte(run_same: Same, tmp_path: Path, body: str) -> None:
    plant_broken_modules(tmp_path)
    (tmp_path / "main.py").write_text(body + "\n")
    run_same([sys.executable, "-W", "always", "main.py"], cwd=tmp_path)


def test_chain_of_imports_meets_the_recursion_limit_in_the_same_module(
    run_fsprobe: Fsprobe, interpreter: str, tmp_path: Path
) -> None:
    """Which of the interpreter's own functions meets it, and so the words of the error, may differ."""
    plant_broken_modules(tmp_path)
    program = (
        "import sys\ntry:\n    import deep_0\nexcept RecursionError:\n    print('too deep')\n"
        "print(sorted(n for n in sys.modules if n.startswith('deep')))\n"
        "print([f.f_code.co_filename for f in (sys._getframe(),)])\n"
    )
    # each module says how deep it was imported, so the last line tells where it ended
    for k in range(199):
        (tmp_path / f"deep_{k}.py").write_text(f"print({k})\nimport deep_{k + 1}\n")
    command = [interpreter, "-c", program]
    plain = run_plain(command, cwd=tmp_path)
    done = run_fsprobe(command, cwd=tmp_path)
    assert (done.status, done.out) == (plain.status, plain.out)


def plant_broken_modules(place: Path) -> None:
    files = {
        "broken_syntax.py": "x = = 1\n",
        "raises.py": "def f():\n    1 / 0\nf()\n",
        "interrupts.py": "raise KeyboardInterrupt\n",
        "leaves.py": "import sys\nsys.exit('gone')\n",
        "nested/__init__.py": "",
        "nested/inner.py": "import raises\n",
        "cycle_a.py": "from cycle_b import y\nx = 1\n",
        "cycle_b.py": "from cycle_a import x\ny = 1\n",
        "warns.py": "import warnings\nwarnings.warn('near')\nwarnings.warn('far', DeprecationWarning, stacklevel=2)\n",
        "recurses.py": "def f():\n    import json\n    f()\nf()\n",
        "deep_199.py": "import sys, inspect\nprint(len(inspect.stack()))\n",
    }
    files.update({f"deep_{k}.py": f"import deep_{k + 1}\n" for k in range(199)})
    for name, text in files.items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(text)
    (place / "with_nul.py").write_bytes(b"x = 1\0\n")
    (place / "not_text.py").write_bytes(b"x = '\xff'\n")


@pytest.mark.parametrize("n_left", [20, 40, 60, 90])
def test_recursion_limit_is_met_at_the_same_depth(run_same: Same, tmp_path: Path, n_left: int) -> None:
    program = (
        "import sys\n"
        "def down(n):\n"
        "    if n:\n"
        "        return down(n - 1)\n"
        "    try:\n"
        "        import xml.dom.minidom, decimal, sqlite3\n"
        "        print('imported')\n"
        "    except RecursionError as error:\n"
        "        print(repr(error))\n"
        f"down(sys.getrecursionlimit() - {n_left})\n"
        "import xml.dom.minidom, decimal\nprint(sorted(sys.modules))\n"
    )
    run_same([sys.executable, "-c", program])


# -- the user's own customisation -------------------------------------------------------------------------------

CUSTOM = {
    "plain": {
        "sitecustomize.py": "import sys, json\nsys.seen = [__name__, __file__, __spec__.name, sorted(globals())]\n"
    },
    "package": {
        "sitecustomize/__init__.py": "import sys\nfrom sitecustomize import part\nsys.seen = part.x\n",
        "sitecustomize/part.py": "x = 5\n",
    },
    "raising": {"sitecustomize.py": "import sys\nsys.seen = 1\n1 / 0\n"},
    "missing": {"sitecustomize.py": "import no_such_module\n"},
    "imports itself": {
        "sitecustomize.py": "import sys, sitecustomize\nsys.seen = sitecustomize is sys.modules['sitecustomize']\n"
    },
    "user": {"usercustomize.py": "import sys\nsys.seen = ['user', __file__]\n"},
    "both": {
        "sitecustomize.py": "import sys\nsys.seen = ['site']\n",
        "usercustomize.py": "import sys\nsys.seen += ['user']\n",
    },
    "prints": {"sitecustomize.py": "print('hello from sitecustomize')\n"},
}


@pytest.mark.parametrize("kind", list(CUSTOM))
def test_own_sitecustomize_runs(run_same: Same, tmp_path: Path, kind: str) -> None:
    for name, text in CUSTOM[kind].items():
        (tmp_path / "own" / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "own" / name).write_text(text)
    program = "import sys\nprint(getattr(sys, 'seen', None), [n for n in sys.modules if 'custom' in n])"
    run_same([os.path.realpath(sys.executable), "-c", program], env=clean_environment(PYTHONPATH=str(tmp_path / "own")))


def test_own_sitecustomize_on_every_version(run_same: Same, interpreter: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys, json\nsys.seen = [__file__, sorted(globals())]\n")
    program = "import sys, sitecustomize; print(sys.seen, sitecustomize.__spec__.origin, sitecustomize.__spec__.cached)"
    done = run_same([interpreter, "-c", program], env=clean_environment(PYTHONPATH=str(tmp_path)))
    assert b"sitecustomize.py" in done.out


def test_failing_imports_on_every_version(run_same: Same, interpreter: str, tmp_path: Path) -> None:
    plant_broken_modules(tmp_path)
    (tmp_path / "main.py").write_text(
        "import traceback, importlib\n"
        "for name in ['raises', 'nested.inner', 'broken_syntax', 'cycle_a', 'nope', 'with_nul', 'json.nope', 'interrupts']:\n"
        "    try:\n"
        "        __import__(name)\n"
        "    except BaseException:\n"
        "        traceback.print_exc()\n"
        "import deep_150, nested.inner\n"
    )
    run_same([interpreter, "main.py"], cwd=tmp_path)


def test_hook_found_a_second_time_does_nothing(run_same: Same) -> None:
    program = (
        "import os, sys\n"
        "sys.path[:0] = os.environ.get('PYTHONPATH', '').split(':')\n"
        "try:\n    import sitecustomize\nexcept ImportError as error:\n    print(error)\n"
    )
    run_same([os.path.realpath(sys.executable), "-c", program], env=clean_environment(PYTHONPATH="/nowhere"))


def test_bytecode_prefix_keeps_nothing_of_ours(run_fsprobe: Fsprobe, tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    env = clean_environment(PYTHONPYCACHEPREFIX=str(prefix))
    assert run_fsprobe([sys.executable, "-c", "import json"], env=env).status == 0
    assert not [path for path in prefix.rglob("*") if "fsprobe-" in str(path)]


def test_locale_that_the_interpreter_coerces_is_not_passed_on(run_same: Same) -> None:
    run_same(["/bin/sh", "-c", "echo ${LC_CTYPE-unset}"], env=clean_environment(LANG=None, LC_ALL=None, LC_CTYPE=None))
    run_same(["/bin/sh", "-c", "echo ${LC_CTYPE-unset}"], env=clean_environment(LC_CTYPE="C.UTF-8"))
