#!/bin/bash
# Puts the databases and the artifacts back to backup $FROM. What is there now is lost; the server must be stopped.
set -euo pipefail
backups=${BACKUPS:-/backup} artifacts=${ARTIFACTS:-/artifacts}
cd "$backups/$FROM" || { echo "There is no backup $FROM. There are:"; ls "$backups"; exit 1; }
sha256sum --check --quiet SHA256SUMS
for _ in $(seq 150); do pg_isready --quiet && break; sleep 2; done
for database in $DATABASES; do
  [ -e "$database.dump" ] || { echo "Backup $FROM has no database $database."; exit 1; }
  psql --quiet --no-psqlrc -d postgres -v ON_ERROR_STOP=1 -v name="$database" <<'SQL'
SELECT format('CREATE DATABASE %I', :'name') WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
SQL
  for _ in $(seq 60); do
    others=$(psql --no-psqlrc -At -d "$database" -c "SELECT count(*) FROM pg_stat_activity
      WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()")
    [ "$others" = 0 ] && break
    echo "waiting: $others connections to $database are still open"
    sleep 2
  done
  [ "$others" = 0 ] || { echo "Database $database is in use: stop the server first."; exit 1; }
done
for database in $DATABASES; do
  psql --quiet --no-psqlrc -d "$database" -v ON_ERROR_STOP=1 \
    -c 'SET client_min_messages = warning' -c 'DROP SCHEMA public CASCADE' -c 'CREATE SCHEMA public'
  pg_restore --no-owner --no-privileges --single-transaction --dbname="$database" "$database.dump"
  echo "restored the database $database"
done
if [ -d "$artifacts" ]; then
  [ -e artifacts.tar.gz ] || { echo "Backup $FROM has no artifacts: those on the volume stay."; exit 0; }
  find "$artifacts" -mindepth 1 -maxdepth 1 ! -name lost+found -exec rm -rf {} +
  tar --extract --gzip --file=artifacts.tar.gz -C "$artifacts"
  echo "restored the artifacts"
fi
