{{- define "scribe.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* At most 52: a StatefulSet's pods carry its name and a hash of 11 characters in a label, which may have 63. */ -}}
{{- define "scribe.fullname" -}}
{{- $name := include "scribe.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* Pods of this release, those of `helm test` too. */ -}}
{{- define "scribe.releaseSelector" -}}
app.kubernetes.io/name: {{ include "scribe.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- /* The workers alone. It cannot change: a StatefulSet's selector never may. */ -}}
{{- define "scribe.selector" -}}
{{ include "scribe.releaseSelector" . }}
app.kubernetes.io/component: worker
{{- end -}}

{{- define "scribe.version" -}}
{{- $tag := include "scribe.text" .Values.image.tag -}}
{{- regexReplaceAll "[^A-Za-z0-9._-]" ($tag | default .Chart.AppVersion) "-" | trunc 63 | trimAll "-._" -}}
{{- end -}}

{{- /* Labels of pods: none changes with the chart's version, so that an upgrade restarts only what changed. */ -}}
{{- define "scribe.podLabels" -}}
{{- $own := include (printf "scribe.%s" .labels) .root | fromYaml -}}
{{- $version := dict "app.kubernetes.io/version" (include "scribe.version" .root) -}}
{{- merge $own $version .root.Values.podLabels .root.Values.commonLabels | toYaml -}}
{{- end -}}

{{- /* The metadata of an object. Of `name`, `namespace`, `labels` and `annotations` only `root` is required. */ -}}
{{- define "scribe.metadata" -}}
{{- $root := .root -}}
{{- $own := include "scribe.releaseSelector" $root | fromYaml -}}
{{- $more := dict "app.kubernetes.io/version" (include "scribe.version" $root) "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- $_ := set $more "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
name: {{ .name | default (include "scribe.fullname" $root) | quote }}
namespace: {{ .namespace | default $root.Release.Namespace | quote }}
labels: {{- merge $own $more (.labels | default dict) $root.Values.commonLabels | toYaml | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) $root.Values.commonAnnotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "scribe.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "scribe.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "scribe.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (include "scribe.text" .Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
