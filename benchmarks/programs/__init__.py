"""Nine real programs: what fsprobe counts, says and advises of each, beside counts that fsprobe has no part in.

    python -m benchmarks.programs [--place DIR] [-o reports/programs.json] [--render]

Each program runs three times: once to warm up, once under fsprobe, once under a plain `strace -f` whose log is counted
by regular expressions alone. The environments are made where they are not there yet (several GB); what can't be installed
is named. No times: the calls are what is compared.
"""
