#!/bin/sh
# Installs Pierhead for this user, without root; or removes it again. Settings, approvals, logs and port files stay.
#
#   ./install.sh [--prefix DIR]           in an unpacked archive: what lies beside this file
#   curl -fsSL URL/install.sh | sh        by itself: fetches the archive, checks it against SHA256SUMS, installs that
#   install.sh --uninstall [--prefix DIR] removes what it installed, and nothing else
#
#   --prefix DIR     default ~/.local, with data in XDG_DATA_HOME
#   --from URL       the folder to fetch from; or PIERHEAD_URL
#
# An installed copy is in share/pierhead/install.sh below the prefix.
set -eu

# These are filled in when a release is made.
version=
from=
libc=musl

say() { echo "pierhead: $*" >&2; }
fail() { say "$*"; exit 1; }

main() {
    prefix= action=install from=${PIERHEAD_URL:-$from}
    while [ $# -gt 0 ]; do
        case $1 in
            --prefix) [ $# -ge 2 ] || fail "--prefix wants a folder"; prefix=$2; shift 2 ;;
            --from) [ $# -ge 2 ] || fail "--from wants a URL"; from=$2; shift 2 ;;
            --uninstall) action=uninstall; shift ;;
            --help|-h) usage; exit 0 ;;
            *) usage >&2; exit 2 ;;
        esac
    done
    find_places
    case $action in
        uninstall) uninstall ;;
        install)
            beside=$(dirname "$0")
            # By `curl | sh` there is no file of its own; the installed copy has nothing beside it.
            if [ -x "$beside/bin/pierhead" ] && [ -f "$beside/install.sh" ]; then install_from "$beside"; else fetch_and_install; fi ;;
    esac
}

usage() {
    cat <<'USAGE'
usage: install.sh [--prefix DIR] [--from URL]
       install.sh --uninstall [--prefix DIR]
USAGE
}

find_places() {
    if [ -n "$prefix" ]; then
        case $prefix in /*) ;; *) prefix=$PWD/$prefix ;; esac
        data=$prefix/share
    else
        [ -n "${HOME:-}" ] || fail "there is no HOME: say where with --prefix"
        prefix=$HOME/.local data=${XDG_DATA_HOME:-$HOME/.local/share}
    fi
    # Everything that was installed, a path on each line.
    list=$data/pierhead/installed
}

# ---- fetching

fetch_and_install() {
    [ -n "$from" ] || fail "nothing lies beside this file, and nobody said where to fetch from: --from URL"
    [ -n "$version" ] || fail "this copy does not know its version: use the one of a release"
    name=pierhead-$version-$(target)
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM
    say "fetching $from/$name.tar.gz"
    fetch "$from/SHA256SUMS" "$work/SHA256SUMS"
    fetch "$from/$name.tar.gz" "$work/$name.tar.gz"
    expected=$(awk -v file="$name.tar.gz" '$2 == file || $2 == "*" file { print $1; exit }' "$work/SHA256SUMS")
    [ -n "$expected" ] || fail "SHA256SUMS does not name $name.tar.gz"
    [ "$(sum_of "$work/$name.tar.gz")" = "$expected" ] || fail "$name.tar.gz is not what SHA256SUMS says: nothing was installed"
    tar -xzf "$work/$name.tar.gz" -C "$work"
    install_from "$work/$name"
}

target() {
    [ "$(uname -s)" = Linux ] || fail "this is for Linux; the manual says how to install elsewhere"
    case $(uname -m) in
        x86_64|amd64) echo "x86_64-unknown-linux-$libc" ;;
        aarch64|arm64) echo "aarch64-unknown-linux-$libc" ;;
        *) fail "there is no archive for $(uname -m): build it with cargo install" ;;
    esac
}

fetch() {
    if command -v curl >/dev/null 2>&1; then
        # From https nothing leads elsewhere than to https.
        case $1 in
            https:*) curl -fsSL --proto '=https' --tlsv1.2 -o "$2" "$1" ;;
            *) curl -fsSL -o "$2" "$1" ;;
        esac || fail "cannot fetch $1"
    elif command -v wget >/dev/null 2>&1; then
        wget -q -O "$2" "$1" || fail "cannot fetch $1"
    else
        fail "neither curl nor wget is here"
    fi
}

sum_of() {
    if command -v sha256sum >/dev/null 2>&1; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d' ' -f1
}

# ---- installing

install_from() {
    tree=$1
    mkdir -p "$data/pierhead"
    destinations | sort > "$list.new"
    # From here on a removal finds all that may be there, also when this ends in the middle.
    [ ! -f "$list" ] || cp "$list" "$list.before"
    cat "$list.new" "$list" 2>/dev/null | sort -u > "$list.all"
    mv -f "$list.all" "$list"
    for program in pierhead pierhead-tray; do
        [ ! -f "$tree/bin/$program" ] || put "$tree/bin/$program" "$prefix/bin/$program" 755
    done
    shared | while read -r file; do put "$tree/share/$file" "$data/$file" 644; done
    # Desktops and systemd do not know where it lies.
    rewritten "$tree/share/applications/pierhead-tray.desktop" "$data/applications/pierhead-tray.desktop" \
        "s|^Exec=.*|Exec=\"$(escaped "$prefix")/bin/pierhead-tray\"|"
    rewritten "$tree/lib/systemd/user/pierhead.service" "$data/systemd/user/pierhead.service" \
        "s|/usr/bin/pierhead|$(escaped "$prefix")/bin/pierhead|g"
    put "$tree/install.sh" "$data/pierhead/install.sh" 755
    # What an earlier version installed and this one does not have.
    if [ -f "$list.before" ]; then
        grep -vxF -f "$list.new" "$list.before" | while read -r file; do rm -f "$file"; done
        rm -f "$list.before"
    fi
    mv -f "$list.new" "$list"
    say "installed $("$prefix/bin/pierhead" --version | cut -d' ' -f2) into $prefix"
    hints
}

# What lies in share as it is, and wherever it is installed.
shared() { (cd "$tree/share" && find . -type f ! -path './applications/*') | sed 's|^\./||'; }

destinations() {
    for program in pierhead pierhead-tray; do
        [ ! -f "$tree/bin/$program" ] || echo "$prefix/bin/$program"
    done
    shared | while read -r file; do echo "$data/$file"; done
    echo "$data/applications/pierhead-tray.desktop"
    echo "$data/systemd/user/pierhead.service"
    echo "$data/pierhead/install.sh"
    echo "$list"
}

# Beside the old one and over it: what runs keeps its program, and no moment is without one.
put() {
    mkdir -p "$(dirname "$2")"
    cp "$1" "$2.new$$"
    chmod "$3" "$2.new$$"
    mv -f "$2.new$$" "$2"
}

rewritten() {
    sed "$3" "$1" > "$list.rewritten"
    put "$list.rewritten" "$2" 644
    rm -f "$list.rewritten"
}

# For the right side of sed's `s|a|b|`, inside double quotes of the file.
escaped() { printf '%s' "$1" | sed 's/[\\&|]/\\&/g'; }

hints() {
    case ":${PATH:-}:" in *":$prefix/bin:"*) ;; *) say "hint: $prefix/bin is not in PATH" ;; esac
    say "hint: zsh finds completions in its fpath: fpath+=($data/zsh/site-functions)"
    say "hint: \`$data/pierhead/install.sh --uninstall\` removes it again"
}

# ---- removing

uninstall() {
    [ -f "$list" ] || fail "nothing is installed in $prefix"
    end_daemon
    # The entry that starts it at login would start nothing.
    entry=${XDG_CONFIG_HOME:-${HOME:-/nonexistent}/.config}/autostart/pierhead.desktop
    if [ -f "$entry" ] && grep -qF "$prefix/bin/pierhead" "$entry"; then rm -f "$entry"; fi
    # Nothing outside of the two folders, whatever somebody wrote into the list.
    while read -r file; do
        case $file in
            */../*) ;;
            "$prefix"/*|"$data"/*) rm -f "$file" ;;
        esac
    done < "$list.removing"
    # Deepest first; a folder with something else in it stays.
    while read -r file; do
        folder=$(dirname "$file")
        while [ "$folder" != "$prefix" ] && [ "$folder" != "$data" ] && [ "${#folder}" -gt 1 ] && rmdir "$folder" 2>/dev/null; do
            folder=$(dirname "$folder")
        done
    done < "$list.removing"
    rm -f "$list.removing"
    rmdir "$data/pierhead" 2>/dev/null || true
    say "removed from $prefix; servers that run go on"
}

# Its program goes: the next one is to be whoever is installed then. No server depends on it.
end_daemon() {
    mv -f "$list" "$list.removing"
    [ -x "$prefix/bin/pierhead" ] || return 0
    pid=$("$prefix/bin/pierhead" daemon status --json 2>/dev/null | sed -n 's/.*"pid": *\([0-9][0-9]*\).*/\1/p' | head -n 1)
    [ -n "$pid" ] || return 0
    case $(readlink "/proc/$pid/exe" 2>/dev/null) in
        "$prefix/bin/pierhead"|"$prefix/bin/pierhead (deleted)") "$prefix/bin/pierhead" daemon stop || true ;;
    esac
}

# Read to its end before anything is done: a download that breaks off does nothing.
main "$@"
