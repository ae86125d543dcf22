#!/bin/sh
# Two executors one after another: the first writes to a volume, the second reads from it.
set -eu
cd "$(dirname "$0")"
. ../common.sh

storage=$(file_storage)
output=$storage/examples/frequent.txt
rm -f "$(path_of "$output")"

filled task.json OUTPUT="$output" | tesp run -

cat "$(path_of "$output")"
found=$(awk '{ print $1, $2 }' "$(path_of "$output")")
[ "$found" = "3 the
2 whale" ] || fail "Expected three times 'the' and twice 'whale'"
echo "Right: those are the two most frequent words"
