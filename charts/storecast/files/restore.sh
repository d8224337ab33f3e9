#!/bin/bash
# Puts Prefect's database back to backup $FROM. What is there now is lost; the server must be stopped.
set -euo pipefail
cd /backup
[ -e "$FROM.dump" ] || { echo "There is no backup $FROM. There are:"; ls; exit 1; }
sha256sum --check --quiet "$FROM.sha256" < "$FROM.dump"
for _ in $(seq 150); do pg_isready --quiet && break; sleep 2; done
for _ in $(seq 60); do
  others=$(psql --no-psqlrc -At -c "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()")
  [ "$others" = 0 ] && break
  echo "waiting: $others connections to the database are still open"
  sleep 2
done
[ "$others" = 0 ] || { echo "The database is in use: stop the server first."; exit 1; }
psql --quiet --no-psqlrc -v ON_ERROR_STOP=1 \
  -c 'SET client_min_messages = warning' -c 'DROP SCHEMA public CASCADE' -c 'CREATE SCHEMA public'
pg_restore --no-owner --no-privileges --single-transaction --dbname="$PGDATABASE" "$FROM.dump"
echo "restored Prefect's database from $FROM"
