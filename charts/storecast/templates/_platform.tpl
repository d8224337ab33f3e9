{{/* What the registration Job writes into Prefect: pools, and how training uses them. */}}
{{- define "storecast.platform" -}}
{{- $fullname := include "storecast.fullname" . -}}
namespace: {{ .Release.Namespace }}
workspace: {{ .Values.workspace }}
heartbeatSeconds: {{ int64 .Values.run.heartbeatSeconds }}
driverDeadlineSeconds: {{ int64 .Values.run.driverDeadlineSeconds }}
pools:
  cpu:
    {{- include "storecast.pool" (dict "root" . "pool" .Values.pools.cpu "image" .Values.images.component) | nindent 4 }}
  gpu:
    {{- include "storecast.pool" (dict "root" . "pool" .Values.pools.gpu "image" .Values.images.trainGpu) | nindent 4 }}
training:
  pendingDeadlineSeconds: {{ int64 .Values.training.pendingDeadlineSeconds }}
  gpuFallback: {{ .Values.training.gpuFallback }}
{{- if .Values.loop.dataset }}
loop:
  dataset: {{ .Values.loop.dataset | quote }}
  data: {{ required "loop.data is empty, but loop.dataset is not: give the URI of the raw files, such as s3://forecasts/raw" .Values.loop.data | quote }}
  policy: {{ .Values.loop.policy | quote }}
  cron: {{ .Values.loop.cron | quote }}
  timezone: {{ .Values.loop.timezone | quote }}
{{- end }}
{{- end }}

{{- define "storecast.pool" -}}
{{- $pool := .pool -}}
{{- $fullname := include "storecast.fullname" .root -}}
image: {{ include "storecast.image" (dict "root" .root "image" .image) }}
imagePullPolicy: {{ .image.pullPolicy }}
imagePullSecrets: {{ toJson .root.Values.global.imagePullSecrets }}
concurrency: {{ if kindIs "invalid" $pool.concurrency }}null{{ else }}{{ int64 $pool.concurrency }}{{ end }}
serviceAccount: {{ $fullname }}-run
envFrom:
  configMaps: [{{ $fullname }}-run]
  secrets: {{ include "storecast.runSecrets" .root }}
resources: {{ toJson $pool.resources }}
nodeSelector: {{ toJson $pool.nodeSelector }}
tolerations: {{ toJson $pool.tolerations }}
gpu:
  resource: {{ $pool.gpu.resource }}
  count: {{ int64 $pool.gpu.count }}
sharedMemory: {{ $pool.sharedMemory | quote }}
scratch: {{ $pool.scratch | quote }}
priorityClass: {{ include "storecast.priorityClass" (dict "root" .root "class" "training") | quote }}
storeKeys: {{ .root.Values.storeKeys.existingSecret | quote }}
ttlSecondsAfterFinished: {{ int64 $pool.ttlSecondsAfterFinished }}
activeDeadlineSeconds: {{ int64 $pool.activeDeadlineSeconds }}
podLabels: {{ merge (include "storecast.runLabels" .root | fromYaml) $pool.podLabels | toJson }}
{{- end }}
