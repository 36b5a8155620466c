/** Compiles the `traffic` of a model file: the gateway that passes its requests, where callers do not ask this system. */
import { issuesOfTraffic, type Traffic } from '../../domain/serving/gateway.ts'
import type { ReleasePolicy } from '../../domain/release/policy.ts'
import { durationsIn, type Duration } from './duration.ts'
import { fieldNames, reportUnknown } from './fields.ts'
import type { IssueCollector } from './issues.ts'

export interface HaproxyOptions {
  /** Host and port of the runtime socket (`stats socket … level admin`). A private host must be in TENURE_PRIVATE_HOSTS. */
  address: string
  /** The backend of the model. Each of its servers has the name of a version. */
  backend: string
}

interface HaproxySpec extends HaproxyOptions {
  gateway: 'haproxy'
}

export interface SagemakerOptions {
  /** The region of AWS, such as `eu-west-1`. */
  region: string
  /** The endpoint of the model. Each of its production variants has the name of a version, with hyphens: `roses-v1-2-0`. */
  endpoint: string
  /** The name of the secret with the key of AWS, never the key. */
  secret: string
  /** Other addresses than those of AWS in its region, such as those of VPC endpoints. */
  addresses?: {
    /** Where weights are read and set. */
    sagemaker: string
    /** Where the requests are counted. */
    cloudwatch: string
  }
}

interface SagemakerSpec extends SagemakerOptions {
  gateway: 'sagemaker'
}

export interface CounterOptions {
  /** The name of a source of the kind `promql` in the file of metric sources. */
  source: string
  /**
   * The name of a counter of requests, with `{…}` that selects those of a version: `$service`, `$namespace`, `$version` and for KServe `$revision` are replaced.
   * Default: the counters of Traefik 3.7 for this rule of the route, or those of Knative's queue-proxy.
   */
  requests?: string
  /** The label with the status of the answer. A request fails when it begins with 5. Default: `code`, or for KServe `response_code`. */
  status?: string
  /**
   * How long after a change of weights requests count for no version, and how old a sample may be: longer than the gateway takes to apply the change
   * and Prometheus to scrape it. Default: 90 s, because Prometheus scrapes once a minute by default.
   */
  settle?: Duration
}

export interface KubernetesOptions {
  /** The namespace of the object. */
  namespace: string
  /** The name of the object. */
  name: string
  /** Which counters Prometheus has of the gateway. */
  metrics: CounterOptions
  /** The address of the API server, as `https://10.0.0.1:6443`. Default: that of the cluster in which the replicas run. */
  server?: string
}

export interface HttpRouteOptions extends KubernetesOptions {
  /** The place of the rule in the route, from 0. Each of its `backendRefs` is the Service of a version: `roses-v1-2-0` of `roses_v1.2.0`. Default: 0. */
  rule?: number
}

interface HttpRouteSpec extends HttpRouteOptions {
  gateway: 'http_route'
}

interface KserveSpec extends KubernetesOptions {
  gateway: 'kserve'
}

export type TrafficSpec = HaproxySpec | HttpRouteSpec | KserveSpec | SagemakerSpec

/** Moves the weights of the servers of a backend of HAProxy, and counts what they answer. */
export const haproxy = (options: HaproxyOptions): TrafficSpec => ({ gateway: 'haproxy', ...options })

/** Moves the weights of the production variants of an endpoint of SageMaker, and reads their counts from CloudWatch. */
export const sagemaker = (options: SagemakerOptions): TrafficSpec => ({ gateway: 'sagemaker', ...options })

const addressFields = fieldNames<SagemakerOptions['addresses'] & {}>({ sagemaker: 0, cloudwatch: 0 })

/** Moves the weights of the Services of a rule of an HTTPRoute, and counts what they answer by Prometheus. */
export const httpRoute = (options: HttpRouteOptions): TrafficSpec => ({ gateway: 'http_route', ...options })

/** Moves the `canaryTrafficPercent` of an InferenceService, and counts what its revisions answer by Prometheus. */
export const kserve = (options: KubernetesOptions): TrafficSpec => ({ gateway: 'kserve', ...options })

const counterFields = fieldNames<CounterOptions>({ source: 0, requests: 0, status: 0, settle: 0 })
const kubernetesFields = { gateway: 0, server: 0, namespace: 0, name: 0, metrics: 0 } as const

/** A model file may be written without types. Each check refuses an empty text. */
const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')

/** Traefik 3.7 names the service of a backend by its route, its rule and a hash of both, and has only letters, digits and single hyphens before the hash. */
const traefik = (namespace: string, name: string, rule: number) => ({
  requests: `traefik_service_requests_total{service=~"httproute-${`${namespace}-${name}`.replaceAll(/[^a-z\d]+/g, '-')}-gw-.+-ep-.+-${rule}-[0-9a-f]{20}-svc-$namespace-$service-[0-9]+@kubernetesgateway"}`,
  status: 'code',
})
const queueProxy = {
  requests: 'revision_request_count{namespace_name="$namespace",revision_name="$revision"}',
  status: 'response_code',
}

function compileKubernetes(
  report: IssueCollector,
  { server, namespace, name, metrics }: KubernetesOptions,
  defaults: typeof queueProxy,
) {
  reportUnknown(report, 'traffic.metrics', metrics, counterFields)
  const { source, requests, status, settle } = metrics ?? {}
  return {
    ...(server === undefined ? {} : { server: textOf(server).replace(/\/$/, '') }),
    namespace: textOf(namespace),
    name: textOf(name),
    metrics: {
      source: textOf(source),
      requests: textOf(requests ?? defaults.requests),
      status: textOf(status ?? defaults.status),
      settleMs: durationsIn(report, 'traffic.metrics')('settle', settle, 90_000),
    },
  }
}

const kinds: {
  [K in TrafficSpec['gateway']]: {
    fields: string[]
    compile(
      spec: Extract<TrafficSpec, { gateway: K }>,
      report: IssueCollector,
    ): Extract<Traffic, { gateway: K }>
  }
} = {
  haproxy: {
    fields: fieldNames<HaproxySpec>({ gateway: 0, address: 0, backend: 0 }),
    compile: ({ gateway, address, backend }) => ({
      gateway,
      address: textOf(address),
      backend: textOf(backend),
    }),
  },
  sagemaker: {
    fields: fieldNames<SagemakerSpec>({ gateway: 0, region: 0, endpoint: 0, secret: 0, addresses: 0 }),
    compile: ({ gateway, region, endpoint, secret, addresses }) => ({
      gateway,
      region: textOf(region),
      endpoint: textOf(endpoint),
      secret: textOf(secret),
      ...(addresses && {
        addresses: {
          sagemaker: textOf(addresses.sagemaker),
          cloudwatch: textOf(addresses.cloudwatch),
        },
      }),
    }),
  },
  http_route: {
    fields: fieldNames<HttpRouteSpec>({ ...kubernetesFields, rule: 0 }),
    compile: ({ gateway, rule = 0, ...place }, report) => ({
      gateway,
      rule,
      ...compileKubernetes(report, place, traefik(textOf(place.namespace), textOf(place.name), rule)),
    }),
  },
  kserve: {
    fields: fieldNames<KserveSpec>(kubernetesFields),
    compile: ({ gateway, ...place }, report) => ({
      gateway,
      ...compileKubernetes(report, place, queueProxy),
    }),
  },
}

export function compileTraffic(report: IssueCollector, spec: TrafficSpec, policy: ReleasePolicy): Traffic {
  // A model file may be written without types.
  const kind = (Object.hasOwn(kinds, spec.gateway) ? kinds[spec.gateway] : undefined) as
    | { fields: string[]; compile(spec: TrafficSpec, report: IssueCollector): Traffic }
    | undefined
  if (kind !== undefined) reportUnknown(report, 'traffic', spec, kind.fields)
  if (spec.gateway === 'sagemaker' && spec.addresses !== undefined)
    reportUnknown(report, 'traffic.addresses', spec.addresses, addressFields)
  const traffic = kind?.compile(spec, report) ?? (spec as Traffic)
  for (const issue of issuesOfTraffic(traffic, policy)) report('traffic', issue)
  return traffic
}
