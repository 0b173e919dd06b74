{{- define "verve.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "verve.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "verve.labels" -}}
{{ include "verve.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- /* Whether the hosts count as one. */}}
{{- define "verve.joins" -}}
{{- if or .Values.redis.url .Values.redis.secret.name }}yes{{ end }}
{{- end }}

{{- /* An address of all interfaces. "::" takes IPv4 too; a cluster without IPv6 may lack it. */}}
{{- define "verve.anywhere" -}}
{{- $dual := has .Values.service.ipFamilyPolicy (list "PreferDualStack" "RequireDualStack") }}
{{- if or $dual (has "IPv6" .Values.service.ipFamilies) }}::{{ else }}0.0.0.0{{ end }}
{{- end }}

{{- /* Seconds after which `verve serve` kills a worker that was told to end, rounded up: 10 for its
requests, 2 to stop publishing, the callbacks that are due and 2 more, 2 for Redis. */}}
{{- define "verve.killSeconds" -}}
{{- $seconds := 12 }}
{{- if ne .Values.callbacks.mode "off" }}
{{- $seconds = add $seconds .Values.callbacks.drainSeconds 2 }}
{{- end }}
{{- if include "verve.joins" . }}{{ $seconds = add $seconds 2 }}{{ end }}
{{- $seconds }}
{{- end }}

{{- /* 5 more, so that the service ends by itself. */}}
{{- define "verve.graceSeconds" -}}
{{- add .Values.drainSeconds (include "verve.killSeconds" . | int) 5 }}
{{- end }}

{{- define "verve.memoryMiB" -}}
{{- add .Values.segment.sizeMiB (mul .Values.memory.processMiB (add .Values.workers 1)) }}
{{- end }}

{{- /* The secrets that the service reads from files: the name of the setting, and its source. */}}
{{- define "verve.secrets" -}}
{{- $found := dict }}
{{- range $setting, $secret := dict "admin_token" .Values.token.secret "callback_secret" .Values.callbacks.secret "kafka_password" .Values.kafka.secret "redis_url" .Values.redis.secret }}
{{- if $secret.name }}{{ $_ := set $found $setting $secret }}{{ end }}
{{- end }}
{{- toYaml $found }}
{{- end }}

{{- /* The value of a setting as an environment variable. */}}
{{- define "verve.value" -}}
{{- if kindIs "bool" . }}{{ ternary "on" "off" . }}
{{- else if kindIs "slice" . }}{{ join "," . }}
{{- else if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . }}
{{- else }}{{ . }}{{ end }}
{{- end }}

{{- define "verve.env" -}}
{{- $env := dict }}
{{- range $name, $value := .Values.settings }}
{{- $_ := set $env (printf "VERVE_%s" (upper $name)) (include "verve.value" $value) }}
{{- end }}
{{- $anywhere := include "verve.anywhere" . }}
{{- $_ := set $env "VERVE_HOST" $anywhere }}
{{- $_ := set $env "VERVE_PORT" "8000" }}
{{- $_ := set $env "VERVE_WORKERS" (.Values.workers | toString) }}
{{- $_ := set $env "VERVE_LISTENER" .Values.listener }}
{{- $_ := set $env "VERVE_STATE_DIR" "/var/lib/verve" }}
{{- $_ := set $env "VERVE_SEGMENT" "/run/verve/segment" }}
{{- $_ := set $env "VERVE_CALLBACKS" .Values.callbacks.mode }}
{{- $_ := set $env "VERVE_CALLBACK_DRAIN" (.Values.callbacks.drainSeconds | toString) }}
{{- with .Values.callbacks.allow }}{{ $_ := set $env "VERVE_CALLBACK_ALLOW" (join "," .) }}{{ end }}
{{- with .Values.adminPort }}
{{- $_ := set $env "VERVE_ADMIN_LISTEN" (printf "%s:%d" (ternary "[::]" "0.0.0.0" (eq $anywhere "::")) (int .)) }}
{{- end }}
{{- if include "verve.joins" . }}
{{- $_ := set $env "VERVE_CLUSTER" (.Values.redis.cluster | default .Release.Name) }}
{{- end }}
{{- if not .Values.redis.secret.name }}
{{- with .Values.redis.url }}{{ $_ := set $env "VERVE_REDIS_URL" . }}{{ end }}
{{- end }}
{{- with .Values.kafka.brokers }}{{ $_ := set $env "VERVE_KAFKA_BROKERS" (join "," .) }}{{ end }}
{{- range $setting, $_secret := fromYaml (include "verve.secrets" .) }}
{{- $_ := set $env (printf "VERVE_%s_FILE" (upper $setting)) (printf "/run/secrets/verve/%s" $setting) }}
{{- end }}
{{- range $name, $value := $env }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
