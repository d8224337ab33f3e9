{{- define "storecast.servingName" -}}
{{ include "storecast.fullname" . }}-serving
{{- end }}

{{- define "storecast.servingScheme" -}}
{{ ternary "https" "http" (ne .Values.serving.tls.existingSecret "") }}
{{- end }}

{{/*
The hashes of API keys are in secrets that pods mount; who may read those can call nothing with them. The chart's own keys
are in the first. People's are in the second, or in a secret of yours, which Helm never writes: so no rollback brings a
revoked key back.
*/}}
{{- define "storecast.servingOwnKeysSecret" -}}
{{- if not .Values.serving.keys.existingSecret }}{{ include "storecast.servingName" . }}-keys{{ end }}
{{- end }}
{{- define "storecast.servingKeysSecret" -}}
{{- .Values.serving.keys.existingSecret | default (printf "%s-people" (include "storecast.servingName" .)) }}
{{- end }}

{{/*
Ends where people's keys are still in the first, as before there was the second: Helm would drop them. The chart's own are
those of its three ids without a time at which they were made.
*/}}
{{- define "storecast.servingKeysMoved" -}}
{{- $own := include "storecast.servingOwnKeysSecret" . }}
{{- $people := include "storecast.servingKeysSecret" . }}
{{- $old := lookup "v1" "Secret" .Release.Namespace $own }}
{{- if and $old (not (lookup "v1" "Secret" .Release.Namespace $people)) }}
{{- $ours := list }}
{{- $theirs := list }}
{{- range (get ($old.data | default dict) "keys.json" | b64dec | fromJson).keys }}
{{- if and (has .id (list "admin" "runs" "dashboard")) (not .created) }}{{ $ours = append $ours .id }}{{ else }}{{ $theirs = append $theirs .id }}{{ end }}
{{- end }}
{{- if $theirs }}
{{- $move := list
  (printf "Secret %s has API keys of people, which this upgrade would drop: %s. Move them to secret %s first:" $own (join ", " $theirs) $people)
  (printf `kubectl -n %s get secret %s -o go-template='{{index .data "keys.json" | base64decode}}' > keys.json` .Release.Namespace $own)
  (printf "for id in %s; do STORECAST_SERVING_KEYS=$PWD/keys.json storecast keys revoke $id; done" (join " " $ours))
  (printf "kubectl -n %s create secret generic %s --from-file=keys.json && rm keys.json keys.lock" .Release.Namespace $people) }}
{{- fail (join "\n" $move) }}
{{- end }}
{{- end }}
{{- end }}

{{/* The admin key in clear: a secret for people and for helm test; the service does not have it. */}}
{{- define "storecast.servingAdminKey" -}}
{{- include "storecast.credential" (dict "root" . "secret" (printf "%s-admin" (include "storecast.servingName" .)) "key" "admin-key" "given" .Values.serving.keys.admin "prefix" "sc_admin_") }}
{{- end }}

{{/* The key with which a run asks whether its release is served. */}}
{{- define "storecast.runKey" -}}
{{- include "storecast.credential" (dict "root" . "secret" (printf "%s-run" (include "storecast.fullname" .)) "key" "STORECAST_SERVING_KEY" "given" .Values.serving.keys.runs "prefix" "sc_runs_") }}
{{- end }}

{{/* Where pods of the release find the service. */}}
{{- define "storecast.servingUrl" -}}
{{ include "storecast.servingScheme" . }}://{{ include "storecast.servingName" . }}:3000
{{- end }}

{{/* keys.json: the keys of the admin, of runs and of the dashboard. */}}
{{- define "storecast.servingKeys" -}}
{{- $hash := include "storecast.servingAdminKey" . | sha256sum }}
{{- $keys := list (dict "id" "admin" "hash" $hash "scopes" (list "read" "what-if" "admin") "expires" "" "created" "") }}
{{- $hash := include "storecast.runKey" . | sha256sum }}
{{- $keys = append $keys (dict "id" "runs" "hash" $hash "scopes" (list "read") "expires" "" "created" "") }}
{{- if include "storecast.dashboardHasKey" . }}
{{- $hash := include "storecast.dashboardKey" . | sha256sum }}
{{- $keys = append $keys (dict "id" "dashboard" "hash" $hash "scopes" (list "read" "what-if") "expires" "" "created" "") }}
{{- end }}
{{- dict "keys" $keys | toPrettyJson }}
{{- end }}

{{/* Credentials of the object store and no others, as variables; none where a cloud role gives them. */}}
{{- define "storecast.s3Env" -}}
{{- $existing := include "storecast.s3ExistingSecret" . }}
{{- if or $existing (include "storecast.s3AccessKey" .) }}
{{- range $key := list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" }}
- name: {{ $key }}
  valueFrom: {secretKeyRef: {name: {{ $existing | default (printf "%s-run" (include "storecast.fullname" $)) }}, key: {{ $key }}}}
{{- end }}
{{- end }}
{{- end }}

{{/* Most pods that there may be. */}}
{{- define "storecast.servingMost" -}}
{{ ternary .Values.serving.autoscaling.maxReplicas .Values.serving.replicas .Values.serving.autoscaling.enabled | int }}
{{- end }}
