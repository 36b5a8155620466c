/** Tests what a gateway is set to, what keeps it from following, and that its counters give the judges what a replica's would. */
import { describe, expect, it } from 'vitest'
import { createClock } from '../../../api/serving/clock.ts'
import { createCounterRegistry } from '../../../api/serving/counters/arm-counters.ts'
import { judgeCanary } from '../../../domain/canary/incremental-judge.ts'
import { defaultCanaryPolicy } from '../../../domain/canary/policy.ts'
import { dayPolicy, type ReleasePolicy } from '../../../domain/release/policy.ts'
import {
  changeOf,
  isReduction,
  issuesOfTraffic,
  lagOf,
  orderOf,
  refusalOf,
  servedSince,
  unreadOf,
  variantOf,
  versionOfVariant,
  traitsOf,
  versionsIn,
  type GatewayCounters,
  type GatewayServer,
} from '../../../domain/serving/gateway.ts'
import { seededRandom } from '@tenure/sequential'

const server = (name: string, change: Partial<GatewayServer> = {}): GatewayServer => ({
  name,
  weight: 0,
  isUp: true,
  lease: 'on',
  attempts: change.requests ?? 0,
  requests: 0,
  failures: 0,
  ...change,
})
const haproxy = { gateway: 'haproxy', address: '10.0.0.5:9999', backend: 'roses' } as const
const canary = (shareBp: number) =>
  orderOf(
    traitsOf(haproxy),
    [
      { arm: 'canary', version: 'm_v1.1.0', shareBp },
      { arm: 'champion', version: 'm_v1.0.0', shareBp: 10_000 - shareBp },
    ],
    'm_v1.0.0',
  )

describe('an order', () => {
  it.each([
    [500, { 'm_v1.1.0': 5, 'm_v1.0.0': 95 }],
    [250, { 'm_v1.1.0': 1, 'm_v1.0.0': 39 }],
    [0, { 'm_v1.0.0': 100 }],
  ])('of %i basis points has whole weights with exactly this share', (shareBp, weights) => {
    expect(canary(shareBp)?.weights).toEqual(weights)
  })
  it('has none for a share that whole weights up to 256 do not have', () => {
    expect(canary(1)).toBeUndefined()
  })
  it('leases a version that is not proven, if another one is left to serve', () => {
    expect(canary(500)?.leased).toEqual(['m_v1.1.0'])
    const arms = [{ arm: 'champion', version: 'm_v1.1.0', shareBp: 10_000 }] as const
    expect(orderOf(traitsOf(haproxy), arms, 'm_v1.0.0')?.leased).toEqual([])
  })
})

describe('the servers of a gateway', () => {
  const order = canary(500)!
  const set = [server('m_v1.0.0', { weight: 95, lease: 'off' }), server('m_v1.1.0', { weight: 5 })]
  it('carry out an order', () => {
    expect([refusalOf(order, set, 'b'), changeOf(order, set), lagOf(order, set)]).toEqual([
      undefined,
      undefined,
      undefined,
    ])
  })
  it.each([
    ['a missing server', set.slice(0, 1), /has no server named m_v1\.1\.0/],
    ['a candidate without a lease', [set[0]!, { ...set[1]!, lease: 'absent' as const }], /no health check/],
  ])('refuse it for %s', (_name, servers, reason) => {
    expect(refusalOf(order, servers, 'b')).toMatch(reason)
  })
  it.each([
    ['another weight', { weight: 6 }, /weight of m_v1\.1\.0 is 6, and 5/],
    ['a server that is down', { isUp: false }, /m_v1\.1\.0 is down/],
    ['a lease that does not run', { lease: 'off' as const }, /health check of m_v1\.1\.0 is off/],
  ])('lag for %s', (_name, change, reason) => {
    expect(lagOf(order, [set[0]!, { ...set[1]!, ...change }])).toMatch(reason)
  })
  it('are those of other models too, which have no weight', () => {
    const found = versionsIn([...set, server('old', { weight: 1 })], { model: 'm', place: 'b' })
    expect(found).toEqual({ versions: set, stranger: expect.stringMatching(/server old with weight 1/) })
    expect(versionsIn([...set, server('old')], { model: 'm', place: 'b' }).stranger).toBeUndefined()
  })
  it('tell of a weight that another hand has changed, also of a version outside of the route', () => {
    expect(changeOf(order, [set[0]!, { ...set[1]!, weight: 50 }])).toMatch(/is 50, and 5 was set/)
    expect(changeOf(order, [...set, server('m_v0.9.0', { weight: 10 })])).toMatch(/is 10, and 0 was set/)
  })
  it.each([
    ['haproxy', false],
    ['http_route', true],
    ['kserve', true],
    ['sagemaker', true],
  ] as const)('of %s are not known while one is down that would have a share: %s', (gateway, isUnread) => {
    const unread = (champion: object, candidate: object, shareBp = 500) =>
      unreadOf(
        traitsOf({ gateway } as never),
        [server('m_v1.0.0', champion), server('m_v1.1.0', candidate)],
        { arms: [{ arm: 'canary', version: 'm_v1.1.0', shareBp }], proven: 'm_v1.0.0' },
      )
    const down = isUnread ? expect.stringMatching(/m_v1\.1\.0 is down, so its failures are not/) : undefined
    expect(unread({}, { weight: 5, isUp: false }, 0)).toEqual(down)
    // It gets no share back while it is down.
    expect(unread({}, { weight: 0, isUp: false })).toEqual(down)
    expect(unread({}, { weight: 0, isUp: false }, 0)).toBeUndefined()
    expect(unread({ weight: 95, isUp: false }, { weight: 5 })).toBeUndefined()
    expect(unread({ unread: 'why' }, {})).toBe('why')
  })
  it('have the names of versions, where they can have no others', () => {
    expect(['a-v1_v1.20.3', 'b_v0.0.1'].map((each) => versionOfVariant(variantOf(each)))).toEqual([
      'a-v1_v1.20.3',
      'b_v0.0.1',
    ])
    expect(versionOfVariant('api-v1')).toBe('api-v1')
  })
  it('have less by an order for one of their versions alone', () => {
    expect(isReduction(canary(0)!, order)).toBe(true)
    expect(isReduction(canary(1_000)!, order)).toBe(false)
  })
})

describe('a traffic', () => {
  const traffic = haproxy
  const policy: ReleasePolicy = { ...dayPolicy, probation: { ...dayPolicy.stages[0]!, holdbackBp: 500 } }
  it('fits the release of a canary', () => {
    expect(issuesOfTraffic(traffic, policy)).toEqual([])
    expect(issuesOfTraffic({ ...traffic, address: '[fd00::5]:9999' })).toEqual([])
  })
  const metrics = { source: 'prometheus', requests: 'r{s="$service"}', status: 'code', settleMs: 30_000 }
  const route = { gateway: 'http_route', namespace: 'default', name: 'roses', rule: 0, metrics } as const
  it('fits the release of a canary by an HTTPRoute', () => {
    expect(issuesOfTraffic(route, policy)).toEqual([])
    expect(issuesOfTraffic({ ...route, server: 'https://[fd00::5]:6443' })).toEqual([])
  })
  it.each<[string, object, RegExp]>([
    ['a server without TLS', { server: 'http://10.0.0.1' }, /server is https/],
    ['a server with a path', { server: 'https://10.0.0.1/x' }, /server is https/],
    ['a namespace with a path', { namespace: 'a/b' }, /name of a namespace/],
    ['a name with a path', { name: '../x' }, /name of an object/],
    ['a rule that is no place', { rule: -1 }, /rule is a whole number/],
    ['one counter for all versions', { metrics: { ...metrics, requests: 'r' } }, /\$service, \$revision or/],
    ...[
      'sum($service)',
      'r{s="$service"}[5m]',
      'r{s="$service"} or x',
      'rate(r{s="$service"}[1m])',
      '{s="$service"}',
    ].map((requests): [string, object, RegExp] => [
      `an expression: ${requests}`,
      { metrics: { ...metrics, requests } },
      /name of a counter with an optional \{…\}/,
    ]),
    ['no source', { metrics: { ...metrics, source: '' } }, /metrics\.source/],
    ['a status that is no label', { metrics: { ...metrics, status: 'a b' } }, /metrics\.status/],
    ['no time to settle', { metrics: { ...metrics, settleMs: 0 } }, /metrics\.settle/],
  ])('refuses %s', (_name, change, issue) => {
    expect(issuesOfTraffic({ ...route, ...change } as never).join()).toMatch(issue)
  })
  it('takes a selector with braces in the values of its labels', () => {
    const requests = 'a:b{s=~"x-[0-9]{20}-$service", t=\'}\', u=`$version`}'
    expect(issuesOfTraffic({ ...route, metrics: { ...metrics, requests } })).toEqual([])
  })
  const stage = dayPolicy.stages[0]!
  const { limits } = dayPolicy
  const promotion = limits.promotion as Exclude<typeof limits.promotion, 'off'>
  it.each<[string, object, Partial<ReleasePolicy>, RegExp]>([
    ['another gateway', { gateway: 'envoy' }, {}, /haproxy\(/],
    ['an address without a port', { address: '/run/haproxy.sock' }, {}, /address is host:port/],
    ['a backend with a command', { backend: 'b;shutdown' }, {}, /name of a backend/],
    ['a rolling release', {}, { strategy: 'rolling' }, /not rolling/],
    ['a shadow', {}, { shadow: stage }, /shadow: 'off'/],
    [
      'a shadow of the probation',
      {},
      { probation: { ...stage, holdbackBp: 100, shadowBp: 1 } },
      /probation\.shadow/,
    ],
    [
      'targeted callers',
      {},
      { targeted: { ...stage, target: { header: 'x', values: ['1'] } as never } },
      /first/,
    ],
    ['a drill', {}, { drill: {} as never }, /drill: 'off'/],
    [
      'a proof of latency',
      {},
      { limits: { ...limits, promotion: { ...promotion, metrics: ['errors', 'slow95'] } } },
      /only be \['errors'\]/,
    ],
    ['business metrics', {}, { limits: { ...limits, business: {} } }, /external metrics/],
    ['a test of accuracy', {}, { strategy: 'ab', ab: { metric: 'accuracy', alpha: 0.05 } }, /ab by errors/],
    ['a share without weights', {}, { stages: [{ ...stage, shareBp: 7 }] }, /0\.07 % cannot be set/],
  ])('refuses %s', (_name, change, changes, issue) => {
    expect(issuesOfTraffic({ ...traffic, ...change } as never, { ...policy, ...changes }).join()).toMatch(
      issue,
    )
  })
})

describe('an endpoint of SageMaker', () => {
  const traffic = { gateway: 'sagemaker', region: 'eu-west-1', endpoint: 'roses', secret: 'aws' } as const
  const watch = { ...dayPolicy.watch, exposureMs: 900_000 }
  const policy: ReleasePolicy = { ...dayPolicy, watch }
  it('fits the release of a canary whose exposure is longer than an update', () => {
    const addresses = { sagemaker: 'https://a.example', cloudwatch: 'https://b.example:8443/' }
    expect(issuesOfTraffic({ ...traffic, addresses }, policy)).toEqual([])
    expect(issuesOfTraffic(traffic, { ...policy, watch: { ...watch, exposureMs: 15_000 } })).toEqual([
      expect.stringMatching(/watch\.exposure to at least 10 minutes/),
    ])
  })
  it.each<[string, object, RegExp]>([
    ['a region', { region: 'eu-west-1.example.org/' }, /region is one of AWS/],
    ['an endpoint', { endpoint: 'roses_v1' }, /name of an endpoint/],
    ['a secret', { secret: '../aws' }, /name of a secret/],
    [
      'an address',
      { addresses: { sagemaker: 'https://a.example/path', cloudwatch: 'https://b.example' } },
      /addresses\.sagemaker/,
    ],
  ])('refuses %s that is none', (_name, change, issue) => {
    expect(issuesOfTraffic({ ...traffic, ...change }, policy).join()).toMatch(issue)
  })
  it('names the variant that a version lacks', () => {
    expect(refusalOf(canary(500)!, [], 'roses of SageMaker', variantOf)).toMatch(/no server named m-v1-1-0/)
  })
})

describe('the counters of a gateway', () => {
  it('begin anew at a later time, and count nothing at an earlier one', () => {
    const before = { sinceMs: 2, attempts: 9, requests: 9, failures: 1 }
    const at = (sinceMs: number, requests: number) =>
      servedSince(before, server('m', { sinceMs, requests, failures: 1 })).served
    expect([at(1, 90), at(2, 7), at(2, 10), at(3, 7)]).toEqual([
      { requests: 0, failures: 0 },
      { requests: 0, failures: 0 },
      { requests: 1, failures: 0 },
      { requests: 7, failures: 1 },
    ])
  })
  it('begin anew when they have fallen, and count failures that were passed again once', () => {
    const before = { attempts: 100, requests: 100, failures: 5 }
    expect(servedSince(before, server('m', { requests: 30, failures: 2 }))).toEqual({
      served: { requests: 30, failures: 2 },
      after: { attempts: 30, requests: 30, failures: 2 },
    })
    const first = servedSince(before, server('m', { requests: 110, failures: 4 }))
    expect(first).toEqual({
      served: { requests: 10, failures: 0 },
      after: { attempts: 110, requests: 110, failures: 5 },
    })
  })
  it('do not begin anew while requests wait for their repetition', () => {
    const before = { attempts: 100, requests: 100, failures: 5 }
    const waiting = servedSince(before, server('m', { attempts: 100, requests: 60, failures: 5 }))
    expect(waiting).toEqual({ served: { requests: 0, failures: 0 }, after: before })
    const { served } = servedSince(waiting.after, server('m', { attempts: 150, requests: 110, failures: 5 }))
    expect(served).toEqual({ requests: 10, failures: 0 })
  })
  it('keep the failures of requests that were counted earlier for the next requests', () => {
    const before = { attempts: 1, requests: 1, failures: 0 }
    const failed = servedSince(before, server('m', { requests: 1, failures: 1 }))
    expect(failed.served).toEqual({ requests: 0, failures: 0 })
    const next = servedSince(failed.after, server('m', { requests: 2, failures: 1 }))
    expect(next.served).toEqual({ requests: 1, failures: 1 })
  })

  it('give the verdict that a replica gives which answers the same requests', () => {
    const verdicts = new Set<string>()
    for (let seed = 1; seed <= 60; seed++) {
      const random = seededRandom(seed)
      let nowMs = 1_000_000
      const registry = createCounterRegistry(
        createClock(
          () => nowMs,
          () => nowMs,
        ),
      )
      const arm = (version: string, release: string) =>
        registry.open({
          model: 'm',
          version,
          arm: version === 'c' ? 'canary' : 'champion',
          release,
          generation: 1,
          lengthMs: 10_000,
          quiet: false,
          slow95Us: Infinity,
          slow99Us: Infinity,
          answerBins: 0,
        })
      const rates = { c: [0, 0.01, 0.2][seed % 3]!, b: 0.01 }
      const total = { c: { requests: 0, failures: 0 }, b: { requests: 0, failures: 0 } }
      const read: GatewayCounters = {}
      for (let tick = 0; tick < 40; tick++) {
        // Several looks a tick, at any moment.
        for (let look = 0; look < 3; look++)
          for (const version of ['c', 'b'] as const) {
            const requests = Math.floor(random() * (version === 'c' ? 20 : 60))
            for (let i = 0; i < requests; i++) {
              const isBad = random() < rates[version]
              total[version].requests++
              if (isBad) total[version].failures++
              registry.count(
                arm(version, 'in path'),
                1,
                `${version} ${total[version].requests}`,
                isBad ? 'errors' : undefined,
              )
            }
            const { served, after } = servedSince(read[version], server(version, total[version]))
            read[version] = after
            registry.add(arm(version, 'gateway'), served)
          }
        nowMs += 10_000
        registry.closeTick()
      }
      const judged = (release: string) => {
        const ticks = new Map<number, Record<string, { requests: number; errors: number }>>()
        for (const tick of registry.closed)
          if (tick.release === release)
            ticks.set(tick.tickMs, { ...ticks.get(tick.tickMs), [tick.version]: tick })
        const counts = ({ requests, errors }: { requests: number; errors: number }) => ({
          requests,
          errors,
          invalid: 0,
          slow95: 0,
          slow99: 0,
        })
        return judgeCanary(
          {
            ticks: [...ticks].map(([startMs, arms]) => ({
              startMs,
              shareBp: 2_500,
              canary: counts(arms['c']!),
              control: counts(arms['b']!),
            })),
            stage: {
              index: 0,
              shareBp: 2_500,
              startedMs: 0,
              elapsedMs: 400_000,
              minMs: 1_000,
              minRequests: 100,
              last: false,
            },
            staleMs: 0,
          },
          defaultCanaryPolicy,
        )
      }
      expect(judged('gateway')).toEqual(judged('in path'))
      verdicts.add(judged('gateway').kind)
    }
    expect([...verdicts].toSorted()).toEqual(expect.arrayContaining(['fail', 'pass']))
  })
})
