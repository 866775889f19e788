#!/bin/bash
# A root directory of Debian's sid suite, with the newest CPythons, glibc and strace, beside the Debian that runs here.
#
#   sid_root.sh make DIR PACKAGE...   download the packages and what they depend on, and unpack them; no script of theirs runs
#   sid_root.sh enter DIR COMMAND...  run a command in it, in a mount namespace of its own; needs root
set -eu

# the mirror that this machine's own apt uses
mirror() {
  sed -n -e 's/^URIs: *\([^ ]*\).*/\1/p' -e 's/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*:\/\/[^ ]*\).*/\2/p' \
    /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null | grep -v security | head -n 1
}

make() {
  local root=$1 apt=$1.apt source
  shift
  source=$(mirror)
  [ -n "$source" ] || { echo "no mirror in apt's sources" >&2; exit 1; }
  mkdir -p "$root" "$apt/lists/partial" "$apt/cache/archives/partial"
  echo "deb [trusted=yes] $source sid main" >"$apt/sources.list"
  # an empty status: as if nothing were installed
  local own=(-o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$apt/lists"
    -o "Dir::State::status=$apt/status" -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=root)
  : >"$apt/status"
  apt-get "${own[@]}" -qq update
  apt-get "${own[@]}" -qq -y --no-install-recommends --download-only install "$@" >/dev/null
  local package
  for package in "$apt"/cache/archives/*.deb; do dpkg -x "$package" "$root"; done
  rm -rf "$apt"
  cd "$root"
  mkdir -p proc sys dev tmp run root old etc var/tmp
  chmod 1777 tmp var/tmp
  local name
  for name in bin sbin lib lib64; do [ -e "$name" ] || ln -s "usr/$name" "$name"; done
  [ -e usr/bin/sh ] || ln -s dash usr/bin/sh
  echo 'root:x:0:0:root:/root:/bin/sh' >etc/passwd
  echo 'root:x:0:' >etc/group
  echo '127.0.0.1 localhost' >etc/hosts
  : >etc/resolv.conf
}

enter() {
  export SID_ROOT
  SID_ROOT=$(realpath "$1")
  shift
  # shellcheck disable=SC2016
  exec unshare --mount --propagation private bash -euc '
    mount --bind "$SID_ROOT" "$SID_ROOT"
    mount -t proc proc "$SID_ROOT/proc"
    mount --rbind /dev "$SID_ROOT/dev"
    mount --rbind /sys "$SID_ROOT/sys"
    cd "$SID_ROOT"
    unset SID_ROOT
    pivot_root . old
    umount -l /old
    cd /
    exec "$@"' sid "$@"
}

"$@"
