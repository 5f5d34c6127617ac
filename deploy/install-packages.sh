#!/bin/sh
# install-packages.sh SECTION... - installs what is missing of packages.txt's sections (build, demo, test, jam, bench).
# install-packages.sh --unpack SECTION - unpacks a section's packages (cyrus, courier) and prints the folder.
#
# What is there already is found with dpkg-query, so a second run asks no network and needs no privileges.
# None of the services that come along is started: the demo and the tests start their own, unprivileged,
# on free loopback ports, and an administrator decides about the system's.
#
# What is unpacked lands in POSTERN_UNPACKED/SECTION (root's default is /var/cache/postern-unpacked, others' is in their
# own cache folder) and stays there, so that the next run needs no network. Nothing of it is installed.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
list=$here/packages.txt
policy=/usr/sbin/policy-rc.d

die() {
    echo "install-packages.sh: $*" >&2
    exit 1
}

# Prints the packages of section $1, one a line.
packages_of() {
    awk -v want="[$1]" '
        { sub(/#.*/, ""); gsub(/[ \t]+/, "") }
        /^\[/ { inside = ($0 == want); if (inside) found = 1; next }
        inside && $0 != "" { print }
        END { exit found ? 0 : 3 }
    ' "$list" || die "no section '$1' in $list"
}

installed() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null || true)" = installed ]
}

# Downloads the packages $names of section $1 and unpacks them into folder $2, which appears whole or not at all.
unpack() {
    rm -rf "$2.new"
    mkdir -p "$2.new/debs"
    # apt gives the download to a user of its own where that one may write.
    chmod 755 "$2.new" && chmod 777 "$2.new/debs"
    echo "downloading: $(echo "$names" | tr '\n' ' ')" >&2
    # $names is split on purpose: one word a package.
    # shellcheck disable=SC2086
    (
        cd "$2.new/debs"
        apt-get -q download $names >&2 && exit
        # Either there are no lists yet, or they name versions that are gone.
        [ "$(id -u)" = 0 ] || die "apt-get could not download; 'apt-get update' as root may help"
        apt-get -q update >&2
        apt-get -q download $names >&2
    ) || die "the packages of section '$1' could not be downloaded"
    for deb in "$2.new/debs"/*.deb; do
        dpkg -x "$deb" "$2.new/root"
    done
    rm -rf "$2.new/debs" "$2"
    echo "$names" >"$2.new/packages"
    mv "$2.new" "$2"
}

if [ "${1:-}" = --unpack ]; then
    [ $# = 2 ] || die "usage: install-packages.sh --unpack SECTION  (sections: cyrus, courier)"
    names=$(packages_of "$2")
    if [ "$(id -u)" = 0 ]; then cache=/var/cache; else cache=${XDG_CACHE_HOME:-$HOME/.cache}; fi
    cache=${POSTERN_UNPACKED:-$cache/postern-unpacked}
    mkdir -p "$cache"
    # Two runs at a time: the second waits, and finds the first one's work.
    exec 9>"$cache/lock"
    flock 9
    if [ "$(cat "$cache/$2/packages" 2>/dev/null)" != "$names" ]; then
        unpack "$2" "$cache/$2"
    fi
    echo "$cache/$2/root"
    exit 0
fi

[ $# -gt 0 ] || die "usage: install-packages.sh SECTION...  (sections: build, demo, test, jam, bench)"

missing=
for section in "$@"; do
    names=$(packages_of "$section")
    for name in $names; do
        installed "$name" || missing="$missing $name"
    done
done
# Whatever a configuration says, nginx wants this default folder of its own where nchan is loaded, and makes it when it
# is first started as root. Nobody has done that here, and without it nginx can't start unprivileged.
nginx_folder=/var/lib/nginx/body
lacks_folder() {
    [ -d "${nginx_folder%/*}" ] && [ ! -d "$nginx_folder" ]
}
if [ -z "$missing" ] && ! lacks_folder; then exit 0; fi

if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null 2>&1; then
    as_root=sudo
elif [ -z "$missing" ]; then
    die "nginx lacks the folder $nginx_folder, and neither root nor sudo is at hand"
else
    die "these packages are missing, and neither root nor sudo is at hand:$missing"
fi

# A policy that says 'never start' for as long as apt runs, unless the machine has a policy of its own.
policy_is_ours=
cleanup() {
    [ -z "$policy_is_ours" ] || $as_root rm -f "$policy"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

install_missing() {
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
        policy_is_ours=yes
        $as_root chmod 755 "$policy"
    fi
    echo "installing:$missing" >&2
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update >&2
    # $missing is split on purpose: one word a package.
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get -q -y --no-install-recommends install $missing >&2
    for name in $missing; do
        installed "$name" || die "$name could not be installed"
    done
}

[ -z "$missing" ] || install_missing
if lacks_folder; then
    $as_root install -d -o www-data -g root -m 700 "$nginx_folder"
fi
