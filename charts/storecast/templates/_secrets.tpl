{{/*
A credential: the given one, else the one in the release's secret, else a new one. What was chosen is kept in .Values for
the rest of this rendering, so that each object that needs it gets the same.
(dict "root" $ "secret" NAME "key" KEY "given" VALUE); "prefix" and "suffix" if a new one is to begin and end with something.
*/}}
{{- define "storecast.credential" -}}
{{- if .given }}
{{- .given }}
{{- else }}
{{- include "storecast.generated" .root }}
{{- $values := .root.Values }}
{{- $id := printf "%s/%s" .secret .key }}
{{- if not (hasKey $values.generated $id) }}
{{- $old := lookup "v1" "Secret" .root.Release.Namespace .secret }}
{{- $known := "" }}
{{- if $old }}{{ $known = get ($old.data | default dict) .key | b64dec }}{{ end }}
{{- $_ := set $values.generated $id ($known | default (printf "%s%s%s" (.prefix | default "") (randAlphaNum 32) (.suffix | default ""))) }}
{{- end }}
{{- get $values.generated $id }}
{{- end }}
{{- end }}

{{/* Makes .Values.generated, what this rendering has chosen or computed so far. */}}
{{- define "storecast.generated" -}}
{{- if not (hasKey .Values "generated") }}{{ $_ := set .Values "generated" dict }}{{ end }}
{{- end }}

{{/* Prefect's basic auth. */}}
{{- define "storecast.prefectSecret" -}}
{{- if .Values.server.enabled }}
{{- .Values.server.auth.existingSecret | default (printf "%s-prefect" (include "storecast.fullname" .)) }}
{{- else }}
{{- .Values.externalPrefect.existingSecret | default (printf "%s-prefect" (include "storecast.fullname" .)) }}
{{- end }}
{{- end }}
{{- define "storecast.prefectPassword" -}}
{{- include "storecast.credential" (dict "root" . "secret" (include "storecast.prefectSecret" .) "key" "password" "given" .Values.server.auth.password) }}
{{- end }}
{{/* user:password; empty when only an existing secret knows it. */}}
{{- define "storecast.prefectAuthString" -}}
{{- if and .Values.server.enabled (not .Values.server.auth.existingSecret) }}
{{- printf "%s:%s" .Values.server.auth.username (include "storecast.prefectPassword" .) }}
{{- else if and (not .Values.server.enabled) (not .Values.externalPrefect.existingSecret) }}
{{- required "externalPrefect has neither authString nor existingSecret: give user:password, or a secret with the key auth-string" .Values.externalPrefect.authString }}
{{- end }}
{{- end }}
{{- define "storecast.prefectAuthEnv" -}}
- name: {{ .name }}
  valueFrom: {secretKeyRef: {name: {{ include "storecast.prefectSecret" .root }}, key: auth-string}}
{{- end }}

{{/* PostgreSQL of Prefect. */}}
{{- define "storecast.postgresqlExistingSecret" -}}
{{- ternary .Values.postgresql.existingSecret .Values.externalPostgresql.existingSecret .Values.postgresql.enabled }}
{{- end }}
{{- define "storecast.postgresqlSecret" -}}
{{- include "storecast.postgresqlExistingSecret" . | default (printf "%s-postgresql" (include "storecast.fullname" .)) }}
{{- end }}
{{- define "storecast.postgresqlPassword" -}}
{{- include "storecast.credential" (dict "root" . "secret" (include "storecast.postgresqlSecret" .) "key" "password" "given" .Values.postgresql.password) }}
{{- end }}
{{- define "storecast.postgresqlUrl" -}}
{{- if .Values.postgresql.enabled }}
{{- $password := include "storecast.postgresqlPassword" . | urlquery | replace "+" "%20" }}
{{- printf "postgresql+asyncpg://prefect:%s@%s-postgresql:5432/prefect" $password (include "storecast.fullname" .) }}
{{- else }}
{{- $external := .Values.externalPostgresql }}
{{- $host := required "externalPostgresql.host is empty, but postgresql.enabled is false: give the host, or existingSecret with the key connection-url" $external.host }}
{{- $password := required "externalPostgresql.password is empty: give it, or existingSecret with the key connection-url" $external.password | urlquery | replace "+" "%20" }}
{{- if and (hasPrefix "verify-" $external.sslMode) (not $external.caSecret) }}
{{- fail (printf "externalPostgresql.sslMode is %s, but caSecret is empty: give the secret whose ca.crt is the authority of the server's certificate" $external.sslMode) }}
{{- end }}
{{- printf "postgresql+asyncpg://%s:%s@%s:%v/%s?ssl=%s" ($external.username | urlquery) $password $host $external.port $external.database $external.sslMode }}
{{- end }}
{{- end }}
{{- define "storecast.databaseEnv" -}}
- name: PREFECT_SERVER_DATABASE_CONNECTION_URL
  valueFrom: {secretKeyRef: {name: {{ include "storecast.postgresqlSecret" . }}, key: connection-url}}
{{- if include "storecast.databaseCa" . }}
- {name: PGSSLROOTCERT, value: /etc/storecast/database-ca/ca.crt}
{{- end }}
{{- end }}
{{/* The authority of an external database's certificate: its secret, and where pods have it. */}}
{{- define "storecast.databaseCa" -}}
{{- if not .Values.postgresql.enabled }}{{ .Values.externalPostgresql.caSecret }}{{ end }}
{{- end }}
{{- define "storecast.databaseCaMount" -}}
{{- if include "storecast.databaseCa" . }}
- {name: database-ca, mountPath: /etc/storecast/database-ca, readOnly: true}
{{- end }}
{{- end }}
{{- define "storecast.databaseCaVolume" -}}
{{- with include "storecast.databaseCa" . }}
- name: database-ca
  secret: {secretName: {{ . }}, items: [{key: ca.crt, path: ca.crt}]}
{{- end }}
{{- end }}

{{/*
URL of the database of studies in the PostgreSQL here. Empty where there is none, where a secret of yours names another, and
where the PostgreSQL's password is in a secret of yours and this one is not given: none is generated beside those, so that two
renderings are the same.
*/}}
{{- define "storecast.tuningUrl" -}}
{{- $known := or .Values.postgresql.tuningPassword (not .Values.postgresql.existingSecret) }}
{{- if and .Values.server.enabled .Values.postgresql.enabled $known (not .Values.run.tuning.existingSecret) }}
{{- $before := "postgresql://tuning:" }}
{{- $after := printf "@%s-postgresql:5432/tuning" (include "storecast.fullname" .) }}
{{- $given := "" }}
{{- with .Values.postgresql.tuningPassword }}{{ $given = printf "%s%s%s" $before (. | urlquery | replace "+" "%20") $after }}{{ end }}
{{- include "storecast.credential" (dict "root" . "secret" (printf "%s-run" (include "storecast.fullname" .)) "key" "STORECAST_TUNING_STORAGE" "given" $given "prefix" $before "suffix" $after) }}
{{- end }}
{{- end }}

{{/* S3: the secret of the in-cluster server, and the two keys where we know them. */}}
{{- define "storecast.s3Secret" -}}
{{- .Values.s3.existingSecret | default (printf "%s-s3" (include "storecast.fullname" .)) }}
{{- end }}
{{- define "storecast.s3AccessKey" -}}
{{- if .Values.s3.enabled }}
{{- include "storecast.credential" (dict "root" . "secret" (include "storecast.s3Secret" .) "key" "AWS_ACCESS_KEY_ID" "given" .Values.s3.accessKey) }}
{{- else }}
{{- .Values.externalS3.accessKey }}
{{- end }}
{{- end }}
{{- define "storecast.s3SecretKey" -}}
{{- if .Values.s3.enabled }}
{{- include "storecast.credential" (dict "root" . "secret" (include "storecast.s3Secret" .) "key" "AWS_SECRET_ACCESS_KEY" "given" .Values.s3.secretKey) }}
{{- else }}
{{- if .Values.externalS3.accessKey }}{{ $_ := required "externalS3.secretKey is empty, but accessKey is given" .Values.externalS3.secretKey }}{{ end }}
{{- .Values.externalS3.secretKey }}
{{- end }}
{{- end }}
{{- define "storecast.s3ExistingSecret" -}}
{{- ternary .Values.s3.existingSecret .Values.externalS3.existingSecret .Values.s3.enabled }}
{{- end }}

{{/* Names of the secrets whose keys become the environment of run pods. */}}
{{- define "storecast.runSecrets" -}}
{{- $names := list (printf "%s-run" (include "storecast.fullname" .)) }}
{{- with include "storecast.s3ExistingSecret" . }}{{ $names = append $names . }}{{ end }}
{{- if and (not .Values.mlflow.enabled) .Values.externalMlflow.existingSecret }}{{ $names = append $names .Values.externalMlflow.existingSecret }}{{ end }}
{{- with .Values.run.notify.existingSecret }}{{ $names = append $names . }}{{ end }}
{{- with .Values.run.tuning.existingSecret }}{{ $names = append $names . }}{{ end }}
{{- toJson (concat $names .Values.run.existingSecrets) }}
{{- end }}

{{/* MLflow's credentials for runs, where we know them. */}}
{{- define "storecast.mlflowUsername" -}}
{{- if not .Values.mlflow.enabled }}
{{- if not .Values.externalMlflow.existingSecret }}{{ .Values.externalMlflow.username }}{{ end }}
{{- else if and .Values.mlflow.auth.enabled (not .Values.mlflow.auth.existingSecret) }}
{{- include "mlflow.auth.username" .Subcharts.mlflow }}
{{- end }}
{{- end }}
{{- define "storecast.mlflowPassword" -}}
{{- if .Values.mlflow.enabled }}
{{- include "mlflow.auth.password" .Subcharts.mlflow }}
{{- else }}
{{- required "externalMlflow.password is empty, but username is given" .Values.externalMlflow.password }}
{{- end }}
{{- end }}
