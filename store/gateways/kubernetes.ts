/**
 * Moves the weights of an HTTPRoute of the Gateway API, and of the two revisions of an InferenceService of KServe, by the API of Kubernetes.
 * Each change names the generation of the object that was read, so that one of another hand meanwhile is a conflict and is not overwritten.
 */
import { join } from 'node:path'
import { z } from 'zod'
import { modelOfVersion } from '../../domain/registry/version.ts'
import {
  versionOfVariant,
  type Gateway,
  type GatewayServer,
  type HttpRouteTraffic,
  type KserveTraffic,
} from '../../domain/serving/gateway.ts'
import { outgoingFetch } from '../outgoing-fetch.ts'
import { readSecret } from '../secret-json.ts'
import { tlsIssueOf } from '../tls/certificate.ts'
import { openRequestCounts } from './request-counts.ts'

export interface KubernetesAccess {
  privateHosts: readonly string[]
  secrets: string
  metricSources: string
  /** From when counts are. Default: the clock of this machine. */
  now?: () => number
  /** The API server of the cluster in which this process runs, and the folder of its service account. */
  cluster?: { url: string; folder: string }
}

/** With the time that the server itself may take, below the time in which an order may be carried out. */
const answerMs = 4_000
/** The longest that the API server works on a change. */
const patchTimeout = '2s'
const maxBytes = 4_194_304

interface Change {
  op: 'test' | 'add'
  path: string
  value: unknown
}

interface KubernetesApi {
  /** `what` names the object in errors. */
  get<Schema extends z.ZodType>(path: string, what: string, schema: Schema): Promise<z.output<Schema>>
  patch(path: string, what: string, changes: readonly Change[]): Promise<void>
}

/**
 * A token and the certificate authority lie in the folder of the service account, or for a server that the model file names in the folder
 * `kubernetes/<host>:<port>` of the secrets: otherwise a model file could send a token to a server of its author.
 */
export function openKubernetes(server: string | undefined, access: KubernetesAccess): KubernetesApi {
  const { cluster } = access
  const place =
    server === undefined
      ? cluster && { ...cluster, named: cluster.folder, privateHosts: 'all' as const }
      : {
          url: server,
          folder: join(access.secrets, 'kubernetes', hostOf(server)),
          named: `the secret kubernetes/${hostOf(server)}`,
          privateHosts: access.privateHosts,
        }
  const call = async (path: string, what: string, changes?: readonly Change[]): Promise<unknown> => {
    if (place === undefined)
      throw new Error('this process does not run in a cluster of Kubernetes: name its server')
    const [token, ca] = await Promise.all(
      ['token', 'ca.crt'].map((name) => readSecret(join(place.folder, name), `${place.named}/${name}`)),
    )
    const answer = await outgoingFetch(`${place.url}${path}`, {
      method: changes === undefined ? 'GET' : 'PATCH',
      headers: {
        accept: 'application/json',
        authorization: `Bearer ${token}`,
        ...(changes && { 'content-type': 'application/json-patch+json' }),
      },
      body: changes && JSON.stringify(changes),
      ca,
      privateHosts: place.privateHosts,
      maxBytes,
      maxMs: answerMs,
    }).catch((error: unknown) => {
      const { code, cause } = error as { code?: unknown; cause?: { code?: unknown } }
      const told = String(cause?.code ?? code)
      throw tlsIssueOf(told) === undefined
        ? error
        : new Error(
            `the API server of Kubernetes does not fit the authority in ${place.named}/ca.crt (${told})`,
          )
    })
    if (!answer.ok) {
      await answer.discard()
      throw new Error(refusalOf(answer.status, what, changes !== undefined))
    }
    const text = (await answer.bytes()).toString('utf8')
    try {
      return JSON.parse(text)
    } catch {
      throw new Error(`${what}: the answer is not that of Kubernetes`)
    }
  }
  return {
    async get(path, what, schema) {
      const parsed = schema.safeParse(await call(path, what))
      if (parsed.success) return parsed.data
      throw new Error(`${what} has another form: ${parsed.error.issues[0]?.path.join('.')}`)
    },
    async patch(path, what, changes) {
      await call(`${path}?timeout=${patchTimeout}`, what, changes)
    },
  }
}

const hostOf = (server: string): string => new URL(server).host

/** Nothing of the answer, which may be that of another server. */
function refusalOf(status: number, what: string, isChange: boolean): string {
  switch (status) {
    case 401:
      return `the API server of Kubernetes refuses the token (401)`
    case 403:
      return `the role of the token may not ${isChange ? 'patch' : 'read'} ${what} (403)`
    case 404:
    case 410:
      return `there is no ${what} (${status})`
    case 409:
    case 422:
      return isChange
        ? `${what} was changed by another hand meanwhile, or takes no such weights (${status})`
        : `${what} cannot be read (${status})`
    default:
      return `the API server of Kubernetes answers ${status} for ${what}`
  }
}

const conditions = z
  .array(z.object({ type: z.string(), status: z.string(), observedGeneration: z.number().optional() }))
  .default([])
const backendRef = z.object({
  group: z.string().optional(),
  kind: z.string().optional(),
  name: z.string(),
  namespace: z.string().optional(),
  weight: z.number().default(1),
})
const routeSchema = z.object({
  metadata: z.object({ generation: z.number() }),
  spec: z.object({ rules: z.array(z.object({ backendRefs: z.array(backendRef).default([]) })).default([]) }),
  status: z.object({ parents: z.array(z.object({ conditions })).default([]) }).optional(),
})
type HttpRoute = z.output<typeof routeSchema>
const slicesSchema = z.object({
  items: z.array(
    z.object({
      metadata: z.object({ labels: z.record(z.string(), z.string()).default({}) }),
      endpoints: z
        .array(z.object({ conditions: z.object({ ready: z.boolean().nullish() }).optional() }))
        .nullish(),
    }),
  ),
})

/** Why the gateways of a route may not serve by its weights yet. */
function lagOfRoute({ metadata, status }: Pick<HttpRoute, 'metadata' | 'status'>): string | undefined {
  const parents = status?.parents ?? []
  if (parents.length === 0) return 'no gateway has accepted the route'
  for (const type of ['Accepted', 'ResolvedRefs'])
    for (const parent of parents) {
      const found = parent.conditions.find((each) => each.type === type)
      if ((found?.observedGeneration ?? 0) < metadata.generation)
        return `the gateway has not yet taken up generation ${metadata.generation} of the route`
      if (found?.status !== 'True') return `the gateway says that the route is not ${type}`
    }
  return undefined
}

export function openHttpRoute(traffic: HttpRouteTraffic, access: KubernetesAccess): Gateway {
  const { server, namespace, name, rule, metrics } = traffic
  const api = openKubernetes(server, access)
  const counts = openRequestCounts(metrics, access)
  const path = `/apis/gateway.networking.k8s.io/v1/namespaces/${namespace}/httproutes/${name}`
  const what = `HTTPRoute ${namespace}/${name}`
  let seen: HttpRoute | undefined
  const refsOf = (route: HttpRoute) => {
    const found = route.spec.rules[rule]
    if (found === undefined) throw new Error(`${what} has no rule ${rule}`)
    return found.backendRefs.map((ref) => {
      // The core group has no name.
      const { group = '', kind = 'Service', namespace: place = namespace } = ref
      const isOwn = group === '' && kind === 'Service' && place === namespace
      return {
        ...ref,
        version: isOwn
          ? versionOfVariant(ref.name)
          : `${kind}${group === '' ? '' : `.${group}`} ${place}/${ref.name}`,
      }
    })
  }
  const read = async (): Promise<GatewayServer[]> => {
    const route = await api.get(path, what, routeSchema)
    const refs = refsOf(route)
    const twice = refs.find(({ version }, at) => refs.findIndex((each) => each.version === version) !== at)
    if (twice !== undefined) throw new Error(`rule ${rule} of ${what} names ${twice.name} twice`)
    const selector = encodeURIComponent(
      `kubernetes.io/service-name in (${refs.map((ref) => ref.name).join()})`,
    )
    const { items } = await api.get(
      `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices?labelSelector=${selector}`,
      `endpointslices of ${namespace}`,
      slicesSchema,
    )
    const ready = new Set(
      items
        // An endpoint without the condition is ready.
        .filter(({ endpoints }) => endpoints?.some((each) => each.conditions?.ready !== false))
        .map(({ metadata }) => metadata.labels['kubernetes.io/service-name']),
    )
    const lag = lagOfRoute(route)
    seen = route
    const counted = counts.of(Object.fromEntries(refs.map(({ version, weight }) => [version, weight])), {
      words: Object.fromEntries(
        refs
          .filter(({ version }) => modelOfVersion(version) !== undefined)
          .map(({ version, name: service }) => [version, { version, service, namespace }]),
      ),
      isInForce: lag === undefined,
    })
    return refs.map(({ version, name: service, weight }) => ({
      name: version,
      weight,
      isUp: ready.has(service),
      lag,
      lease: 'absent',
      ...counted[version]!,
    }))
  }
  return {
    read,
    async set({ weights }, servers) {
      const names = new Set(servers.map((each) => each.name))
      const changes = refsOf(seen!).flatMap(({ version, weight }, at): Change[] => {
        const wanted = weights[version] ?? 0
        // Never the backend of another hand, or of another model.
        return weight === wanted || !names.has(version)
          ? []
          : [{ op: 'add', path: `/spec/rules/${rule}/backendRefs/${at}/weight`, value: wanted }]
      })
      if (changes.length > 0) await api.patch(path, what, [unchanged(seen!), ...changes])
      return read()
    },
  }
}

/** The generation rises with each change of the spec, and not with the status that gateways write. */
const unchanged = ({ metadata }: { metadata: { generation: number } }): Change => ({
  op: 'test',
  path: '/metadata/generation',
  value: metadata.generation,
})

const annotations = z.record(z.string(), z.string()).default({})
const inferenceSchema = z.object({
  metadata: z.object({ generation: z.number(), annotations }),
  spec: z.object({
    predictor: z.object({ canaryTrafficPercent: z.number().optional(), annotations }),
  }),
  status: z
    .object({
      components: z
        .object({
          predictor: z
            .object({
              latestCreatedRevision: z.string().optional(),
              latestReadyRevision: z.string().optional(),
              latestRolledoutRevision: z.string().optional(),
              previousRolledoutRevision: z.string().optional(),
              traffic: z
                .array(z.object({ revisionName: z.string().optional(), percent: z.number().optional() }))
                .default([]),
            })
            .optional(),
        })
        .optional(),
    })
    .optional(),
})
type InferenceService = z.output<typeof inferenceSchema>
const revisionSchema = z.object({
  metadata: z.object({ annotations }),
})
/** KServe passes the annotations of the service, and of its predictor, on to each revision. */
const versionAnnotation = 'tenure/version'

interface Revision {
  name: string
  weight: number
  isReady: boolean
  /** The percentage by which Knative routes. */
  served: number
}

/**
 * The two revisions between which KServe splits: the latest one gets `canaryTrafficPercent`, and the one that was last rolled out before it
 * gets the rest. Without the field, the latest one gets all.
 */
function revisionsOf({ spec, status }: Pick<InferenceService, 'spec' | 'status'>): Revision[] {
  const told = status?.components?.predictor
  const latest = told?.latestCreatedRevision ?? told?.latestReadyRevision
  if (told === undefined || latest === undefined) return []
  const { latestReadyRevision, latestRolledoutRevision, previousRolledoutRevision, traffic } = told
  const other = latestRolledoutRevision === latest ? previousRolledoutRevision : latestRolledoutRevision
  const percent = spec.predictor.canaryTrafficPercent ?? 100
  const served = (name: string) =>
    traffic.reduce((sum, each) => sum + (each.revisionName === name ? (each.percent ?? 0) : 0), 0)
  return [
    { name: latest, weight: percent, isReady: latestReadyRevision === latest, served: served(latest) },
    // It was ready when it was rolled out.
    ...(other === undefined || other === latest
      ? []
      : [{ name: other, weight: 100 - percent, isReady: true, served: served(other) }]),
  ]
}

export function openKserve(traffic: KserveTraffic, access: KubernetesAccess): Gateway {
  const { server, namespace, name, metrics } = traffic
  const api = openKubernetes(server, access)
  const counts = openRequestCounts(metrics, access)
  const path = `/apis/serving.kserve.io/v1beta1/namespaces/${namespace}/inferenceservices/${name}`
  const what = `InferenceService ${namespace}/${name}`
  /** The version of a revision, which never changes. */
  const versions = new Map<string, string>()
  const versionOfRevision = async (revision: string): Promise<string> => {
    const known = versions.get(revision)
    if (known !== undefined) return known
    const { metadata } = await api.get(
      `/apis/serving.knative.dev/v1/namespaces/${namespace}/revisions/${revision}`,
      `revision ${namespace}/${revision}`,
      revisionSchema,
    )
    const version = metadata.annotations[versionAnnotation]
    if (version === undefined)
      throw new Error(
        `the revision ${revision} has no annotation ${versionAnnotation}: add it to the predictor`,
      )
    versions.set(revision, version)
    return version
  }
  let seen: { service: InferenceService; latest?: string } | undefined
  const read = async (): Promise<GatewayServer[]> => {
    const service = await api.get(path, what, inferenceSchema)
    const revisions = await Promise.all(
      revisionsOf(service).map(async (each) => ({ ...each, version: await versionOfRevision(each.name) })),
    )
    const [latest, other] = revisions
    if (latest !== undefined && latest.version === other?.version)
      throw new Error(`both revisions of ${what} have the version ${latest.version}`)
    // KServe writes no generation of the service into the status. `canaryTrafficPercent` is that of the version in the specification.
    const { metadata, spec } = service
    const applied = spec.predictor.annotations[versionAnnotation] ?? metadata.annotations[versionAnnotation]
    if (latest !== undefined && applied !== latest.version)
      throw new Error(
        applied === undefined
          ? `${what} has no annotation ${versionAnnotation}: add it to the predictor`
          : `KServe has not made the revision of ${applied} yet`,
      )
    seen = { service, latest: latest?.version }
    const lagging = revisions.find(({ weight, served }) => weight !== served)
    const counted = counts.of(Object.fromEntries(revisions.map(({ version, weight }) => [version, weight])), {
      words: Object.fromEntries(
        revisions.map(({ version, name: revision }) => [
          version,
          { version, revision, namespace, service: name },
        ]),
      ),
      isInForce: lagging === undefined,
    })
    return revisions.map(({ version, weight, isReady }) => ({
      name: version,
      weight,
      isUp: isReady,
      lag:
        lagging &&
        `KServe routes ${lagging.served} % to the revision ${lagging.name}, and ${lagging.weight} % was set`,
      lease: 'absent',
      ...counted[version]!,
    }))
  }
  return {
    read,
    async set({ weights }, servers) {
      const { service, latest } = seen!
      const percent = weights[latest ?? ''] ?? 0
      if ((service.spec.predictor.canaryTrafficPercent ?? 100) !== percent) {
        if (!servers.some((each) => each.name === latest))
          throw new Error(`the latest revision of ${what} is ${latest}, which is another model's`)
        await api.patch(path, what, [
          unchanged(service),
          { op: 'add', path: '/spec/predictor/canaryTrafficPercent', value: percent },
        ])
      }
      return read()
    },
  }
}
