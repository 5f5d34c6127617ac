#!/bin/sh
# tests/run.sh [PART]... - sets up, builds, tests and counts. The last line is "N passed, N failed".
#
#   unit      unit tests, replays of the fuzzers' corpora          build/
#   e2e       end-to-end tests: real nginx, Apache, Dovecot        build/
#   checks    layers, style, format, documents, installed files   build/
#   fuzz      fuzzes each target for FUZZ_SECONDS (default 10)    build-asan/
#   sanitize  unit and e2e under ASan and UBSan, with -Werror      build-asan/
#   tsan      unit and e2e under TSan                             build-tsan/
#   tidy      clang-tidy over the sources (TIDY_SINCE=REVISION: only over what changed since then)
#   ci        sanitize, checks, fuzz, tsan and tidy: what has to pass before anything lands
#   all       everything above
#
# Without a part: unit, e2e and checks. PYTEST_ARGS goes to pytest (-k NAME), TEST_ARGS to 'meson test' (LAYER),
# JOBS is the number of processes. Results are kept in BUILD_FOLDER/results/. Packages that are missing are
# installed (root, or sudo); a second run builds only what changed.
set -u
exec </dev/null

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root" || exit 1
checks=$root/tests/checks
python=/usr/bin/python3
jobs=${JOBS:-$(nproc)}
summary=${POSTERN_RESULTS:-$root/build/results}
llvm=/usr/lib/llvm-19/bin

usage() {
    sed -n '2,/^set -u/ { /^set -u/ d; s/^# \{0,1\}//; p }' "$0"
}

parts=
for part in "$@"; do
    case $part in
        unit | e2e | checks | fuzz | sanitize | tsan | tidy) parts="$parts $part" ;;
        ci) parts="$parts sanitize checks fuzz tsan tidy" ;;
        all) parts="$parts unit e2e checks sanitize tsan fuzz tidy" ;;
        -h | --help) usage; exit 0 ;;
        *) echo "run.sh: no part '$part'" >&2; usage >&2; exit 2 ;;
    esac
done
[ -n "$parts" ] || parts='unit e2e checks'

started=$(date +%s)
say() {
    printf '== %4ds  %s\n' "$(($(date +%s) - started))" "$*"
}

# record NAME STATUS: counts one check.
record() {
    printf '%s\t%s\n' "$1" "$2" >>"$summary/checks.tsv"
    [ "$2" = 0 ] || say "FAILED: $1"
}

# check NAME COMMAND...: runs it, shows its output if it fails, and counts it.
check() {
    check_name=$1
    shift
    if "$@" >"$summary/check.log" 2>&1; then
        record "$check_name" 0
    else
        record "$check_name" 1
        cat "$summary/check.log"
    fi
}

# configure FOLDER OPTION...: sets the build folder up, again where the options have changed.
configure() {
    folder=$1
    shift
    wanted="$CXX $*"
    if [ ! -f "$folder/build.ninja" ] || [ "$(cat "$folder/.options" 2>/dev/null)" != "$wanted" ]; then
        wipe=
        [ ! -d "$folder/meson-private" ] || wipe=--wipe
        # shellcheck disable=SC2086
        if ! meson setup $wipe "$folder" "$@" >"$summary/setup.log" 2>&1; then
            cat "$summary/setup.log"
            return 1
        fi
        printf '%s\n' "$wanted" >"$folder/.options"
    fi
}

# build FOLDER OPTION...: configures and builds, once a run and folder.
built=
broken=
build() {
    case $built in *" $1 "*) return 0 ;; esac
    case $broken in *" $1 "*) return 1 ;; esac
    say "build $1"
    if configure "$@" && ninja --quiet -k 0 -C "$1" -j "$jobs"; then
        record "build $1" 0
        built="$built $1 "
    else
        record "build $1" 1
        broken="$broken $1 "
        return 1
    fi
}

# fresh FOLDER PART: an empty folder for results, and its name in $results.
fresh() {
    results=$root/$1/results/$2
    rm -rf "$results"
    mkdir -p "$results"
    printf '%s\n' "$results" >>"$summary/folders"
}

# A sanitizer's report becomes a file, so that one in a process nobody waits for fails the run too. The servers run as
# another user where the tests run as root: the folder must be reachable and writable for anybody.
sanitizer_options() {
    reported=$(mktemp -d /tmp/postern-reports-XXXXXX) && chmod 1777 "$reported" || exit 1
    log=log_path=$reported/report
    export ASAN_OPTIONS="detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1:$log"
    export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1:$log"
    export TSAN_OPTIONS="halt_on_error=1:second_deadlock_stack=1:$log"
    export ASAN_SYMBOLIZER_PATH=$llvm/llvm-symbolizer UBSAN_SYMBOLIZER_PATH=$llvm/llvm-symbolizer
    export TSAN_SYMBOLIZER_PATH=$llvm/llvm-symbolizer
}

reports() {
    set -- "$reported"/report.*
    if [ -e "$1" ]; then
        record "sanitizer reports in $results" 1
        cat "$@"
        mv "$@" "$results/"
    fi
    rm -rf "$reported"
}

# unit FOLDER TIMEOUT_FACTOR
unit() {
    fresh "$1" unit
    sanitizer_options
    say "unit tests in $1"
    # shellcheck disable=SC2086 # its options, split on purpose
    GTEST_OUTPUT=xml:$results/gtest/ meson test -C "$1" --no-rebuild --num-processes "$jobs" \
        --timeout-multiplier "$2" --print-errorlogs ${TEST_ARGS:-} >"$results/output" 2>&1
    status=$?
    cp "$1/meson-logs/testlog.json" "$results/" 2>/dev/null
    [ $status = 0 ] || cat "$results/output"
    reports
}

# Most of the time they wait for each other's servers, so that more of them run than there are processors; one that
# hangs fails.
e2e() {
    fresh "$1" e2e
    sanitizer_options
    say "end-to-end tests in $1"
    # shellcheck disable=SC2086
    POSTERN_BUILD=$root/$1 PYTHONDONTWRITEBYTECODE=1 "$python" -m pytest tests/e2e -q -p no:cacheprovider \
        -n $((2 * jobs + 1)) --dist loadfile --timeout 300 --junitxml="$results/pytest.xml" ${PYTEST_ARGS:-}
    status=$?
    # 1 means that tests failed, which the XML says; anything else is pytest's own trouble.
    [ $status -le 1 ] || record "pytest in $1" "$status"
    reports
}

run_checks() {
    say checks
    check 'checks of the checks' "$python" -m pytest -q -p no:cacheprovider "$checks"
    check 'layer directions' "$python" "$checks/check_layers.py"
    check 'style' "$python" "$checks/check_style.py"
    check 'format' "$python" "$checks/check_format.py"
    check 'documents' "$python" "$checks/check_docs.py"
    check 'secrets' "$python" "$checks/check_secrets.py"
    check 'shell scripts' "$python" "$checks/check_shell.py"
    # shellcheck disable=SC2086 # its options, split on purpose
    if build $any; then
        check 'installed files' "$python" "$checks/check_installed.py" "${any%% *}"
    fi
}

fuzz() {
    # shellcheck disable=SC2086 # its options, split on purpose
    build build-asan $asan || return
    fresh build-asan fuzz
    sanitizer_options
    say "fuzz, ${FUZZ_SECONDS:-10} s a target"
    "$python" "$checks/run_fuzzers.py" build-asan --seconds "${FUZZ_SECONDS:-10}" --jobs "$jobs" \
        --seed "${POSTERN_SEED:-0}" --results "$results"
    # The fuzzers' reports are in their logs, which run_fuzzers.py shows.
    rm -rf "$reported"
}

# Needs no build, only the compilation commands of single files.
tidy() {
    say clang-tidy
    configure build-tidy || { record 'configure build-tidy' 1; return; }
    "$python" "$checks/run_tidy.py" build-tidy --jobs "$jobs" --since "${TIDY_SINCE:-}"
    record clang-tidy $?
}

# ----------------------------------------------------------------------------------------------------

mkdir -p "$summary" && rm -rf "$summary/checks.tsv" "$summary/folders" "$summary/setup.log" || exit 1
: >"$summary/checks.tsv"
: >"$summary/folders"

say packages
sh deploy/install-packages.sh build demo test || exit 1
command -v npm >/dev/null || sh deploy/install-packages.sh jam || exit 1
for server in cyrus courier; do
    sh deploy/install-packages.sh --unpack $server >/dev/null || exit 1
done
# Named, since Meson leaves ccache out where CXX is set.
export CXX="${CXX:-ccache clang++-19}"
# A second clone may use what the first has compiled: debug information names the sources by relative paths.
export CCACHE_NOHASHDIR="${CCACHE_NOHASHDIR:-1}"

# Half the debug information is plenty for a stack trace, and files compiled together take a third of the time.
sanitized='-Doptimization=1 -Ddebug=true -Dwerror=true -Dcpp_args=-gline-tables-only -Dunity=on -Dunity_size=14'
asan="-Db_sanitize=address,undefined -Dfuzzers=true $sanitized"
tsan="-Db_sanitize=thread $sanitized"
# The checks that need a build folder take the default one, unless only the other is built anyway.
case " $parts " in
    *" unit "* | *" e2e "*) any=build ;;
    *" sanitize "* | *" fuzz "*) any="build-asan $asan" ;;
    *) any=build ;;
esac

# $asan and $tsan are split on purpose.
# shellcheck disable=SC2086
for part in $parts; do
    case $part in
        unit) build build && unit build 2 ;;
        e2e) build build && e2e build ;;
        checks) run_checks ;;
        sanitize) build build-asan $asan && { unit build-asan 4; e2e build-asan; } ;;
        tsan) build build-tsan $tsan && { unit build-tsan 6; e2e build-tsan; } ;;
        fuzz) fuzz ;;
        tidy) tidy ;;
    esac
done

say 'all done'
exec "$python" "$checks/count_results.py" "$summary"
