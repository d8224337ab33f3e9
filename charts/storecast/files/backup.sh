#!/bin/bash
# Dumps Prefect's database into a file of /backup named by the time, and keeps the newest $KEEP. A file is there whole
# or, as *.partial, not at all.
set -euo pipefail
shopt -s nullglob
umask 077
cd /backup
rm -f -- 20??-*Z.partial
name=$(date -u +%Y-%m-%dT%H-%M-%SZ)
pg_dump --format=custom --no-owner --no-privileges --file="$name.partial"
sha256sum < "$name.partial" > "$name.sha256"
mv "$name.partial" "$name.dump"
kept=(20??-*Z.dump)
for ((old = 0; old < ${#kept[@]} - KEEP; old++)); do
  rm -f -- "${kept[old]}" "${kept[old]%.dump}.sha256"
  echo "removed ${kept[old]%.dump}"
done
kept=(20??-*Z.dump)
echo "made $name: $(du -h "$name.dump" | cut -f1); kept: ${kept[*]%.dump}"
