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
  # The schema stays: before PostgreSQL 15 it belongs to a superuser, and MLflow's user only to what is in it.
  # All that is in it goes, or nothing where something may not be dropped.
  psql --quiet --no-psqlrc --single-transaction -d "$database" -v ON_ERROR_STOP=1 --file=- <<'SQL'
SET client_min_messages = warning;
SELECT format('DROP %s IF EXISTS %s CASCADE', CASE relkind
    WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, oid::regclass)
  FROM pg_class
  WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')
    AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')
  ORDER BY relkind NOT IN ('r', 'p') \gexec
SQL
  pg_restore --no-owner --no-privileges --no-comments --single-transaction --dbname="$database" "$database.dump"
  echo "restored the database $database"
done
if [ -d "$artifacts" ]; then
  [ -e artifacts.tar.gz ] || { echo "Backup $FROM has no artifacts: those on the volume stay."; exit 0; }
  find "$artifacts" -mindepth 1 -maxdepth 1 ! -name lost+found -exec rm -rf {} +
  tar --extract --gzip --file=artifacts.tar.gz -C "$artifacts"
  echo "restored the artifacts"
fi
