# Read by the examples' run.sh: where the service is, and what they all do.
URL=${TESP_URL:-http://127.0.0.1:8000}
API=$URL/ga4gh/tes/v1
export TESP_URL="$URL"

fail() {
    echo "$*" >&2
    exit 1
}

curl -fsS "$API/service-info" >/dev/null ||
    fail "No service at $URL: start one with \`make serve\`, or set TESP_URL."

# The directory of the service that tasks may write to, as a file:// URL: DATA/files of `make serve`.
file_storage() {
    python3 -c 'import pathlib, sys; print(pathlib.Path(sys.argv[1]).resolve().as_uri())' \
        "${TESP_FILES:-../../data/files}"
}

# The path of a file:// URL on this machine.
path_of() {
    python3 -c 'import sys, urllib.parse as u; print(u.unquote(u.urlsplit(sys.argv[1]).path))' "$1"
}

# One member of the JSON object on standard input.
member() {
    python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"
}

# A task document with its ${NAME}s replaced: filled task.json NAME=value ...
filled() {
    python3 -c '
import json, pathlib, string, sys
values = dict(pair.split("=", 1) for pair in sys.argv[2:])
quoted = {name: json.dumps(value)[1:-1] for name, value in values.items()}
print(string.Template(pathlib.Path(sys.argv[1]).read_text()).substitute(quoted))' "$@"
}

# The command line of the project, from PATH or from the checkout.
tesp() {
    if [ -x ../../.venv/bin/tesp ]; then ../../.venv/bin/tesp "$@"; else command tesp "$@"; fi
}
