{{- /* A value as the service reads it. YAML's numbers are floats here: 536870912 must not become 5.36870912e+08. */ -}}
{{- define "scribe.text" -}}
{{- if kindIs "slice" . -}}
{{- join "," . -}}
{{- else if kindIs "float64" . -}}
{{- if eq (floor .) . }}{{ printf "%.0f" . }}{{ else }}{{ toString . }}{{ end -}}
{{- else -}}
{{- toString . -}}
{{- end -}}
{{- end -}}

{{- /* A number of `settings`, or the service's default, which is given. */ -}}
{{- define "scribe.number" -}}
{{- if hasKey .root.Values.settings .name -}}
{{- include "scribe.text" (get .root.Values.settings .name) -}}
{{- else -}}
{{- .default -}}
{{- end -}}
{{- end -}}

{{- /* The port of an http or https URL. */ -}}
{{- define "scribe.portOf" -}}
{{- regexFind ":[0-9]+$" (urlParse .).host | trimPrefix ":" | default (ternary "80" "443" (hasPrefix "http:" .)) -}}
{{- end -}}

{{- define "scribe.bootstrapServers" -}}
{{- include "scribe.text" .Values.kafka.bootstrapServers -}}
{{- end -}}

{{- define "scribe.securityProtocol" -}}
{{- if .Values.kafka.sasl.mechanism -}}
{{- ternary "SASL_SSL" "SASL_PLAINTEXT" .Values.kafka.tls.enabled -}}
{{- else -}}
{{- ternary "SSL" "PLAINTEXT" .Values.kafka.tls.enabled -}}
{{- end -}}
{{- end -}}

{{- /* Where each key of an existing Secret or ConfigMap is mounted: its path under /etc/scribe, and the setting that
names the file. `once` marks what the process reads at its start only. */ -}}
{{- define "scribe.files" -}}
{{- $tls := .Values.kafka.tls -}}
{{- $sasl := .Values.kafka.sasl -}}
{{- $certificate := $tls.clientCertificate -}}
{{- $all := list (list "provider/api-key" .Values.provider.apiKey .Values.provider.apiKey.key "SCRIBE_PROVIDER__API_KEY_FILE") -}}
{{- $all = append $all (list "provider/ca.crt" .Values.provider.ca .Values.provider.ca.key "SCRIBE_PROVIDER__CA_FILE" "once") -}}
{{- $all = append $all (list "provider/proxy-url" .Values.provider.proxy .Values.provider.proxy.key "SCRIBE_PROVIDER__PROXY_URL_FILE" "once") -}}
{{- $all = append $all (list "kafka/ca.crt" $tls.ca $tls.ca.key "SCRIBE_KAFKA__CA_FILE") -}}
{{- $all = append $all (list "kafka/tls.crt" $certificate $certificate.certificateKey "SCRIBE_KAFKA__CERT_FILE") -}}
{{- $all = append $all (list "kafka/tls.key" $certificate $certificate.privateKeyKey "SCRIBE_KAFKA__KEY_FILE") -}}
{{- if $certificate.passwordKey -}}
{{- $all = append $all (list "kafka/key-password" $certificate $certificate.passwordKey "SCRIBE_KAFKA__KEY_PASSWORD_FILE") -}}
{{- end -}}
{{- $all = append $all (list "kafka/password" $sasl.password $sasl.password.key "SCRIBE_KAFKA__SASL_PASSWORD_FILE") -}}
{{- $all = append $all (list "kafka/client-secret" $sasl.oauth.clientSecret $sasl.oauth.clientSecret.key "SCRIBE_KAFKA__OAUTH_CLIENT_SECRET_FILE") -}}
{{- $all = append $all (list "kafka/oauth-ca.crt" $sasl.oauth.ca $sasl.oauth.ca.key "SCRIBE_KAFKA__OAUTH_CA_FILE") -}}
{{- $used := list -}}
{{- range $all -}}
{{- $from := index . 1 -}}
{{- $configMap := $from.existingConfigMap | default "" -}}
{{- if or $from.existingSecret $configMap -}}
{{- $used = append $used (dict "path" (index . 0) "secret" $from.existingSecret "configMap" $configMap "key" (index . 2) "setting" (index . 3) "once" (has "once" .)) -}}
{{- end -}}
{{- end -}}
{{- dict "files" $used | toYaml -}}
{{- end -}}

{{- /* The settings that the chart's own values make, by their names. */ -}}
{{- define "scribe.owned" -}}
SCRIBE_HTTP__PORT: port
SCRIBE_KAFKA__BOOTSTRAP_SERVERS: kafka.bootstrapServers
SCRIBE_KAFKA__AWS_REGION: kafka.sasl.awsRegion
SCRIBE_KAFKA__CA_FILE: kafka.tls.ca
SCRIBE_KAFKA__CERT_FILE: kafka.tls.clientCertificate
SCRIBE_KAFKA__GROUP_INSTANCE_ID: nothing (it is the pod's namespace and name)
SCRIBE_KAFKA__KEY_FILE: kafka.tls.clientCertificate
SCRIBE_KAFKA__KEY_PASSWORD: kafka.tls.clientCertificate
SCRIBE_KAFKA__KEY_PASSWORD_FILE: kafka.tls.clientCertificate
SCRIBE_KAFKA__OAUTH_CA_FILE: kafka.sasl.oauth.ca
SCRIBE_KAFKA__OAUTH_CLIENT_ID: kafka.sasl.oauth.clientId
SCRIBE_KAFKA__OAUTH_CLIENT_SECRET: kafka.sasl.oauth.clientSecret
SCRIBE_KAFKA__OAUTH_CLIENT_SECRET_FILE: kafka.sasl.oauth.clientSecret
SCRIBE_KAFKA__OAUTH_EXTENSIONS: kafka.sasl.oauth.extensions
SCRIBE_KAFKA__OAUTH_SCOPE: kafka.sasl.oauth.scope
SCRIBE_KAFKA__OAUTH_TOKEN_FILE: kafka.sasl.oauth.serviceAccountToken
SCRIBE_KAFKA__OAUTH_TOKEN_URL: kafka.sasl.oauth.tokenUrl
SCRIBE_KAFKA__SASL_MECHANISM: kafka.sasl.mechanism
SCRIBE_KAFKA__SASL_PASSWORD: kafka.sasl.password
SCRIBE_KAFKA__SASL_PASSWORD_FILE: kafka.sasl.password
SCRIBE_KAFKA__SASL_USERNAME: kafka.sasl.username
SCRIBE_KAFKA__SECURITY_PROTOCOL: kafka.tls.enabled and kafka.sasl.mechanism
SCRIBE_PROVIDER__API_KEY: provider.apiKey
SCRIBE_PROVIDER__API_KEY_FILE: provider.apiKey
SCRIBE_PROVIDER__BASE_URL: provider.baseUrl
SCRIBE_PROVIDER__CA_FILE: provider.ca
SCRIBE_PROVIDER__PROXY_URL: provider.proxyUrl
SCRIBE_PROVIDER__PROXY_URL_FILE: provider.proxy
SCRIBE_PROVIDER__REGION: provider.region
SCRIBE_PROVIDER__WORKSPACE: provider.workspace
SCRIBE_SHUTDOWN__LEAVE_GROUP: leaveGroup
SCRIBE_SHUTDOWN__SERVICE_ACCOUNT_DIR: nothing (it is where Kubernetes mounts the token)
{{- end -}}

{{- define "scribe.environment" -}}
{{- $values := .Values -}}
{{- $env := dict -}}
{{- range $name, $value := $values.settings -}}
{{- $_ := set $env $name (include "scribe.text" $value) -}}
{{- end -}}
{{- $_ := set $env "SCRIBE_HTTP__PORT" (include "scribe.text" $values.port) -}}
{{- $_ := set $env "SCRIBE_KAFKA__BOOTSTRAP_SERVERS" (include "scribe.bootstrapServers" .) -}}
{{- $_ := set $env "SCRIBE_KAFKA__SECURITY_PROTOCOL" (include "scribe.securityProtocol" .) -}}
{{- $sasl := $values.kafka.sasl -}}
{{- $_ := set $env "SCRIBE_KAFKA__SASL_MECHANISM" $sasl.mechanism -}}
{{- $_ := set $env "SCRIBE_KAFKA__SASL_USERNAME" $sasl.username -}}
{{- $_ := set $env "SCRIBE_KAFKA__OAUTH_TOKEN_URL" $sasl.oauth.tokenUrl -}}
{{- $_ := set $env "SCRIBE_KAFKA__OAUTH_CLIENT_ID" $sasl.oauth.clientId -}}
{{- $_ := set $env "SCRIBE_KAFKA__OAUTH_SCOPE" $sasl.oauth.scope -}}
{{- $_ := set $env "SCRIBE_KAFKA__OAUTH_EXTENSIONS" $sasl.oauth.extensions -}}
{{- if $sasl.oauth.serviceAccountToken.audience -}}
{{- $_ := set $env "SCRIBE_KAFKA__OAUTH_TOKEN_FILE" "/etc/scribe/kafka/token" -}}
{{- end -}}
{{- $_ := set $env "SCRIBE_KAFKA__AWS_REGION" $sasl.awsRegion -}}
{{- $_ := set $env "SCRIBE_PROVIDER__BASE_URL" $values.provider.baseUrl -}}
{{- $_ := set $env "SCRIBE_PROVIDER__REGION" $values.provider.region -}}
{{- $_ := set $env "SCRIBE_PROVIDER__WORKSPACE" $values.provider.workspace -}}
{{- $_ := set $env "SCRIBE_PROVIDER__PROXY_URL" $values.provider.proxyUrl -}}
{{- $_ := set $env "SCRIBE_SHUTDOWN__LEAVE_GROUP" $values.leaveGroup -}}
{{- range (include "scribe.files" . | fromYaml).files -}}
{{- $_ := set $env .setting (printf "/etc/scribe/%s" .path) -}}
{{- end -}}
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      apiVersion: v1
      fieldPath: metadata.namespace
- name: POD_NAME
  valueFrom:
    fieldRef:
      apiVersion: v1
      fieldPath: metadata.name
- name: SCRIBE_KAFKA__GROUP_INSTANCE_ID
  value: $(POD_NAMESPACE).$(POD_NAME)
{{- range $name, $value := $env }}
{{- if ne $value "" }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- with $values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}
