{{- define "scribe.drainSeconds" -}}
{{- $answer := include "scribe.number" (dict "root" . "name" "SCRIBE_SHUTDOWN__ANSWER_SECONDS" "default" 30) | float64 -}}
{{- $grace := include "scribe.number" (dict "root" . "name" "SCRIBE_SHUTDOWN__GRACE_SECONDS" "default" 25) | float64 -}}
{{- ceil (addf $answer $grace) | int -}}
{{- end -}}

{{- define "scribe.terminationGracePeriodSeconds" -}}
{{- $drain := include "scribe.drainSeconds" . | int -}}
{{- $given := .Values.terminationGracePeriodSeconds -}}
{{- if kindIs "invalid" $given -}}
{{- add $drain 15 -}}
{{- else -}}
{{- if lt (int $given) (add $drain 5 | int) -}}
{{- fail (printf "terminationGracePeriodSeconds is %d, but a stop may take %d s (SCRIBE_SHUTDOWN__ANSWER_SECONDS and SCRIBE_SHUTDOWN__GRACE_SECONDS) and 5 s to end: leave it empty, or give %d or more." (int $given) $drain (add $drain 5)) -}}
{{- end -}}
{{- int $given -}}
{{- end -}}
{{- end -}}

{{- /* Fails with a sentence where values make no sense together. What one value may be is in values.schema.json. */ -}}
{{- define "scribe.checks" -}}
{{- $values := .Values -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" (include "scribe.fullname" .)) -}}
{{- fail (printf "%s would be the name of a Service, which begins with a letter and holds small letters, digits and dashes alone: set fullnameOverride." (include "scribe.fullname" .)) -}}
{{- end -}}
{{- range $name, $value := include "scribe.owned" . | fromYaml -}}
{{- if hasKey $values.settings $name -}}
{{- fail (printf "settings.%s: the chart sets it, from %s. Take it out of settings." $name $value) -}}
{{- end -}}
{{- end -}}
{{- $hpa := $values.autoscaling.hpa -}}
{{- $keda := $values.autoscaling.keda -}}
{{- if and $hpa.enabled $keda.enabled -}}
{{- fail "autoscaling.hpa.enabled and autoscaling.keda.enabled exclude each other: KEDA makes a HorizontalPodAutoscaler of its own." -}}
{{- end -}}
{{- $most := int $values.replicas -}}
{{- $whose := "replicas" -}}
{{- range $scaler, $it := dict "hpa" $hpa "keda" $keda -}}
{{- if $it.enabled -}}
{{- if lt (int $it.maxReplicas) (int $it.minReplicas) -}}
{{- fail (printf "autoscaling.%s.maxReplicas (%d) is less than its minReplicas (%d)." $scaler (int $it.maxReplicas) (int $it.minReplicas)) -}}
{{- end -}}
{{- if lt (int $it.minReplicas) 1 -}}
{{- fail (printf "autoscaling.%s.minReplicas must be 1 or more: without a replica nobody collects results, and the provider deletes them after 24 h." $scaler) -}}
{{- end -}}
{{- $most = int $it.maxReplicas -}}
{{- $whose = printf "autoscaling.%s.maxReplicas" $scaler -}}
{{- end -}}
{{- end -}}
{{- $partitions := include "scribe.number" (dict "root" . "name" "SCRIBE_TOPICS__PARTITIONS" "default" 12) | int -}}
{{- $areKnown := or (hasKey $values.settings "SCRIBE_TOPICS__PARTITIONS") (dig "SCRIBE_TOPICS__CREATE" true $values.settings) -}}
{{- if and $areKnown (gt $most $partitions) -}}
{{- fail (printf "%s is %d, but the request topic has %d partitions: more replicas than partitions do nothing. Give fewer, or the topic's real number as settings.SCRIBE_TOPICS__PARTITIONS." $whose $most $partitions) -}}
{{- end -}}
{{- if and $values.prometheusRule.enabled (not $values.podMonitor.enabled) (not $values.prometheusRule.job) -}}
{{- fail "prometheusRule.enabled needs podMonitor.enabled, which sets the label `job` that the alerts select by; or give the label that your own monitor sets as prometheusRule.job." -}}
{{- end -}}
{{- if and $values.provider.region $values.provider.baseUrl -}}
{{- fail "provider.region and provider.baseUrl exclude each other." -}}
{{- end -}}
{{- if contains "@" $values.provider.proxyUrl -}}
{{- fail "provider.proxyUrl holds a login: put the URL into a Secret and name that as provider.proxy.existingSecret." -}}
{{- end -}}
{{- if and $values.provider.proxyUrl $values.provider.proxy.existingSecret -}}
{{- fail "provider.proxyUrl and provider.proxy exclude each other." -}}
{{- end -}}
{{- include "scribe.kafkaChecks" . -}}
{{- end -}}

{{- define "scribe.kafkaChecks" -}}
{{- $tls := .Values.kafka.tls -}}
{{- $sasl := .Values.kafka.sasl -}}
{{- if and (not $tls.enabled) (or $tls.ca.existingSecret $tls.ca.existingConfigMap $tls.clientCertificate.existingSecret) -}}
{{- fail "kafka.tls.ca or kafka.tls.clientCertificate is given, but kafka.tls.enabled is false." -}}
{{- end -}}
{{- range $name, $ca := dict "kafka.tls.ca" $tls.ca "kafka.sasl.oauth.ca" $sasl.oauth.ca "provider.ca" .Values.provider.ca -}}
{{- if and $ca.existingSecret $ca.existingConfigMap -}}
{{- fail (printf "%s takes existingSecret or existingConfigMap, not both." $name) -}}
{{- end -}}
{{- end -}}
{{- $hasPassword := or $sasl.username $sasl.password.existingSecret -}}
{{- $endpoint := or $sasl.oauth.tokenUrl $sasl.oauth.clientId $sasl.oauth.clientSecret.existingSecret -}}
{{- $token := $sasl.oauth.serviceAccountToken.audience -}}
{{- if has $sasl.mechanism (list "PLAIN" "SCRAM-SHA-256" "SCRAM-SHA-512") -}}
{{- if not (and $sasl.username $sasl.password.existingSecret) -}}
{{- fail (printf "kafka.sasl.mechanism %s needs kafka.sasl.username and kafka.sasl.password.existingSecret." $sasl.mechanism) -}}
{{- end -}}
{{- else if $hasPassword -}}
{{- fail (printf "kafka.sasl.username and kafka.sasl.password are for PLAIN and SCRAM, and kafka.sasl.mechanism is %s." ($sasl.mechanism | default "empty")) -}}
{{- end -}}
{{- if eq $sasl.mechanism "OAUTHBEARER" -}}
{{- if and $token $endpoint -}}
{{- fail "kafka.sasl.oauth takes a token endpoint or serviceAccountToken, not both." -}}
{{- end -}}
{{- if not (or $token (and $sasl.oauth.tokenUrl $sasl.oauth.clientId $sasl.oauth.clientSecret.existingSecret)) -}}
{{- fail "kafka.sasl.mechanism OAUTHBEARER needs kafka.sasl.oauth.tokenUrl, clientId and clientSecret.existingSecret; or serviceAccountToken.audience." -}}
{{- end -}}
{{- else if or $token $endpoint -}}
{{- fail (printf "kafka.sasl.oauth is for OAUTHBEARER, and kafka.sasl.mechanism is %s." ($sasl.mechanism | default "empty")) -}}
{{- end -}}
{{- if ne (eq $sasl.mechanism "AWS_MSK_IAM") (ne $sasl.awsRegion "") -}}
{{- fail "kafka.sasl.mechanism AWS_MSK_IAM and kafka.sasl.awsRegion need each other." -}}
{{- end -}}
{{- if and .Values.autoscaling.keda.enabled (or $token (eq $sasl.mechanism "AWS_MSK_IAM")) -}}
{{- fail "autoscaling.keda logs in with a password or at a token endpoint: it has no token of the pods. Write the ScaledObject yourself, in extraObjects." -}}
{{- end -}}
{{- end -}}
