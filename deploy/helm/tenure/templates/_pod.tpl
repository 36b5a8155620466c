{{/* Secrets that only some pods mount. */}}
{{- define "tenure.holders" -}}
TENURE_OWNER_DATABASE_URL: [backup, migrate]
TENURE_OIDC_CLIENT_SECRET: [api]
TENURE_MLFLOW_TOKEN: [control, train]
TENURE_OPENLINEAGE_TOKEN: [control, train]
{{- end -}}

{{/* The signing purposes of each pod. */}}
{{- define "tenure.purposes" -}}
api: [replicas, certificates]
control: [artifacts, heads]
train: [artifacts]
backup: [artifacts]
migrate: []
{{- end -}}

{{/*
The specification of a pod. Takes `root`, `kind` (api, control, train, backup, migrate), `values` of that kind, `args`, and the strings `env` and
`container` with settings specific to that kind.
*/}}
{{- define "tenure.pod" -}}
{{- $root := .root -}}
{{- $kind := .kind -}}
{{- $values := .root.Values -}}
{{- $holders := include "tenure.holders" . | fromYaml -}}
{{- $purposes := index (include "tenure.purposes" . | fromYaml) $kind -}}
{{- $settings := merge (deepCopy .values.settings) $values.settings -}}
{{- $claim := $values.artifacts.existingClaim -}}
{{- if not (or $claim (get $values.settings "TENURE_OBJECT_STORE")) -}}
{{- fail "Pods share no artifacts: set settings.TENURE_OBJECT_STORE, or artifacts.existingClaim to a claim with ReadWriteMany." -}}
{{- end -}}
{{- $shared := ternary "/mnt/tenure" "/var/lib/tenure" (ne $claim "") -}}
{{- $image := default $values.image .values.image -}}
{{- $secrets := dict -}}
{{- range $name, $secret := $values.secrets -}}
{{- if has $kind (default (list $kind) (get $holders $name)) -}}
{{- $_ := set $secrets $name $secret -}}
{{- end -}}
{{- end -}}
{{- $folders := dict -}}
{{- range $name, $folder := $values.folders -}}
{{- if has $kind (default (list $kind) $folder.pods) -}}
{{- $_ := set $folders $name $folder.secret -}}
{{- end -}}
{{- end -}}
# Only replicas use the Kubernetes API, for gateways. The environment variables of Services would be read as settings.
automountServiceAccountToken: {{ and (eq $kind "api") $values.api.kubernetesToken }}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: { type: RuntimeDefault }
{{- with $values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: {{ $kind }}
    image: {{ include "tenure.image" (list $image $root) | quote }}
    imagePullPolicy: {{ $image.pullPolicy }}
    # The entry point of the image is Node.
    args: {{- toYaml .args | nindent 6 }}
    env:
      - { name: TENURE_STATE, value: /var/lib/tenure/state }
      - { name: TENURE_ARTIFACTS, value: {{ $shared }}/artifacts }
      - { name: TENURE_BATCHES, value: {{ $shared }}/batches }
      - { name: TENURE_KEYS, value: /etc/tenure/keys }
      - { name: TENURE_TRUST, value: /etc/tenure/trust }
      - { name: TENURE_SUBJECT_KEY, value: /etc/tenure/subjects/subjects.key }
      {{- range $name, $secret := $secrets }}
      {{- if eq $name "OTEL_EXPORTER_OTLP_HEADERS" }}
      - name: {{ $name }}
        valueFrom: { secretKeyRef: { name: {{ $secret.name }}, key: {{ $secret.key }} } }
      {{- else }}
      - { name: {{ $name }}_FILE, value: /etc/tenure/secrets/{{ $name }} }
      {{- end }}
      {{- end }}
      {{- with .env }}{{ . | nindent 6 }}{{ end }}
      {{- range $name, $value := $settings }}
      {{- if $value }}
      - { name: {{ $name }}, value: {{ $value | quote }} }
      {{- end }}
      {{- end }}
    {{- with .container }}{{ . | nindent 4 }}{{ end }}
    resources: {{- toYaml .values.resources | nindent 6 }}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: { drop: [ALL] }
    volumeMounts:
      - { name: state, mountPath: /var/lib/tenure }
      - { name: tmp, mountPath: /tmp }
      - { name: secrets, mountPath: /etc/tenure/secrets, readOnly: true }
      {{- if $purposes }}
      - { name: keys, mountPath: /etc/tenure/keys, readOnly: true }
      - { name: trust, mountPath: /etc/tenure/trust, readOnly: true }
      - { name: subjects, mountPath: /etc/tenure/subjects, readOnly: true }
      {{- end }}
      {{- if $claim }}
      - { name: artifacts, mountPath: /mnt/tenure }
      {{- end }}
      {{- range $name, $_ := $folders }}
      - { name: folder-{{ $name }}, mountPath: /etc/tenure/{{ $name }}, readOnly: true }
      {{- end }}
volumes:
  - { name: state, emptyDir: {} }
  - { name: tmp, emptyDir: {} }
  - name: secrets
    projected:
      defaultMode: 0440
      sources:
        {{- range $name, $secret := omit $secrets "OTEL_EXPORTER_OTLP_HEADERS" }}
        - secret: { name: {{ $secret.name }}, items: [{ key: {{ $secret.key }}, path: {{ $name }} }] }
        {{- end }}
  {{- if $purposes }}
  - name: keys
    projected:
      defaultMode: 0440
      sources:
        {{- range $purposes }}
        - secret: { name: {{ index $values.keys . }}, items: [{ key: private.pem, path: {{ . }}/private.pem }] }
        {{- end }}
  - name: trust
    secret:
      secretName: {{ $values.keys.trust }}
      items:
        {{- range list "artifacts" "replicas" "heads" "certificates" }}
        - { key: {{ . }}.json, path: {{ . }}/trusted.json }
        {{- end }}
  - name: subjects
    secret: { secretName: {{ $values.keys.subjects }}, defaultMode: 0440 }
  {{- end }}
  {{- if $claim }}
  - { name: artifacts, persistentVolumeClaim: { claimName: {{ $claim }} } }
  {{- end }}
  {{- range $name, $secret := $folders }}
  - { name: folder-{{ $name }}, secret: { secretName: {{ $secret }}, defaultMode: 0440 } }
  {{- end }}
{{- with .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The metadata of a pod. */}}
{{- define "tenure.podMetadata" -}}
labels:
  {{- include "tenure.labels" .root | nindent 2 }}
  app.kubernetes.io/component: {{ .kind }}
{{- with .values.podAnnotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
