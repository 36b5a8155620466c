/**
 * Decides what a gateway that passes the traffic of a model must do. Callers ask the gateway and never this system, so a route takes effect
 * only by the weights of its servers, and their counters are the evidence.
 */
import { policyIssues, type PolicyIssues } from '../policy-issues.ts'
import { sourceNamePattern } from '../canary/external/external-policy.ts'
import type { ReleasePolicy } from '../release/policy.ts'
import { totalBp, type RouteArm } from './route.ts'

/** Each server of the backend has the name of a version. */
export interface HaproxyTraffic {
  gateway: 'haproxy'
  /** Host and port of the runtime socket. */
  address: string
  backend: string
}

/** Each variant of the endpoint has the name that `variantOf` gives a version. */
export interface SagemakerTraffic {
  gateway: 'sagemaker'
  region: string
  endpoint: string
  /** The name of the key of AWS, at the host of each address. */
  secret: string
  /** Where they are not those of AWS in its region. */
  addresses?: { sagemaker: string; cloudwatch: string }
}

/** What the adapters of Kubernetes share: where its API is, and which counters of a gateway Prometheus has. */
interface KubernetesPlace {
  /** The address of the API server: https://host:port. Default: that of the cluster in which this process runs. */
  server?: string
  namespace: string
  name: string
  metrics: {
    /** A source of the kind `promql` in the file of metric sources. */
    source: string
    /** A selector of counters of requests; `$service`, `$revision`, `$namespace` and `$version` are replaced. */
    requests: string
    /** The label with the status of the answer. A request fails when it begins with 5. */
    status: string
    /** How long after a change of weights the counters may still grow by requests of the former weights, and how old a sample may be. */
    settleMs: number
  }
}

/** Each backend of the rule is the Service of a version, with the name that `variantOf` gives it. */
export interface HttpRouteTraffic extends KubernetesPlace {
  gateway: 'http_route'
  /** The place of the rule in the route, from 0. */
  rule: number
}

/** An InferenceService whose revisions carry the version as their annotation `tenure/version`. */
export interface KserveTraffic extends KubernetesPlace {
  gateway: 'kserve'
}

/** Where the traffic of a model passes. */
export type Traffic = HaproxyTraffic | HttpRouteTraffic | KserveTraffic | SagemakerTraffic

type GatewayKind = Traffic['gateway']
type TrafficOf<K extends GatewayKind> = Extract<Traffic, { gateway: K }>

/** What is true of one kind of gateway. */
export interface GatewayTraits<T extends Traffic = Traffic> {
  /** The function of the model file. */
  word: string
  /** Names one of its kind on pages and in errors: the gateway … */
  place(traffic: T): string
  /** Weights with exactly these shares of a route; undefined where it has none. */
  weightsOf(shares: readonly number[]): number[] | undefined
  /** What its weights are, after "the weights of a gateway are". */
  weights: string
  /** Whether its health check asks a replica if the candidate may serve, so that the candidate loses its share while this system is silent. */
  hasLease: boolean
  /** Whether a server keeps its share while it is down. What the gateway answers then is in the counters of none. */
  sendsToDown: boolean
  /** The longest time after which an order may be carried out. */
  orderMs: number
  /** The shortest exposure of a candidate: longer than it takes until an order is in force. Default: any. */
  minExposureMs?: number
  /** Its name of the server of a version. Default: that of the version. */
  serverOf?(version: string): string
  /** What keeps the candidate from serving while this system is silent, for the page of a release. */
  whileSilent: string
  /** The issues of its fields. */
  check(traffic: T, issues: Pick<PolicyIssues, 'need' | 'integer'>): void
}

/** A server of a gateway, as it says of itself. */
export interface GatewayServer {
  /** The name of a version. */
  name: string
  weight: number
  /** Whether it may get requests. */
  isUp: boolean
  /** Why the gateway may still serve it by another weight. */
  lag?: string
  /** The health check that asks a replica whether the version may serve. */
  lease: 'absent' | 'on' | 'off'
  /** From when its requests are counted. Default: since the gateway started. */
  sinceMs?: number
  /** Requests that were sent to it since then, with their repetitions. */
  attempts: number
  /** Without repetitions, and those of them that failed. */
  requests: number
  failures: number
  /** Why they could not be read. */
  unread?: string
}

/** What a gateway must be set to: the weight of each version, 0 for all others, and the versions that serve under a lease only. */
export interface GatewayOrder {
  weights: Record<string, number>
  leased: string[]
}

/** The last order of a gateway. */
export interface GivenOrder extends GatewayOrder {
  /** Whether it is not known to have been carried out: it, or the one before, is in force. */
  isPending?: true
}

/** Every adapter of a gateway. */
export interface Gateway {
  /** Throws when it cannot be reached or gives no such answer. */
  read(): Promise<GatewayServer[]>
  /** Sets the weights of the servers that it has, and starts or stops their leases. Returns what it says afterwards. */
  set(order: GatewayOrder, servers: readonly GatewayServer[]): Promise<GatewayServer[]>
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b))

/** Whole weights with exactly these shares, none larger than `maxWeight`. */
const wholeWeights =
  (maxWeight: number) =>
  (shares: readonly number[]): number[] | undefined => {
    const divisor = shares.every((share) => share % 100 === 0) ? 100 : shares.reduce(gcd)
    const weights = shares.map((share) => share / divisor)
    return Math.max(...weights) <= maxWeight ? weights : undefined
  }

/** The longest time after which an order may be carried out at an API server that answers none. */
const kubernetesOrderMs = 6_000

/** The name of the Service or variant of a version, because that of neither has _ or dots: `roses-v1-2-0` of `roses_v1.2.0`. */
export const variantOf = (version: string): string => version.replace(/[_.]/g, '-')

/** The version with this name as `variantOf` gives it; another name as it is. */
export const versionOfVariant = (name: string): string =>
  name.replace(/^(.+)-v(\d+)-(\d+)-(\d+)$/, '$1_v$2.$3.$4')

/** Whether a guard runs is not known here. */
const keptUntilGuarded = (name: string) =>
  `the candidate keeps its share until \`tenure guard-gateway\` takes it, and for good where no guard runs: ${name} has no health check that asks this system`

const kinds: { [K in GatewayKind]: GatewayTraits<TrafficOf<K>> } = {
  haproxy: {
    word: 'haproxy({ … })',
    place: ({ address, backend }) => `${backend} at ${address}`,
    weightsOf: wholeWeights(256),
    weights: 'whole numbers up to 256, so use whole percentages',
    hasLease: true,
    sendsToDown: false,
    orderMs: 4_000,
    whileSilent: 'the candidate keeps its share until the health check of its server fails',
    check({ address, backend }, { need }) {
      need(
        /^([\w.-]+|\[[\da-f:]+\]):\d{1,5}$/i.test(address),
        `address is host:port, not ${JSON.stringify(address)}`,
      )
      need(
        /^[\w.:-]{1,64}$/.test(backend),
        `backend is the name of a backend, not ${JSON.stringify(backend)}`,
      )
    },
  },
  sagemaker: {
    word: 'sagemaker({ … })',
    place: ({ region, endpoint }) => `${endpoint} of SageMaker in ${region}`,
    weightsOf: wholeWeights(256),
    weights: 'whole numbers up to 256, so use whole percentages',
    hasLease: false,
    sendsToDown: true,
    orderMs: 20_000,
    minExposureMs: 600_000,
    serverOf: variantOf,
    whileSilent: keptUntilGuarded('SageMaker'),
    check({ region, endpoint, secret, addresses }, { need }) {
      need(
        /^[a-z]{2,3}(-[a-z]+)+-\d{1,2}$/.test(region),
        `region is one of AWS, such as eu-west-1, not ${JSON.stringify(region)}`,
      )
      need(
        /^[a-zA-Z\d](-*[a-zA-Z\d]){0,62}$/.test(endpoint),
        `endpoint is the name of an endpoint, not ${JSON.stringify(endpoint)}`,
      )
      need(/^\w[\w.-]{0,199}$/.test(secret), `secret is the name of a secret, not ${JSON.stringify(secret)}`)
      for (const [name, address] of Object.entries(addresses ?? {}))
        need(
          /^https?:\/\/[\w.:[\]-]+\/?$/.test(address),
          `addresses.${name} is https:// with a host, not ${JSON.stringify(address)}`,
        )
    },
  },
  http_route: {
    word: 'httpRoute({ … })',
    place: ({ namespace, name }) => `HTTPRoute ${namespace}/${name}`,
    weightsOf: wholeWeights(1_000_000),
    weights: 'whole numbers up to 1000000',
    hasLease: false,
    sendsToDown: true,
    orderMs: kubernetesOrderMs,
    serverOf: variantOf,
    whileSilent: keptUntilGuarded('an HTTPRoute'),
    check(traffic, issues) {
      checkKubernetes(traffic, issues)
      issues.integer('rule', traffic.rule, 0, 15)
    },
  },
  kserve: {
    word: 'kserve({ … })',
    place: ({ namespace, name }) => `InferenceService ${namespace}/${name}`,
    weightsOf: (shares) =>
      shares.length <= 2 && shares.every((share) => share % 100 === 0)
        ? shares.map((share) => share / 100)
        : undefined,
    weights: 'whole percentages of two revisions',
    hasLease: false,
    sendsToDown: true,
    orderMs: kubernetesOrderMs,
    whileSilent: keptUntilGuarded('KServe'),
    check: checkKubernetes,
  },
}

/** Braces and quotes within the values of labels are no ends. */
const selectorPattern = /^[a-zA-Z_:][\w:]*(\{([^{}"'`]|"([^"\\]|\\.)*"|'([^'\\]|\\.)*'|`[^`]*`)*\})?$/

function checkKubernetes(
  { server, namespace, name, metrics }: KubernetesPlace,
  { need, integer }: Pick<PolicyIssues, 'need' | 'integer'>,
): void {
  need(
    server === undefined || /^https:\/\/([\w.-]+|\[[\da-f:]+\])(:\d{1,5})?$/i.test(server),
    `server is https://host:port, not ${JSON.stringify(server)}`,
  )
  const label = /^[a-z\d]([a-z\d-]{0,61}[a-z\d])?$/
  need(label.test(namespace), `namespace is the name of a namespace, not ${JSON.stringify(namespace)}`)
  need(
    name.length <= 253 && name.split('.').every((each) => label.test(each)),
    `name is the name of an object, not ${JSON.stringify(name)}`,
  )
  need(
    sourceNamePattern.test(metrics.source),
    `metrics.source is the name of a metric source, not ${JSON.stringify(metrics.source)}`,
  )
  need(
    /\$(service|revision|version)\b/.test(metrics.requests) && metrics.requests.length <= 4_000,
    'metrics.requests names $service, $revision or $version, so that each version has counters of its own',
  )
  need(
    selectorPattern.test(metrics.requests),
    `metrics.requests is the name of a counter with an optional {…}, and no expression: ${JSON.stringify(metrics.requests)}`,
  )
  need(
    /^[a-zA-Z_]\w*$/.test(metrics.status),
    `metrics.status is the name of a label, not ${JSON.stringify(metrics.status)}`,
  )
  integer('metrics.settle', metrics.settleMs, 1_000)
}

export const traitsOf = ({ gateway }: Traffic): GatewayTraits => kinds[gateway]

/** Names the gateway on pages and in errors: the gateway … */
export const placeOf = (traffic: Traffic): string => traitsOf(traffic).place(traffic)

/** The issues of a `traffic` beside the release policy of its model; empty when it is valid. */
export function issuesOfTraffic(traffic: Traffic, policy?: ReleasePolicy): string[] {
  const { issues, need, integer } = policyIssues()
  if (!Object.hasOwn(kinds, traffic.gateway)) {
    const words = Object.values(kinds).map(({ word }) => word)
    return [`${words.join(' or ')} is required`]
  }
  const { weightsOf, weights, minExposureMs = 0, check } = traitsOf(traffic)
  check(traffic, { need, integer })
  if (policy === undefined) return issues
  const { strategy, stages, shadow, targeted, probation, hotfix, drill, ab, limits, watch } = policy
  need(
    watch.exposureMs >= minExposureMs,
    `the weights of this gateway take minutes to change: set watch.exposure to at least ${minExposureMs / 60_000} minutes`,
  )
  need(
    strategy !== 'rolling' && strategy !== 'shadow',
    `a gateway moves shares of the traffic: release by canary, ab, blueGreen or direct, not ${strategy}`,
  )
  need(shadow === undefined, "a gateway sends no copies of requests: set shadow: 'off' in the release")
  need(probation?.shadowBp === undefined, 'a gateway sends no copies of requests: leave out probation.shadow')
  need(targeted === undefined, 'a gateway knows no callers: leave out first')
  need(drill === undefined, "a drill needs the candidate of this system: set drill: 'off' in the release")
  need(
    limits.promotion === 'off' || limits.promotion.metrics.every((metric) => metric === 'errors'),
    "a gateway counts requests and failures: limits.promotion.metrics can only be ['errors']",
  )
  need(
    limits.business === undefined && (ab === undefined || ab.metric === 'errors'),
    'a gateway knows no callers and no predictions: judge by external metrics in place of business, and an ab by errors',
  )
  const shares = [...stages, ...(hotfix?.stages ?? [])].map(({ shareBp }) => shareBp)
  if (probation) shares.push(probation.holdbackBp)
  for (const share of shares)
    need(
      weightsOf([share, totalBp - share]) !== undefined,
      `${share / 100} % cannot be set: the weights of a gateway are ${weights}`,
    )
  return issues
}

/**
 * The order for the shares in force. A version that is not proven serves under a lease, if another one is left to serve without it.
 */
export function orderOf(
  { weightsOf, hasLease }: Pick<GatewayTraits, 'weightsOf' | 'hasLease'>,
  arms: readonly RouteArm[],
  proven: string,
): GatewayOrder | undefined {
  const served = arms.filter(({ shareBp }) => shareBp > 0)
  const weights = weightsOf(served.map(({ shareBp }) => shareBp))
  if (weights === undefined) return undefined
  return {
    weights: Object.fromEntries(served.map(({ version }, index) => [version, weights[index]!])),
    leased:
      !hasLease || served.length < 2
        ? []
        : served.map(({ version }) => version).filter((each) => each !== proven),
  }
}

const wantedWeight = ({ weights }: GatewayOrder, { name }: GatewayServer): number => weights[name] ?? 0

/** Why the servers cannot carry out an order, before anything is set; undefined when they can. */
export function refusalOf(
  { weights, leased }: GatewayOrder,
  servers: readonly GatewayServer[],
  place: string,
  serverOf = (version: string): string => version,
): string | undefined {
  const byName = new Map(servers.map((server) => [server.name, server]))
  const missing = Object.keys(weights).find((name) => !byName.has(name))
  if (missing !== undefined) return `the gateway ${place} has no server named ${serverOf(missing)}: add it`
  const unleased = leased.find((name) => byName.get(name)?.lease === 'absent')
  if (unleased !== undefined)
    return `the server ${unleased} has no health check that asks this system, so it would keep its share while this system is away: add check with addr and port`
  return undefined
}

/** The servers of a gateway that are versions of its model, and why it may not be the gateway of this model alone. */
export function versionsIn(
  servers: readonly GatewayServer[],
  { model, place }: { model: string; place: string },
): { versions: GatewayServer[]; stranger?: string } {
  const isVersion = ({ name }: GatewayServer) => name.startsWith(`${model}_v`)
  const other = servers.find((server) => !isVersion(server) && server.weight > 0)
  return {
    versions: servers.filter(isVersion),
    stranger:
      other &&
      `the gateway ${place} has the server ${other.name} with weight ${other.weight}, which is no version of ${model}`,
  }
}

/** Whether another hand has changed a weight since the order was set; names it. */
export function changeOf(set: GatewayOrder, servers: readonly GatewayServer[]): string | undefined {
  const changed = servers.find((server) => server.weight !== wantedWeight(set, server))
  return (
    changed &&
    `the weight of ${changed.name} is ${changed.weight}, and ${wantedWeight(set, changed)} was set: it was changed by another hand`
  )
}

/** Why an order that was set is not in force; undefined when it is. */
export function lagOf(order: GatewayOrder, servers: readonly GatewayServer[]): string | undefined {
  for (const server of servers) {
    const wanted = wantedWeight(order, server)
    if (server.weight !== wanted)
      return `the weight of ${server.name} is ${server.weight}, and ${wanted} was set`
    if (server.lag !== undefined) return server.lag
    if (wanted > 0 && !server.isUp) return `the server ${server.name} is down`
    const isLeased = order.leased.includes(server.name)
    if (wanted > 0 && server.lease !== 'absent' && (server.lease === 'on') !== isLeased)
      return `the health check of ${server.name} is ${server.lease}`
  }
  return undefined
}

/**
 * Why the requests of the servers are not known. A version that is down and would have a share still has none known after its share was
 * taken, so that it gets the share back only when it is up. The known good version is left out: the others would only lose theirs to it.
 */
export function unreadOf(
  { sendsToDown }: Pick<GatewayTraits, 'sendsToDown'>,
  servers: readonly GatewayServer[],
  { arms, proven }: { arms: readonly RouteArm[]; proven: string },
): string | undefined {
  const hasShare = ({ name, weight }: GatewayServer) =>
    weight > 0 || arms.some(({ version, shareBp }) => version === name && shareBp > 0)
  const down = servers.find((server) => server.name !== proven && !server.isUp && hasShare(server))
  return (
    servers.find(({ unread }) => unread !== undefined)?.unread ??
    (sendsToDown && down ? `the server ${down.name} is down, so its failures are not counted` : undefined)
  )
}

/** Whether an order gives no version more than what the servers have. */
export const isReduction = (order: GatewayOrder, set: GatewayOrder): boolean =>
  Object.keys(order.weights).length === 1 && Object.keys(order.weights).every((name) => name in set.weights)

/** Counters by the name of the server. */
export type GatewayCounters = Record<
  string,
  Pick<GatewayServer, 'sinceMs' | 'attempts' | 'requests' | 'failures'>
>

export const countersOf = (servers: readonly GatewayServer[]): GatewayCounters =>
  Object.fromEntries(
    servers.map(({ name, sinceMs, attempts, requests, failures }) => [
      name,
      { sinceMs, attempts, requests, failures },
    ]),
  )

/**
 * What a server has served since the counters were last read. They begin anew at a later `sinceMs`, or where there is none, when attempts
 * have fallen: the gateway was restarted. Counters of an earlier `sinceMs` are those of a slower clock, and count nothing. Requests and
 * failures may fall by those under way, and count once they are passed again. Failures of requests that were counted earlier count with the
 * next requests, because a tick has no more failures than requests.
 */
export function servedSince(
  before: GatewayCounters[string] | undefined,
  { sinceMs, attempts, requests, failures }: GatewayServer,
): { served: { requests: number; failures: number }; after: GatewayCounters[string] } {
  const laterMs = (sinceMs ?? 0) - (before?.sinceMs ?? 0)
  if (before !== undefined && laterMs < 0) return { served: { requests: 0, failures: 0 }, after: before }
  const isAnew = laterMs > 0 || (sinceMs === undefined && attempts < (before?.attempts ?? 0))
  const base = before === undefined || isAnew ? { requests: 0, failures: 0 } : before
  const served = Math.max(0, requests - base.requests)
  const failed = Math.min(served, Math.max(0, failures - base.failures))
  return {
    served: { requests: served, failures: failed },
    after: { sinceMs, attempts, requests: base.requests + served, failures: base.failures + failed },
  }
}
