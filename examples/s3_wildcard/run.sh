#!/bin/sh
# A wildcard output to S3. The script starts an S3 server of its own, at the endpoint that
# settings.toml names for the bucket tesp-examples, and ends it again.
set -eu
cd "$(dirname "$0")"
. ../common.sh

# Another port goes with another endpoint in the server's settings.
port=${EXAMPLE_S3_PORT:-9123}
endpoint=http://127.0.0.1:$port
cache=../../.cache/s3-server
if [ -x ../../.venv/bin/python ]; then python=../../.venv/bin/python; else python=python3; fi

if ! cmp -s requirements.txt "$cache/installed.txt"; then
    echo "Installing an S3 server into .cache/s3-server ..."
    "$python" -m venv --clear "$cache"
    "$cache/bin/pip" install --quiet --disable-pip-version-check --no-deps -r requirements.txt
    cp requirements.txt "$cache/installed.txt"
fi

# The keys are those of settings.toml.
signed() {
    curl -fsS --user examples:examples --aws-sigv4 aws:amz:us-east-1:s3 "$@"
}

"$python" -c 'import socket, sys; socket.create_server(("127.0.0.1", int(sys.argv[1])))' "$port" \
    2>/dev/null || fail "Port $port is taken: end the program that listens there."
"$cache/bin/moto_server" --host 127.0.0.1 --port "$port" >"$cache/server.log" 2>&1 &
server=$!
trap 'kill $server; wait $server || :' EXIT
trap 'exit 130' INT TERM
tries=0
until curl -fsS -o "$cache/answer" "$endpoint/" 2>/dev/null; do
    kill -0 $server || fail "The S3 server did not start: $(tail -n 3 "$cache/server.log")"
    tries=$((tries + 1))
    [ $tries -lt 300 ] || fail "The S3 server does not answer"
    sleep 0.1
done
signed -o "$cache/answer" -X PUT "$endpoint/tesp-examples"

filled task.json OUTPUT=s3://tesp-examples/parts | tesp run -

signed "$endpoint/tesp-examples?list-type=2" | python3 -c '
import re, sys
print("\n".join(re.findall("<Key>(.*?)</Key>", sys.stdin.read())))' >"$cache/keys"
cat "$cache/keys"
[ "$(cat "$cache/keys")" = "parts/part-1.txt
parts/part-2.txt
parts/part-3.txt" ] || fail "Expected the three parts, and not part.log"
[ "$(signed "$endpoint/tesp-examples/parts/part-2.txt")" = "part 2" ] ||
    fail "Expected 'part 2' in parts/part-2.txt"
echo "Right: the bucket holds what matched, and nothing else"
