#!/bin/sh
# install-config.sh MODE SOURCE TARGET - run by 'meson install': puts a file under /etc, and never over one that an
# administrator has changed: the new version is then laid beside it as TARGET.new.
set -eu

mode=$1
source=$2
target=${DESTDIR:-}$3

if [ -e "$target" ] && ! cmp -s "$source" "$target"; then
    echo "$target was changed: the new version is $target.new" >&2
    target=$target.new
fi
mkdir -p "$(dirname -- "$target")"
# A new name, then a rename: a server that reads the file meanwhile sees the old one or the new one.
cp "$source" "$target.part"
chmod "$mode" "$target.part"
mv -f "$target.part" "$target"
