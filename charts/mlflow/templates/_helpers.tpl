{{/* Names. Long ones are cut, with a hash so that two stay two. */}}
{{- define "mlflow.fullname" -}}
{{- ternary .Release.Name (printf "%s-mlflow" .Release.Name) (contains "mlflow" .Release.Name) -}}
{{- end -}}

{{- define "mlflow.object" -}} {{- /* (list $ suffix longest) */ -}}
{{- $base := include "mlflow.fullname" (index . 0) -}}
{{- $room := sub (index . 2) (add1 (len (index . 1))) | int -}}
{{- if gt (len $base) $room -}}
{{- $base = printf "%s-%s" (trunc (int (sub $room 6)) $base | trimSuffix "-") (sha256sum $base | trunc 5) -}}
{{- end -}}
{{- printf "%s-%s" $base (index . 1) -}}
{{- end -}}

{{- define "mlflow.postgresql.name" -}}{{ include "mlflow.object" (list . "postgresql" 52) }}{{- end -}}
{{- define "mlflow.config.name" -}}{{ include "mlflow.object" (list . "config" 63) }}{{- end -}}
{{- define "mlflow.artifacts.claim" -}}
{{- .Values.artifacts.volume.existingClaim | default (include "mlflow.object" (list . "artifacts" 63)) -}}
{{- end -}}
{{- define "mlflow.backup.claim" -}}
{{- .Values.backup.volume.existingClaim | default (include "mlflow.object" (list . "backup" 52)) -}}
{{- end -}}
{{- define "mlflow.auth.secret" -}}
{{- .Values.auth.existingSecret | default (include "mlflow.object" (list . "auth" 63)) -}}
{{- end -}}
{{- define "mlflow.database.secret" -}}
{{- if .Values.postgresql.enabled -}}
{{- .Values.postgresql.existingSecret | default (include "mlflow.postgresql.name" .) -}}
{{- else -}}
{{- .Values.externalDatabase.existingSecret -}}
{{- end -}}
{{- end -}}

{{/* Labels. */}}
{{- define "mlflow.selector" -}} {{- /* (list $ component) */ -}}
app.kubernetes.io/name: mlflow
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "mlflow.labels" -}} {{- /* (list $ component) */ -}}
{{- $ := index . 0 -}}
{{ include "mlflow.selector" . }}
app.kubernetes.io/version: {{ $.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $.Release.Service }}
app.kubernetes.io/part-of: storecast
helm.sh/chart: {{ printf "mlflow-%s" $.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "mlflow.podLabels" -}} {{- /* (list $ component) */ -}}
{{- with (index . 0).Values.podLabels }}{{ toYaml . }}
{{ end -}}
{{ include "mlflow.selector" . }}
{{- end -}}

{{/* Images. */}}
{{- define "mlflow.ref" -}} {{- /* (list $ image tag) */ -}}
{{- with (index . 0).Values.global.imageRegistry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- (index . 1).repository }}:{{ (index . 1).tag | default (index . 2) -}}
{{- end -}}
{{- define "mlflow.image" -}}
image: {{ include "mlflow.ref" (list . .Values.image .Chart.AppVersion) | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end -}}
{{- define "mlflow.postgresql.image" -}}
image: {{ include "mlflow.ref" (list . .Values.postgresql.image "15") | quote }}
imagePullPolicy: {{ .Values.postgresql.image.pullPolicy }}
{{- end -}}

{{/* What every pod has. */}}
{{- define "mlflow.pod" -}} {{- /* (list $ user) */ -}}
{{- $ := index . 0 -}}
automountServiceAccountToken: false
enableServiceLinks: false
serviceAccountName: {{ include "mlflow.fullname" $ }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ index . 1 }}
  runAsGroup: {{ index . 1 }}
  fsGroup: {{ index . 1 }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with concat ($.Values.global.imagePullSecrets | default list) $.Values.imagePullSecrets | uniq }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with $.Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $.Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "mlflow.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{- define "mlflow.jobPod" -}} {{- /* (list $ component): metadata of a Job's pod */ -}}
labels: {{- include "mlflow.podLabels" . | nindent 2 }}
annotations:
  checksum/config: {{ include "mlflow.configChecksum" (index . 0) }}
{{- end -}}

{{/* Secrets: given, or kept from before, or made. Remembered for this rendering, so that all see the same. */}}
{{- define "mlflow.remember" -}}
{{- if not (hasKey .Values "remembered") -}}
{{- $auth := (lookup "v1" "Secret" .Release.Namespace (include "mlflow.auth.secret" .)).data | default dict -}}
{{- $database := (lookup "v1" "Secret" .Release.Namespace (include "mlflow.postgresql.name" .)).data | default dict -}}
{{- $_ := set .Values "remembered" (dict
  "password" (.Values.auth.password | default (get $auth "password" | b64dec) | default (randAlphaNum 24))
  "flask" (.Values.auth.flaskSecretKey | default (get $auth "flask-secret-key" | b64dec) | default (randAlphaNum 48))
  "database" (.Values.postgresql.password | default (get $database "password" | b64dec) | default (randAlphaNum 24))
) -}}
{{- end -}}
{{- end -}}
{{/* The administrator, for a chart that has this one as a part: include "mlflow.auth.password" .Subcharts.mlflow */}}
{{- define "mlflow.auth.username" -}}{{ .Values.auth.username }}{{- end -}}
{{- define "mlflow.auth.password" -}}
{{- include "mlflow.remember" . -}}{{ .Values.remembered.password }}
{{- end -}}
{{- define "mlflow.auth.flask" -}}
{{- include "mlflow.remember" . -}}{{ .Values.remembered.flask }}
{{- end -}}
{{- define "mlflow.database.password" -}}
{{- include "mlflow.remember" . -}}{{ .Values.remembered.database }}
{{- end -}}

{{/* Checksums that restart pods. By scrypt: who reads a pod's annotations must not be able to try passwords. */}}
{{- define "mlflow.authChecksum" -}}
{{- if or .Values.auth.existingSecret (not .Values.auth.enabled) -}}
{{- include "mlflow.auth.secret" . | sha256sum -}}
{{- else -}}
{{- $all := printf "%s %s" (include "mlflow.auth.password" .) (include "mlflow.auth.flask" .) -}}
{{- if not (hasKey .Values.remembered "authChecksum") -}}
{{- $_ := derivePassword 1 "maximum" $all .Values.auth.username .Release.Name | sha256sum | set .Values.remembered "authChecksum" -}}
{{- end -}}
{{- .Values.remembered.authChecksum -}}
{{- end -}}
{{- end -}}
{{- define "mlflow.databaseChecksum" -}}
{{- if and .Values.postgresql.enabled (not .Values.postgresql.existingSecret) -}}
{{- $password := include "mlflow.database.password" . -}}
{{- if not (hasKey .Values.remembered "databaseChecksum") -}}
{{- $_ := derivePassword 1 "maximum" $password "mlflow" .Release.Name | sha256sum | set .Values.remembered "databaseChecksum" -}}
{{- end -}}
{{- .Values.remembered.databaseChecksum -}}
{{- else -}}
{{- include "mlflow.database.secret" . | sha256sum -}}
{{- end -}}
{{- end -}}
{{- define "mlflow.configChecksum" -}}
{{- include "mlflow.config" . | sha256sum -}}
{{- end -}}

{{/* The database. */}}
{{- define "mlflow.database.host" -}}
{{- ternary (include "mlflow.postgresql.name" .) .Values.externalDatabase.host .Values.postgresql.enabled -}}
{{- end -}}
{{- define "mlflow.database.port" -}}
{{- ternary 5432 (int .Values.externalDatabase.port) .Values.postgresql.enabled -}}
{{- end -}}
{{- define "mlflow.database.user" -}}
{{- ternary "mlflow" .Values.externalDatabase.username .Values.postgresql.enabled -}}
{{- end -}}
{{- define "mlflow.database.tracking" -}}
{{- ternary "mlflow" .Values.externalDatabase.database .Values.postgresql.enabled -}}
{{- end -}}
{{- define "mlflow.database.auth" -}}
{{- ternary "mlflow_auth" .Values.externalDatabase.authDatabase .Values.postgresql.enabled -}}
{{- end -}}
{{- define "mlflow.database.names" -}}
{{ include "mlflow.database.tracking" . }}{{ if .Values.auth.enabled }} {{ include "mlflow.database.auth" . }}{{ end }}
{{- end -}}
{{- define "mlflow.database.uri" -}} {{- /* (list $ name): user, password and TLS are in the environment; without a driver, SQLAlchemy 2.1 takes another one */ -}}
{{- $ := index . 0 -}}
postgresql+psycopg2://{{ include "mlflow.database.host" $ }}:{{ include "mlflow.database.port" $ }}/{{ index . 1 }}
{{- end -}}
{{- define "mlflow.database.env" -}}
- {name: PGHOST, value: {{ include "mlflow.database.host" . | quote }}}
- {name: PGPORT, value: {{ include "mlflow.database.port" . | quote }}}
- {name: PGUSER, value: {{ include "mlflow.database.user" . | quote }}}
- {name: PGCONNECT_TIMEOUT, value: "10"}
- name: PGPASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ include "mlflow.database.secret" . }}
      key: {{ ternary "password" .Values.externalDatabase.passwordKey .Values.postgresql.enabled }}
{{- if not .Values.postgresql.enabled }}
- {name: PGSSLMODE, value: {{ .Values.externalDatabase.sslMode }}}
{{- if .Values.externalDatabase.caSecret }}
- {name: PGSSLROOTCERT, value: /etc/mlflow-ca/ca.crt}
{{- end }}
{{- end }}
{{- end -}}
{{- define "mlflow.database.schemas" -}}
- {name: TRACKING_DATABASE, value: {{ include "mlflow.database.tracking" . | quote }}}
{{- if .Values.auth.enabled }}
- {name: AUTH_DATABASE, value: {{ include "mlflow.database.auth" . | quote }}}
{{- end }}
{{- end -}}

{{/* The environment of MLflow itself. */}}
{{- define "mlflow.env" -}}
{{ include "mlflow.database.env" . }}
- {name: HOME, value: /work}
- {name: MPLCONFIGDIR, value: /tmp/mpl}
- {name: PYTHONUNBUFFERED, value: "1"}
- {name: MLFLOW_DISABLE_TELEMETRY, value: "true"}
- {name: DO_NOT_TRACK, value: "true"}
{{- end -}}
{{- define "mlflow.auth.env" -}}
{{- if .Values.auth.enabled -}}
- {name: MLFLOW_AUTH_CONFIG_PATH, value: /etc/mlflow/basic_auth.ini}
- name: MLFLOW_AUTH_ADMIN_USERNAME
  valueFrom: {secretKeyRef: {name: {{ include "mlflow.auth.secret" . }}, key: username}}
- name: MLFLOW_AUTH_ADMIN_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ include "mlflow.auth.secret" . }}, key: password}}
- name: MLFLOW_FLASK_SERVER_SECRET_KEY
  valueFrom: {secretKeyRef: {name: {{ include "mlflow.auth.secret" . }}, key: flask-secret-key}}
{{- end -}}
{{- end -}}
{{- define "mlflow.client.env" -}}
- {name: MLFLOW_TRACKING_URI, value: "http://{{ include "mlflow.fullname" . }}:5000"}
{{- if .Values.auth.enabled }}
- name: MLFLOW_TRACKING_USERNAME
  valueFrom: {secretKeyRef: {name: {{ include "mlflow.auth.secret" . }}, key: username}}
- name: MLFLOW_TRACKING_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ include "mlflow.auth.secret" . }}, key: password}}
{{- end }}
{{- end -}}

{{/* Volumes that a read-only root file system needs, the configuration, and the database's authority. */}}
{{- define "mlflow.mounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: work, mountPath: /work}
- {name: config, mountPath: /etc/mlflow, readOnly: true}
{{- include "mlflow.ca.mount" . }}
{{- end -}}
{{- define "mlflow.volumes" -}} {{- /* (list $ size of /tmp) */ -}}
{{- $ := index . 0 -}}
- name: tmp
  emptyDir: {sizeLimit: {{ index . 1 }}}
- name: work
  emptyDir: {sizeLimit: 256Mi}
- name: config
  configMap: {name: {{ include "mlflow.config.name" $ }}}
{{- include "mlflow.ca.volume" $ }}
{{- end -}}
{{- define "mlflow.ca.mount" -}}
{{- if and (not .Values.postgresql.enabled) .Values.externalDatabase.caSecret }}
- {name: database-ca, mountPath: /etc/mlflow-ca, readOnly: true}
{{- end }}
{{- end -}}
{{- define "mlflow.ca.volume" -}}
{{- if and (not .Values.postgresql.enabled) .Values.externalDatabase.caSecret }}
- name: database-ca
  secret: {secretName: {{ .Values.externalDatabase.caSecret }}}
{{- end }}
{{- end -}}

{{/* Artifacts. */}}
{{- define "mlflow.artifacts.onVolume" -}}
{{- if eq .Values.artifacts.storage "volume" }}yes{{ end -}}
{{- end -}}
{{- define "mlflow.artifacts.claimed" -}} {{- /* on a volume that outlives the pod */ -}}
{{- if and (include "mlflow.artifacts.onVolume" .) (or .Values.artifacts.volume.enabled .Values.artifacts.volume.existingClaim) }}yes{{ end -}}
{{- end -}}
{{- define "mlflow.artifacts.exclusive" -}} {{- /* one node at a time may use them */ -}}
{{- if and (include "mlflow.artifacts.onVolume" .) (ne .Values.artifacts.volume.accessMode "ReadWriteMany") }}yes{{ end -}}
{{- end -}}
{{- define "mlflow.artifacts.volume" -}}
- name: artifacts
{{- if include "mlflow.artifacts.claimed" . }}
  persistentVolumeClaim: {claimName: {{ include "mlflow.artifacts.claim" . }}}
{{- else }}
  emptyDir: {}
{{- end }}
{{- end -}}
{{- define "mlflow.artifacts.destination" -}}
{{- if include "mlflow.artifacts.onVolume" . -}}
/artifacts
{{- else -}}
s3://{{ .Values.artifacts.s3.bucket }}{{ with trimAll "/" .Values.artifacts.s3.prefix }}/{{ . }}{{ end }}
{{- end -}}
{{- end -}}

{{/* Names that the server answers to. */}}
{{- define "mlflow.hosts" -}}
{{- $name := include "mlflow.fullname" . -}}
{{- $space := printf "%s.%s" $name .Release.Namespace -}}
{{- $names := list $name $space (printf "%s.svc" $space) (printf "%s.svc.%s" $space .Values.clusterDomain) -}}
{{- $hosts := list -}}
{{- range $names }}{{ $hosts = concat $hosts (list . (printf "%s:5000" .)) }}{{ end -}}
{{- $hosts = concat $hosts (list "localhost" "localhost:*" "127.0.0.1" "127.0.0.1:*") -}}
{{- if .Values.ingress.enabled }}{{ $hosts = append $hosts .Values.ingress.host }}{{ end -}}
{{- if .Values.gateway.enabled }}{{ $hosts = append $hosts .Values.gateway.host }}{{ end -}}
{{- if .Values.metrics.enabled }}{{ $hosts = append $hosts "$(POD_IP):5000" }}{{ end -}}
{{- concat $hosts .Values.server.allowedHosts | uniq | join "," -}}
{{- end -}}
{{- define "mlflow.origins" -}} {{- /* pages of the server itself, as a browser names them */ -}}
{{- $origins := list -}}
{{- if .Values.ingress.enabled -}}
{{- $origins = append $origins (printf "%s://%s" (ternary "https" "http" (ne .Values.ingress.tlsSecret "")) .Values.ingress.host) -}}
{{- end -}}
{{- if .Values.gateway.enabled -}}
{{- $origins = append $origins (printf "%s://%s" (ternary "https" "http" .Values.gateway.tls) .Values.gateway.host) -}}
{{- end -}}
{{- concat $origins .Values.server.corsAllowedOrigins | uniq | join "," -}}
{{- end -}}

{{/* Settings that do not go together. */}}
{{- define "mlflow.check" -}}
{{- if and .Values.postgresql.enabled .Values.externalDatabase.host -}}
{{- fail "mlflow: externalDatabase.host is set while postgresql.enabled is true: set postgresql.enabled=false to use it" -}}
{{- end -}}
{{- if not .Values.postgresql.enabled -}}
{{- if not .Values.externalDatabase.host -}}
{{- fail "mlflow: postgresql.enabled is false and externalDatabase.host is empty: give the host of your PostgreSQL" -}}
{{- end -}}
{{- if not .Values.externalDatabase.existingSecret -}}
{{- fail "mlflow: externalDatabase.existingSecret is empty: give the secret that has the password of the database's user" -}}
{{- end -}}
{{- if eq .Values.externalDatabase.database .Values.externalDatabase.authDatabase -}}
{{- fail "mlflow: externalDatabase.database and authDatabase are the same: users need a database of their own" -}}
{{- end -}}
{{- end -}}
{{- if and (eq .Values.artifacts.storage "s3") (not .Values.artifacts.s3.bucket) -}}
{{- fail "mlflow: artifacts.storage is s3 and artifacts.s3.bucket is empty: give the bucket" -}}
{{- end -}}
{{- if and (gt (int .Values.server.replicas) 1) (include "mlflow.artifacts.exclusive" .) -}}
{{- fail "mlflow: server.replicas above 1 needs artifacts that all pods reach: artifacts.storage=s3, or artifacts.volume.accessMode=ReadWriteMany" -}}
{{- end -}}
{{- if and .Values.metrics.serviceMonitor.enabled (not .Values.metrics.enabled) -}}
{{- fail "mlflow: metrics.serviceMonitor.enabled is true while metrics.enabled is false: there is nothing to read; set metrics.enabled=true" -}}
{{- end -}}
{{- if and .Values.gateway.enabled (not .Values.gateway.parentRefs) -}}
{{- fail "mlflow: gateway.enabled is true and gateway.parentRefs is empty: name the gateway to attach to" -}}
{{- end -}}
{{- if and .Values.restore.from (not .Values.backup.enabled) -}}
{{- fail "mlflow: restore.from is set while backup.enabled is false: backups are on its volume; set backup.enabled=true" -}}
{{- end -}}
{{- end -}}
