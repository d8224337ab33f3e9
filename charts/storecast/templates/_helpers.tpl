{{- define "storecast.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 36 | trimSuffix "-" }}
{{- else if contains .Chart.Name .Release.Name }}
{{- .Release.Name | trunc 36 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" (.Release.Name | trunc 26 | trimSuffix "-") .Chart.Name }}
{{- end }}
{{- end }}

{{/* Labels that select pods: (dict "root" $ "component" "server"). */}}
{{- define "storecast.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "storecast.labels" -}}
{{ include "storecast.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: storecast
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{/* Label of run pods. Prefect sets app.kubernetes.io/name and version itself, so policies select runs by this one. */}}
{{- define "storecast.runLabels" -}}
storecast/runs-of: {{ include "storecast.fullname" . }}
{{- end }}

{{/* An image's full name: (dict "root" $ "image" $.Values.images.component). */}}
{{- define "storecast.image" -}}
{{- $tag := .image.tag | default .root.Chart.AppVersion -}}
{{- with .root.Values.global.imageRegistry }}{{ . | trimSuffix "/" }}/{{ end }}{{ .image.repository }}:{{ $tag }}
{{- end }}

{{- define "storecast.imagePullSecrets" -}}
{{- with .Values.global.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* What every pod gets: (dict "root" $ "user" 10001 "serviceAccount" NAME); "token" and "noPriority" if wanted. */}}
{{- define "storecast.pod" -}}
serviceAccountName: {{ .serviceAccount }}
automountServiceAccountToken: {{ .token | default false }}
enableServiceLinks: false
{{- if not .noPriority }}
{{- with include "storecast.priorityClass" (dict "root" .root "class" "serving") }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}
{{- include "storecast.imagePullSecrets" .root }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .user }}
  runAsGroup: {{ .user }}
  fsGroup: {{ .user }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "storecast.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Resources of a container that only waits or checks. */}}
{{- define "storecast.smallResources" -}}
resources:
  requests: {cpu: 10m, memory: 32Mi}
  limits: {memory: 256Mi}
{{- end }}

{{- define "storecast.priorityClass" -}}
{{- if .root.Values.priorityClasses.create }}
{{- printf "%s-%s" (include "storecast.fullname" .root) .class }}
{{- else }}
{{- ternary .root.Values.priorityClasses.serving .root.Values.priorityClasses.training (eq .class "serving") }}
{{- end }}
{{- end }}

{{- define "storecast.scratchVolumes" -}}
- name: tmp
  emptyDir: {}
- name: work
  emptyDir: {}
{{- end }}

{{- define "storecast.scratchMounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: work, mountPath: /work}
{{- end }}

{{/* The keys of the store: a file of a secret, where Parquet files are encrypted. A folder: what is mounted by itself would never change. */}}
{{- define "storecast.storeKeysEnv" -}}
{{- if .Values.storeKeys.existingSecret }}
- {name: STORECAST_STORE_KEY_FILE, value: /etc/storecast/store/store.keys}
{{- end }}
{{- end }}

{{- define "storecast.storeKeysMount" -}}
{{- if .Values.storeKeys.existingSecret }}
- {name: store-keys, mountPath: /etc/storecast/store, readOnly: true}
{{- end }}
{{- end }}

{{- define "storecast.storeKeysVolume" -}}
{{- with .Values.storeKeys.existingSecret }}
- name: store-keys
  secret:
    secretName: {{ . }}
    items: [{key: store.keys, path: store.keys}]
{{- end }}
{{- end }}

{{- define "storecast.scriptsVolume" -}}
- name: scripts
  configMap:
    name: {{ include "storecast.fullname" . }}-scripts
{{- end }}
{{- define "storecast.scriptsMount" -}}
- {name: scripts, mountPath: /etc/storecast/scripts, readOnly: true}
{{- end }}

{{/* A Job's name that changes with its spec, because a Job's spec cannot: (dict "root" $ "name" "register" "spec" TEXT). */}}
{{- define "storecast.jobName" -}}
{{- $version := regexReplaceAll "[^a-z0-9-]" (lower .root.Chart.Version) "-" | trunc 12 | trimSuffix "-" -}}
{{ printf "%s-%s-%s-%s" (include "storecast.fullname" .root | trunc 24 | trimSuffix "-") .name $version (.spec | sha256sum | trunc 8) }}
{{- end }}

{{- define "storecast.prefectApi" -}}
{{- if .Values.server.enabled -}}
http://{{ include "storecast.fullname" . }}-prefect-server:4200/api
{{- else -}}
{{ required "externalPrefect.apiUrl is empty, but server.enabled is false: give the API's address, such as https://prefect.example.com/api" .Values.externalPrefect.apiUrl | trimSuffix "/" }}
{{- end }}
{{- end }}

{{- define "storecast.mlflowUrl" -}}
{{- if .Values.mlflow.enabled -}}
http://{{ include "mlflow.fullname" .Subcharts.mlflow }}:5000
{{- else -}}
{{ required "externalMlflow.url is empty, but mlflow.enabled is false: give MLflow's address, such as http://mlflow.mlops:5000" .Values.externalMlflow.url | trimSuffix "/" }}
{{- end }}
{{- end }}

{{- define "storecast.s3Endpoint" -}}
{{- if .Values.s3.enabled -}}
http://{{ include "storecast.fullname" . }}-s3:7070
{{- else -}}
{{ .Values.externalS3.endpoint | trimSuffix "/" }}
{{- end }}
{{- end }}

{{/* An Ingress or HTTPRoute publishes what it has a host for: (dict "root" $ "kind" "ingress"). */}}
{{- define "storecast.needHost" -}}
{{- $hosts := (get .root.Values .kind).hosts }}
{{- if not (or $hosts.prefect $hosts.serving $hosts.dashboard) }}
{{- fail (printf "%s.hosts has none of prefect, serving and dashboard, but %s.enabled is true: give the host name of what to publish" .kind .kind) }}
{{- end }}
{{- end }}

{{/* Prefect's API as a browser reaches it. */}}
{{- define "storecast.uiApiUrl" -}}
{{- if .Values.server.uiApiUrl }}{{ .Values.server.uiApiUrl }}
{{- else if and .Values.ingress.enabled .Values.ingress.hosts.prefect }}https://{{ .Values.ingress.hosts.prefect }}/api
{{- else if and .Values.httpRoute.enabled .Values.httpRoute.hosts.prefect }}https://{{ .Values.httpRoute.hosts.prefect }}/api
{{- else }}http://localhost:4200/api
{{- end }}
{{- end }}

{{/* Port of a URL, by its scheme where it names none. */}}
{{- define "storecast.urlPort" -}}
{{- $url := urlParse . -}}
{{- if contains ":" $url.host }}{{ regexFind "[0-9]+$" $url.host }}{{ else if eq $url.scheme "http" }}80{{ else }}443{{ end }}
{{- end }}
