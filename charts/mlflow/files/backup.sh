#!/bin/bash
# Dumps the databases, and the artifacts where they are on the volume, into a folder of /backup named by the time;
# keeps the newest $KEEP. A folder is there whole or, as *.partial, not at all.
set -euo pipefail
backups=${BACKUPS:-/backup} artifacts=${ARTIFACTS:-/artifacts}
shopt -s nullglob
umask 077
cd "$backups"
rm -rf -- 20??-*Z.partial
name=$(date -u +%Y-%m-%dT%H-%M-%SZ)
mkdir "$name.partial"
for database in $DATABASES; do
  pg_dump --format=custom --no-owner --no-privileges --file="$name.partial/$database.dump" "$database"
done
if [ -d "$artifacts" ]; then
  # Not the folder itself: it is the volume's root, whose mode and time only root may set when it is unpacked.
  # 1: a file changed while it was read; runs go on during a backup.
  (cd "$artifacts" && find . -mindepth 1 -maxdepth 1 ! -name lost+found -print0) |
    tar --create --gzip --file="$name.partial/artifacts.tar.gz" -C "$artifacts" --null --files-from=- || [ $? -eq 1 ]
fi
(cd "$name.partial" && sha256sum -- * > SHA256SUMS)
mv "$name.partial" "$name"
kept=(20??-*Z)
for ((old = 0; old < ${#kept[@]} - KEEP; old++)); do
  rm -rf -- "${kept[old]}"
  echo "removed ${kept[old]}"
done
echo "made $name: $(du -sh "$name" | cut -f1); kept: $(printf '%s ' 20??-*Z)"
