{{- define "scribe.selector" -}}
app.kubernetes.io/name: scribe
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "scribe.labels" -}}
{{ include "scribe.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}
