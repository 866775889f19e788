"""Time one command from right beside it: inside whatever namespace it runs in, after the caches were emptied.

    python -I -S timed.py OUT MAKE_COLD -- CMD...

MAKE_COLD is `` (nothing), `warm` (one run before the timed one: a file system that was mounted a moment ago has an empty
cache), `drop` (sync, then the kernel's drop_caches, root only) or a shell command. The start of this
program, of a mount helper or of the shell command is not in the measured time. Writes JSON to OUT: wall_s, user_s, sys_s,
majflt, exit_status (minus the signal's number), cold ("" or why the caches could not be emptied). Standard library only.
"""

import json
import os
import signal
import sys
import time


def make_cold(how: "str") -> "str":
    """Empty the caches; "" when that was done or not asked for, else why not."""
    if not how or how == "warm":
        return ""
    if how != "drop":
        status = os.system(how)
        return "" if status == 0 else "%s ended with %d" % (how, os.waitstatus_to_exitcode(status))
    try:
        os.sync()
        with open("/proc/sys/vm/drop_caches", "w") as control:
            control.write("3\n")
    except OSError as error:
        return "drop_caches: %s" % error.strerror
    return ""


def start(command: "list[str]") -> "int":
    """Start the command; its process id."""
    pid = os.fork()
    if pid == 0:
        try:
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            os.execvp(command[0], command)
        except OSError as error:
            os.write(2, ("fsprobe: %s: %s\n" % (command[0], error.strerror)).encode("utf-8", "backslashreplace"))
        finally:
            os._exit(127)
    return pid


def main() -> "int":
    """Run the command; our exit code is its."""
    out, how = sys.argv[1:3]
    command = sys.argv[4:]
    if how == "warm":
        os.waitpid(start(command), 0)
    cold = make_cold(how)
    begin = time.perf_counter()
    pid = start(command)
    # what the terminal sends reaches the command too, which decides
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - begin
    code = os.waitstatus_to_exitcode(status)
    facts = {
        "wall_s": wall,
        "user_s": usage.ru_utime,
        "sys_s": usage.ru_stime,
        "majflt": usage.ru_majflt,
        "exit_status": code,
        "cold": cold,
    }
    with open(out, "w") as target:
        json.dump(facts, target)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
