#!/bin/sh
# The MD5 sum of an HTTP input, written to a file: with nothing but curl and python3.
set -eu
cd "$(dirname "$0")"
. ../common.sh

input=$URL/openapi.json
storage=$(file_storage)
output=$storage/examples/md5.txt
rm -f "$(path_of "$output")"

id=$(filled task.json INPUT="$input" OUTPUT="$output" |
    curl -fsS "$API/tasks" -H 'Content-Type: application/json' --data-binary @- | member id)
echo "Submitted $id"

state=QUEUED
while [ "$state" = QUEUED ] || [ "$state" = INITIALIZING ] || [ "$state" = RUNNING ]; do
    sleep 0.2
    state=$(curl -fsS "$API/tasks/$id" | member state)
done
echo "Ended as $state"
if [ "$state" != COMPLETE ]; then
    curl -fsS "$API/tasks/$id?view=FULL" >&2
    exit 1
fi

echo "$output:"
cat "$(path_of "$output")"
expected=$(curl -fsS "$input" | python3 -c '
import hashlib, sys; print(hashlib.md5(sys.stdin.buffer.read()).hexdigest())')
[ "$(cut -d' ' -f1 "$(path_of "$output")")" = "$expected" ] || fail "Expected $expected"
echo "Right: that is the MD5 sum of $input"
