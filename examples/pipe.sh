#!/bin/sh
# source read | destination write, as Airbyte itself does it; with examples/destination_sqlite.py as the destination.
#
#     examples/pipe.sh config.json folder
#
# folder then has liquidations.sqlite, and the state from which the next run goes on. `make setup` installs what it
# needs into .venv. `python -m sandbox --config config.json` serves simulated vendors and writes a configuration to try
# it with.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-$here/../.venv/bin/python}
source=$(dirname "$python")/source-liquidations
config=$1
folder=$2

mkdir -p "$folder"
rm -f "$folder/failed"
[ -e "$folder/state.json" ] || echo '[]' >"$folder/state.json"
echo "{\"path\": \"$folder/liquidations.sqlite\"}" >"$folder/destination.json"

"$source" discover --config "$config" >"$folder/discovered.jsonl"
"$python" "$here/../scripts/select_all.py" "$folder/discovered.jsonl" >"$folder/catalog.json"

# Only a state that comes out of the destination is safe to go on from: what it covers is stored.
{
    "$source" read --config "$config" --catalog "$folder/catalog.json" --state "$folder/state.json" ||
        echo "$?" >"$folder/failed"
} | "$python" "$here/destination_sqlite.py" write --config "$folder/destination.json" \
        --catalog "$folder/catalog.json" >"$folder/written.jsonl"
"$python" - "$folder" <<'EOF'
import json, pathlib, sqlite3, sys

folder = pathlib.Path(sys.argv[1])
state = {s["stream"]["stream_descriptor"]["name"]: s for s in json.loads((folder / "state.json").read_text())}
for line in (folder / "written.jsonl").read_text().splitlines():
    message = json.loads(line)
    if message["type"] == "STATE":
        state[message["state"]["stream"]["stream_descriptor"]["name"]] = message["state"]
(folder / "state.json").write_text(json.dumps(list(state.values())))
database = sqlite3.connect(folder / "liquidations.sqlite")
for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall():
    print(f"{table}: {database.execute(f'SELECT count(*) FROM {table}').fetchone()[0]} rows in all")
EOF
[ ! -e "$folder/failed" ] || exit "$(cat "$folder/failed")"
