#!/usr/bin/env bash
# Runs again what this ticket is about. Made by fsprobe 0.1.0.
# Names of users, projects and hosts were replaced: put your own in their place first.

# 01
(
cd /project/project1/run || exit 1
time /project/project1/env/bin/python train.py
fsprobe run -o 01-again.fsprobe -- /project/project1/env/bin/python train.py
)

# 02
(
# in the directory where it was made: a comparison does not keep it
fsprobe compare --env /project/project1/env --flash /flash/project1 --squashfs --runs 5 --cache both --make-cold /users/user1/bin/cold -o 02-again.fsprobe -- /project/project1/env/bin/python train.py
)
