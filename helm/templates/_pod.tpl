{{- /* What the workers and the pod of `helm test` share, so that the test sees what a worker sees. */ -}}
{{- define "scribe.podSpec" -}}
enableServiceLinks: false
serviceAccountName: {{ include "scribe.serviceAccount" . | quote }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.podSecurityContext }}
securityContext: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.runtimeClassName }}
runtimeClassName: {{ . | quote }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.dnsPolicy }}
dnsPolicy: {{ . | quote }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.extraInitContainers }}
initContainers: {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  # One directory, and no subPath, so that a file changes when its Secret does.
  - name: files
    projected:
      defaultMode: 0440
      sources:
        {{- range (include "scribe.files" . | fromYaml).files }}
        - {{ ternary "secret" "configMap" (ne .secret "") }}:
            name: {{ .secret | default .configMap | quote }}
            items:
              - key: {{ .key | quote }}
                path: {{ .path | quote }}
        {{- end }}
        {{- with .Values.kafka.sasl.oauth.serviceAccountToken }}
        {{- if .audience }}
        - serviceAccountToken:
            audience: {{ .audience | quote }}
            expirationSeconds: {{ .expirationSeconds }}
            path: kafka/token
        {{- end }}
        {{- end }}
  {{- with .Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "scribe.container" -}}
image: {{ include "scribe.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy | quote }}
{{- with .Values.securityContext }}
securityContext: {{- toYaml . | nindent 2 }}
{{- end }}
env: {{- include "scribe.environment" . | nindent 2 }}
{{- with .Values.extraEnvFrom }}
envFrom: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.resources }}
resources: {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  - name: files
    mountPath: /etc/scribe
    readOnly: true
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- /* One checksum of the data of all existing objects that the process reads at its start only. Empty without a
cluster, as in `helm template`. */ -}}
{{- define "scribe.checksum" -}}
{{- $root := . -}}
{{- $names := list -}}
{{- range (include "scribe.files" . | fromYaml).files -}}
{{- if .once -}}
{{- $names = append $names (ternary (list "Secret" .secret) (list "ConfigMap" .configMap) (ne .secret "")) -}}
{{- end -}}
{{- end -}}
{{- range .Values.extraEnvFrom -}}
{{- with .secretRef }}{{ $names = append $names (list "Secret" .name) }}{{ end -}}
{{- with .configMapRef }}{{ $names = append $names (list "ConfigMap" .name) }}{{ end -}}
{{- end -}}
{{- $found := list -}}
{{- range $names -}}
{{- with lookup "v1" (first .) $root.Release.Namespace (last .) -}}
{{- $found = append $found (dict "data" .data "binaryData" .binaryData) -}}
{{- end -}}
{{- end -}}
{{- if $found -}}
{{- $found | toJson | sha256sum -}}
{{- end -}}
{{- end -}}
