{{- define "storecast.dashboardName" -}}
{{ include "storecast.fullname" . }}-dashboard
{{- end }}

{{/* Whether the operator `admin` is made here: nobody else says who may log in. */}}
{{- define "storecast.dashboardAdmin" -}}
{{- if and .Values.dashboard.enabled (not .Values.dashboard.users.existingSecret) (not .Values.dashboard.oidc.existingSecret) }}yes{{ end }}
{{- end }}
{{- define "storecast.dashboardPassword" -}}
{{- include "storecast.credential" (dict "root" . "secret" (printf "%s-admin" (include "storecast.dashboardName" .)) "key" "password" "given" .Values.dashboard.users.password) }}
{{- end }}

{{/* Whether the dashboard's API key is made here, beside the admin's: its hash goes to the service, the key to the dashboard. */}}
{{- define "storecast.dashboardHasKey" -}}
{{- if and .Values.dashboard.enabled .Values.serving.enabled (not .Values.serving.keys.existingSecret) (not .Values.dashboard.service.existingSecret) }}yes{{ end }}
{{- end }}
{{- define "storecast.dashboardKey" -}}
{{- include "storecast.credential" (dict "root" . "secret" (include "storecast.dashboardName" .) "key" "service-key" "given" .Values.serving.keys.dashboard "prefix" "sc_dashboard_") }}
{{- end }}
