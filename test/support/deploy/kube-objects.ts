/** Defines the parts of Kubernetes objects that the tests of the chart read. */

export interface KubeObject {
  kind?: string
  metadata: {
    name: string
    namespace?: string
    labels?: Record<string, string>
    uid?: string
    deletionTimestamp?: string
  }
  data?: Record<string, string>
}

export interface HttpProbe {
  httpGet: { path: string; port: string; scheme: 'HTTP' | 'HTTPS' }
  periodSeconds: number
  timeoutSeconds?: number
  failureThreshold?: number
}

export interface ContainerVariable {
  name: string
  value?: string
  valueFrom?: { fieldRef?: { fieldPath: string }; secretKeyRef?: { name: string; key: string } }
}

export interface PodContainer {
  name: string
  image: string
  args: string[]
  env: ContainerVariable[]
  ports?: { name: string; containerPort: number }[]
  startupProbe?: HttpProbe
  livenessProbe?: HttpProbe
  readinessProbe?: HttpProbe
  lifecycle?: { preStop?: { sleep?: { seconds: number } } }
  volumeMounts: { name: string; mountPath: string; readOnly?: boolean }[]
  securityContext: Record<string, unknown>
  resources: { limits?: { memory?: string } }
}

interface SecretItems {
  name: string
  items?: { key: string; path: string }[]
}

export interface PodVolume {
  name: string
  emptyDir?: object
  persistentVolumeClaim?: { claimName: string }
  secret?: Omit<SecretItems, 'name'> & { secretName: string; defaultMode?: number }
  projected?: { defaultMode?: number; sources: { secret: SecretItems }[] }
}

export interface PodSpec {
  containers: [PodContainer]
  volumes: PodVolume[]
  terminationGracePeriodSeconds?: number
  automountServiceAccountToken?: boolean
}

export interface Pod extends KubeObject {
  spec: PodSpec
  status: { phase: 'Pending' | 'Running' | 'Succeeded' | 'Failed' }
}

/** A Deployment or a Job. */
export interface Workload extends KubeObject {
  spec: { replicas?: number; template: { spec: PodSpec } }
}

export const isWorkload = (object: KubeObject): object is Workload =>
  object.kind === 'Deployment' || object.kind === 'Job'
