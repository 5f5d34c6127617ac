#!/bin/sh
# deploy/demo.sh [OPTION]... - Postern in front of a sample mailbox, or of your own IMAP server, on this machine.
#
# Installs what is missing (Debian packages), builds Postern, and starts, on free loopback ports and in a temporary
# folder: Dovecot with some thousands of messages, the broker, its workers, nginx and Apache. Prints the URLs, a
# login, and curl lines that show the mailboxes, the newest messages and one message. Ctrl-C stops it all.
#
#   --imap HOST[:PORT]  use this IMAP server instead of Dovecot; TLS, verified (143: STARTTLS; otherwise IMAPS);
#                       an IPv6 address with a port in brackets: [::1]:993
#   --ca FILE           trust this authority for that server, not the system's
#   --messages N        size of the sample mailbox (default 3000)
#   --build FOLDER      use the programs in this folder as they are; install and build nothing
#   --check             run the curl lines against both servers, say whether they worked, and stop
#
# With --imap, the login is asked for on the terminal, or taken from IMAP_LOGIN and IMAP_PASSWORD. It is used for
# the curl lines only. As root, the servers run as the user 'nobody'.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(dirname -- "$here")
build=$root/build-release
messages=3000
imap=
ca=
check=
ready_build=

die() {
    echo "demo.sh: $*" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    case $1 in
        --imap | --ca | --messages | --build)
            [ $# -ge 2 ] || die "$1 needs a value"
            case $1 in
                --imap) imap=$2 ;;
                --ca) ca=$(readlink -f -- "$2") ;;
                --messages) messages=$2 ;;
                --build) build=$(readlink -f -- "$2") && ready_build=yes ;;
            esac
            shift 2
            ;;
        --check) check=yes && shift ;;
        -h | --help) sed -n '2,/^set -eu/ { /^set -eu/ d; s/^# \{0,1\}//; p }' "$0" && exit 0 ;;
        *) die "unknown option $1 (see --help)" ;;
    esac
done

# --- programs

# as_owner COMMAND... - under sudo, as whoever the source tree belongs to, so that what is built does too.
as_owner() {
    owner=$(stat -c %U "$root")
    if [ "$(id -u)" = 0 ] && [ "$owner" != root ]; then
        runuser -u "$owner" -- env HOME="$(getent passwd "$owner" | cut -d: -f6)" "$@"
    else
        "$@"
    fi
}

prepare() {
    "$here/install-packages.sh" build demo
    if [ ! -f "$build/build.ninja" ]; then
        said=$(as_owner env CXX="${CXX:-ccache clang++-19}" meson setup "$build" "$root" --buildtype=release \
            -Dtests=false 2>&1) || die "Meson could not configure $build: $said"
    fi
    echo "building in $build (the first time takes a few minutes)"
    as_owner ninja --quiet -C "$build" || die "the build failed"
}

program() {
    found=$(find "$build" -name '*.p' -prune -o -type f -name "$1" -perm -u+x -print | head -n 1)
    [ -n "$found" ] || die "$1 is not built in $build"
    printf '%s\n' "$found"
}

[ -n "$ready_build" ] || prepare
PATH=$PATH:/usr/sbin:/sbin

# --- the folder, the user, and what is stopped at the end

base=$(mktemp -d "${TMPDIR:-/tmp}/demo-postern.XXXXXX")
started=
drop=
user=$(id -un)
if [ "$(id -u)" = 0 ]; then
    user=nobody
    drop="setpriv --reuid=$(id -u nobody) --regid=$(id -g nobody) --clear-groups"
fi

# Newest first: web servers, workers, broker, Dovecot. Each is the leader of its own session.
stop_all() {
    trap '' INT TERM
    for pid in $started; do
        kill -TERM "$pid" 2>/dev/null || true
        tries=0
        while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 50 ]; do
            tries=$((tries + 1))
            sleep 0.1
        done
        kill -KILL -- "-$pid" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    rm -rf "$base"
}
trap stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

chmod 755 "$base"
for folder in bin log mail html state uploads run run/web run/nchan dovecot dovecot/run dovecot/state dovecot/mail \
    dovecot/mail/demo nginx nginx/snippets nginx/html apache apache/fcgid apache/html; do
    mkdir "$base/$folder"
done
# A home directory may be closed to the user that the servers run as.
for name in posternd postern-fcgi posternctl; do
    cp "$(program "$name")" "$base/bin/$name"
done

# start NAME COMMAND... - in a session of its own, as the servers' user; remembers it for the end.
start() {
    name=$1
    shift
    # $drop is words.
    # shellcheck disable=SC2086
    (cd "$base" && exec setsid $drop setpriv --pdeathsig TERM -- "$@") </dev/null >>"$base/log/$name.log" 2>&1 &
    last=$!
    started="$last $started"
}

# await WHAT COMMAND... - until the command succeeds; fails when the last started server has ended.
await() {
    what=$1
    shift
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ "$tries" -gt 300 ] || ! kill -0 "$last" 2>/dev/null; then
            tail -n 30 "$base/log/$name"*.log >&2
            die "$what did not start"
        fi
        sleep 0.1
    done
}

accepts() {
    /usr/bin/python3 -c 'import socket, sys
path, port = sys.argv[1], sys.argv[1]
if port.isdigit():
    socket.create_connection(("127.0.0.1", int(port)), 2)
else:
    socket.socket(socket.AF_UNIX).connect(path)' "$1"
}

# render TEMPLATE TARGET NAME=VALUE... - puts values in for the names between '@'.
render() {
    source=$1 target=$2
    shift 2
    cp "$source" "$target"
    for pair in "$@"; do
        sed -i "s|@${pair%%=*}@|${pair#*=}|g" "$target"
    done
}

own() {
    if [ -n "$drop" ]; then
        chown -R "$user:$(id -gn "$user")" "$base"
    fi
}

# Six words: ports that are free at the moment.
# shellcheck disable=SC2046
set -- $(/usr/bin/python3 -c 'import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(6)]
print(*(one.getsockname()[1] for one in held))')
imap_port=$1 imaps_port=$2 nginx_port=$3 nginx_tls_port=$4 apache_port=$5 apache_tls_port=$6

# --- configuration

# A throw-away authority, for Dovecot and the web servers' TLS ports.
make_certificate() {
    cd "$base"
    ec='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
    # $ec is words.
    # shellcheck disable=SC2086
    {
        openssl req -x509 $ec -days 30 -subj '/CN=Postern demo authority' -keyout ca.key -out ca.pem
        openssl req $ec -subj '/CN=localhost' -keyout localhost.key -out localhost.csr
        printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\n' >localhost.ext
        openssl x509 -req -in localhost.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 20 \
            -extfile localhost.ext -out localhost.pem
    } >log/openssl.log 2>&1 || die "openssl: $(cat log/openssl.log)"
    cd "$root"
}

make_dovecot() {
    login=demo
    password=$(od -An -N6 -tx1 /dev/urandom | tr -d ' \n')
    imap=127.0.0.1:$imaps_port
    ca=$base/ca.pem
    "$here/demo/make_mailbox.py" "$base/dovecot/mail/demo/Maildir" --messages "$messages"
    render "$here/demo/dovecot.conf" "$base/dovecot/dovecot.conf" "BASE=$base/dovecot" \
        "LOG=$base/log/dovecot-mail.log" "USER=$user" "GROUP=$(id -gn "$user")" "UID=$(id -u "$user")" \
        "GID=$(id -g "$user")" "PORT=$imap_port" "TLS_PORT=$imaps_port" "PASSWORD=$password" \
        "CERTIFICATE=$base/localhost.pem" "KEY=$base/localhost.key"
}

ask_login() {
    login=${IMAP_LOGIN:-}
    password=${IMAP_PASSWORD:-}
    [ -z "$login" ] && [ -t 0 ] || return 0
    printf 'User name at %s: ' "$imap"
    read -r login
    printf 'Password (not shown): '
    stty -echo
    read -r password || true
    stty echo
    echo
}

# split_server HOST[:PORT] - sets host and port; an IPv6 address is in brackets, or has no port.
split_server() {
    port=993
    case $1 in
        \[*\]) host=${1#\[} host=${host%\]} ;;
        \[*\]:*) host=${1#\[} host=${host%%\]*} port=${1##*\]:} ;;
        *:*:*) host=$1 ;;
        *:*) host=${1%:*} port=${1##*:} ;;
        *) host=$1 ;;
    esac
    case $host,$port in
        ,* | *, | *\[* | *\]* | *,*[!0-9]*) die "--imap: not HOST or HOST:PORT: $1" ;;
    esac
}

make_postern() {
    split_server "$imap"
    tls=implicit
    [ "$port" != 143 ] || tls=starttls
    {
        printf '[server]\nruntime_dir = "%s"\nstate_dir = "%s"\n' "$base/run" "$base/state"
        printf '[uploads]\ndirectory = "%s"\n' "$base/uploads"
        printf '[imap]\nhost = "%s"\nport = %s\ntls = "%s"\n' "$host" "$port" "$tls"
        [ -z "$ca" ] || printf 'ca_file = "%s"\n' "$ca"
        printf '[ipc]\nallowed_users = ["%s"]\n' "$user"
    } >"$base/postern.toml"
}

make_web_servers() {
    common="CERTIFICATE=$base/localhost.pem KEY=$base/localhost.key"
    for file in postern.conf postern-fastcgi.conf postern-internal.conf postern-websocket.conf postern-nchan.conf; do
        cp "$here/nginx/$file" "$base/nginx/snippets/"
    done
    for file in postern-upstream.conf postern-nchan-publisher.conf; do
        sed "s|unix:/run/postern/|unix:$base/run/|" "$here/nginx/$file" >"$base/nginx/$file"
    done
    # $common is words: mktemp's name has no spaces.
    # shellcheck disable=SC2086
    render "$here/demo/nginx.conf" "$base/nginx/nginx.conf" "BASE=$base/nginx" "PORT=$nginx_port" \
        "TLS_PORT=$nginx_tls_port" "ERROR_LOG=$base/log/nginx-error.log" "ACCESS_LOG=$base/log/nginx-access.log" $common
    cp "$here/apache/postern.conf" "$here/apache/postern-server.conf" "$base/apache/"
    # shellcheck disable=SC2086
    render "$here/demo/apache.conf" "$base/apache/apache.conf" "BASE=$base/apache" "PORT=$apache_port" \
        "TLS_PORT=$apache_tls_port" "ERROR_LOG=$base/log/apache-error.log" "ACCESS_LOG=$base/log/apache-access.log" \
        "WORKER=$base/bin/postern-fcgi" "RUNTIME_DIR=$base/run" "BROKER_USER=$user" $common
}

make_certificate
if [ -z "$imap" ]; then
    own_server=yes
    make_dovecot
else
    own_server=
    ask_login
fi
make_postern
make_web_servers
own

# --- start

if [ -n "$own_server" ]; then
    start dovecot dovecot -F -c "$base/dovecot/dovecot.conf"
    await Dovecot accepts "$imaps_port"
fi
start posternd "$base/bin/posternd" --config "$base/postern.toml"
await posternd accepts "$base/run/broker.sock"
start postern-fcgi "$base/bin/postern-fcgi" --broker "$base/run/broker.sock" --segment "$base/run/segment" \
    --listen "$base/run/web/fcgi.sock" --processes 2 --threads 32
await postern-fcgi accepts "$base/run/web/fcgi.sock"
start nginx nginx -e "$base/log/nginx-error.log" -c "$base/nginx/nginx.conf" -g 'daemon off;'
await nginx accepts "$nginx_port"
start apache apache2 -f "$base/apache/apache.conf" -DFOREGROUND
await Apache accepts "$apache_port"

# --- the curl lines

using='"using":["urn:ietf:params:jmap:core","urn:ietf:params:jmap:mail"]'

# fetch URL [BODY] - with the login, which doesn't appear in the list of processes.
fetch() {
    if [ $# -eq 2 ]; then
        set -- "$1" --json "$2"
    fi
    printf 'user = "%s"\n' "$(printf '%s:%s' "$login" "$password" | sed 's/[\\"]/\\&/g')" |
        curl -sS --fail-with-body -K - "$@"
}

# api_body CALLS - a JMAP request.
api_body() {
    printf '{%s,"methodCalls":[%s]}' "$using" "$1"
}

# Looks up what the lines need: the account, its INBOX and the newest message.
look_up() {
    url=http://127.0.0.1:$nginx_port
    session=$(fetch "$url/jmap/session") || die "$url/jmap/session: $session"
    account=$(printf '%s' "$session" | jq -er '.primaryAccounts["urn:ietf:params:jmap:mail"]')
    in_account='"accountId":"'$account'"'
    wanted='"properties":["name","role","totalEmails","unreadEmails"]'
    boxes_body=$(api_body "[\"Mailbox/get\",{$in_account,$wanted},\"0\"]")
    answer=$(fetch "$url/jmap/api" "$boxes_body") || die "Mailbox/get: $answer"
    inbox=$(printf '%s' "$answer" | jq -er '.methodResponses[0][1].list[] | select(.role == "inbox").id') ||
        die "no INBOX in: $answer"
    newest_first='"filter":{"inMailbox":"'$inbox'"},"sort":[{"property":"receivedAt","isAscending":false}],"limit":20'
    those='"#ids":{"resultOf":"0","name":"Email/query","path":"/ids"}'
    wanted='"properties":["receivedAt","from","subject","preview"]'
    newest_body=$(api_body "[\"Email/query\",{$in_account,$newest_first},\"0\"],\
[\"Email/get\",{$in_account,$those,$wanted},\"1\"]")
    answer=$(fetch "$url/jmap/api" "$newest_body") || die "Email/query: $answer"
    newest=$(printf '%s' "$answer" | jq -r '.methodResponses[0][1].ids[0] // empty')
    wanted='"properties":["from","to","subject","sentAt","textBody","bodyValues"],"fetchTextBodyValues":true'
    one_body=$(api_body "[\"Email/get\",{$in_account,\"ids\":[\"$newest\"],$wanted},\"0\"]")
}

# lines URL - the three lines, each with what makes its answer readable.
lines() {
    # With --imap, curl asks for the password: it is not ours to print.
    who=$login
    [ -z "$own_server" ] || who=$login:$password
    curl="curl -s -u '$who' $1/jmap/api --json"
    echo "$curl '$boxes_body' | jq -c '.methodResponses[0][1].list[]'"
    echo "$curl '$newest_body' | jq -c '.methodResponses[1][1].list[]'"
    echo "$curl '$one_body' | jq '.methodResponses[0][1].list[0]'"
}

# check_lines NAME URL - runs the lines as they are printed, and looks at what they print.
check_lines() {
    lines "$2" >"$base/lines"
    number=0
    while read -r line; do
        number=$((number + 1))
        said=$(sh -c "$line") || die "$1: line $number failed: $said"
        case $number in
            1) good=$(printf '%s' "$said" | jq -s 'any(.role == "inbox") and length > 5') ;;
            2) good=$(printf '%s' "$said" | jq -s 'length == 20 and all(has("subject"))') ;;
            3) good=$(printf '%s' "$said" | jq '.bodyValues | length > 0') ;;
        esac
        [ "$good" = true ] || die "$1: line $number printed: $said"
    done <"$base/lines"
    [ "$number" = 3 ] || die "$1: $number lines"
    echo "$1: the three lines worked"
}

# check_upload NAME URL - a few octets that somebody attaches.
check_upload() {
    said=$(fetch "$2/jmap/upload/$account/" "an attachment") || die "$1: the upload failed: $said"
    [ "$(printf '%s' "$said" | jq .size)" = 13 ] || die "$1: the upload was answered: $said"
    echo "$1: an upload worked"
}

# With an IMAP server of the person's own, the password goes by curl's configuration and not into the lines.
check_without_lines() {
    for body in "$boxes_body" "$newest_body" "$one_body"; do
        answer=$(fetch "$2/jmap/api" "$body") || die "$1: $answer"
        case $answer in *'"error"'*) die "$1: $answer" ;; esac
    done
    echo "$1: the three requests worked"
}

nginx_url=http://127.0.0.1:$nginx_port
apache_url=http://127.0.0.1:$apache_port
[ -z "$login" ] || look_up

if [ -n "$check" ]; then
    [ -n "$login" ] || die "--check with --imap needs IMAP_LOGIN and IMAP_PASSWORD"
    verify=check_lines
    [ -n "$own_server" ] || verify=check_without_lines
    $verify nginx "$nginx_url"
    $verify Apache "$apache_url"
    check_upload nginx "$nginx_url"
    check_upload Apache "$apache_url"
    exit 0
fi

echo
echo "nginx:   $nginx_url    (TLS: https://127.0.0.1:$nginx_tls_port)"
echo "Apache:  $apache_url    (TLS: https://127.0.0.1:$apache_tls_port)"
if [ -n "$own_server" ]; then
    echo "login:   $login, password $password"
else
    echo "login:   your own at $imap"
fi
echo "JMAP session: /jmap/session or /.well-known/jmap; logs: $base/log"
if [ -n "$login" ]; then
    echo
    echo "The mailboxes, the newest 20 messages of the INBOX, and one message:"
    lines "$nginx_url" | sed 's/^/\n/'
fi
echo
echo "Ctrl-C stops everything."

while :; do
    for pid in $started; do
        if ! kill -0 "$pid" 2>/dev/null; then
            tail -n 30 "$base"/log/*.log >&2
            die "a server has ended"
        fi
    done
    sleep 1
done
