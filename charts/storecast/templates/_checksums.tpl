{{/* Checksums that restart pods once what they read at their start is another. */}}

{{/*
What templates put into ConfigMaps and Secrets, without labels: those change with each version of the chart.
(dict "root" $ "files" (list "/scripts.yaml"))
*/}}
{{- define "storecast.contents" -}}
{{- $root := .root }}
{{- range .files }}
{{- range include (print $root.Template.BasePath .) $root | splitList "\n---\n" }}
{{- $object := fromYaml . }}
{{- list $object.data $object.stringData | toJson }}
{{- end }}
{{- end }}
{{- end }}

{{/*
Checksum of credentials: (dict "root" $ "text" TEXT). By scrypt: who reads a pod's annotations must not be able to try
passwords. It takes a while, so that each text is hashed once in a rendering.
*/}}
{{- define "storecast.secretChecksum" -}}
{{- include "storecast.generated" .root }}
{{- $generated := .root.Values.generated }}
{{- $id := printf "checksum/%s" (sha256sum .text) }}
{{- if not (hasKey $generated $id) }}
{{- $_ := derivePassword 1 "maximum" .text "storecast" .root.Release.Name | sha256sum | set $generated $id }}
{{- end }}
{{- get $generated $id }}
{{- end }}

{{- define "storecast.prefectChecksum" -}}
{{- include "storecast.secretChecksum" (dict "root" . "text" (include "storecast.prefectAuthString" .)) }}
{{- end }}

{{/* A secret of yours counts by its name: what is in it is not known here. */}}
{{- define "storecast.postgresqlChecksum" -}}
{{- $existing := include "storecast.postgresqlExistingSecret" . }}
{{- if $existing }}
{{- sha256sum $existing }}
{{- else }}
{{- include "storecast.secretChecksum" (dict "root" . "text" (include "storecast.postgresqlUrl" .)) }}
{{- end }}
{{- end }}
{{- define "storecast.s3Checksum" -}}
{{- $existing := include "storecast.s3ExistingSecret" . }}
{{- if $existing }}
{{- sha256sum $existing }}
{{- else }}
{{- $keys := printf "%s:%s" (include "storecast.s3AccessKey" .) (include "storecast.s3SecretKey" .) }}
{{- include "storecast.secretChecksum" (dict "root" . "text" $keys) }}
{{- end }}
{{- end }}
