/** Tests each limit of a window of serving, once just above and once just below. */
import { describe, expect, it } from 'vitest'
import { defaultMonitorPolicy, issuesOfMonitor } from '../../../domain/monitoring/policy.ts'
import { costOf, judgeService, type ServiceFacts } from '../../../domain/monitoring/service-level.ts'

const hour = 3_600_000
const limits = defaultMonitorPolicy.service
const healthy: ServiceFacts = {
  windowMs: hour,
  requests: 1_000,
  errors: 4,
  invalid: 6,
  champion: { requests: 1_000, bad: 10 },
  latencyUs: { p50: 900, p95: 200_000, p99: 900_000 },
  missing: { age: { share: 0.05, reference: 0.01, rows: 1_000 } },
  requestAgeMs: 1_000,
  outcomeAgeMs: 47 * hour,
  hasBatches: false,
  championMs: 100 * hour,
  resources: { rssMb: 120, cpuShare: 0.1, loopDelayMs: 3 },
  outside: {},
  predictions: 1_000,
  replicas: 1,
}
const judged = (change: Partial<ServiceFacts>) => judgeService({ ...healthy, ...change }, limits)
const told = (change: Partial<ServiceFacts>) =>
  judged(change).findings.map(({ code, severity, message }) => `${severity} ${code}: ${message}`)

describe('a window of serving', () => {
  it('within every limit resolves all alerts', () => {
    const { findings, cleared } = judged({})
    expect(findings).toEqual([])
    expect(cleared).toEqual(['errors', 'latency', 'missing', 'silent', 'outcomes', 'replicas', 'resources'])
    expect(judged({ outside: { age: { share: 0.05, rows: 200 } } }).cleared).toContain('outside')
  })

  it.each<[string, Partial<ServiceFacts>, string]>([
    [
      'failed more than once in a hundred',
      { champion: { requests: 1_000, bad: 11 } },
      'warning errors: 11 of 1,000 requests failed: 1.1 % > 1 %',
    ],
    [
      'failed more than twice in a hundred',
      { champion: { requests: 1_000, bad: 21 } },
      'critical errors: 21 of 1,000 requests failed: 2.1 % > 2 %',
    ],
    [
      'was slow',
      { latencyUs: { p50: 1, p95: 200_100, p99: 300_000 } },
      'warning latency: latency p95 200.1 ms > 200 ms',
    ],
    [
      'was asked without a value',
      { missing: { age: { share: 0.06, reference: 0.01, rows: 200 } } },
      'warning missing: missing feature values: age in 6 % (1 % in training)',
    ],
    [
      'was asked what no model file allows',
      { outside: { age: { share: 0.051, rows: 200 }, size: { share: 1, rows: 199 } } },
      'warning outside: features outside the limits of the model file: age in 5.1 % > 5 %',
    ],
    [
      'took too much memory',
      { resources: { rssMb: 512.5, cpuShare: 0.9, loopDelayMs: 250 } },
      'warning resources: a replica exceeds its limits: 512.5 MB of memory > 512 MB',
    ],
    [
      'took a core, and kept requests waiting',
      { resources: { rssMb: 512, cpuShare: 0.95, loopDelayMs: 251 } },
      'warning resources: a replica exceeds its limits: 95 % of a core > 90 %, event loop delay 251 ms > 250 ms',
    ],
    [
      'had no requests for a day',
      { requests: 0, requestAgeMs: 24 * hour },
      'warning silent: no request for 24 h',
    ],
    [
      'was never asked',
      { requests: 0, requestAgeMs: null, outcomeAgeMs: null },
      'warning silent: no request since it became champion 100 h ago',
    ],
    [
      'is told no outcomes any more',
      { outcomeAgeMs: 48 * hour },
      'critical outcomes: no outcome for 48 h while predictions continue: the quality is unknown',
    ],
    [
      'has no replica with a lease',
      { replicas: 0 },
      'critical replicas: no replica holds a lease: all replicas are down or cannot reach Postgres',
    ],
  ])('that %s is told', (_name, change, message) => expect(told(change)).toEqual([message]))

  it('does not evaluate replicas that report no resource use', () => {
    const { findings, cleared } = judged({ resources: null })
    expect(findings).toEqual([])
    expect(cleared).not.toContain('resources')
  })

  it('has the cost that its champion was measured to have, and none where it was not measured', () => {
    const cost = { processorHour: 3.6, unit: '€', perDay: 1 }
    const measured = { loadMs: 1, p50Us: 1, p99Us: 1, cpuUs: 1e7, rssBytes: 1 }
    expect(costOf({ ...healthy, measured }, cost)).toMatchObject({
      total: 10,
      perDay: 240,
      basis: 'measured',
    })
    expect(
      judgeService({ ...healthy, measured }, limits, cost).findings.map(({ message }) => message),
    ).toEqual(['1000 predictions cost 10 € as measured: 240 € a day > 1 €'])
    expect(costOf(healthy, cost)).toBeUndefined()
    expect(judgeService(healthy, limits, cost).cleared).not.toContain('cost')
  })

  it('has the cost of its predictions, which alerts above a limit', () => {
    const cost = { perPrediction: 0.01, unit: '€' }
    expect(costOf(healthy, cost)).toEqual({ total: 10, perDay: 240, unit: '€', basis: 'declared' })
    expect(judgeService(healthy, limits, { ...cost, perDay: 240 })).toMatchObject({
      findings: [],
      cleared: expect.arrayContaining(['cost']) as unknown,
    })
    const dear = judgeService(healthy, limits, { ...cost, perDay: 239 })
    expect(dear.findings.map(({ message }) => message)).toEqual([
      '1000 predictions cost 10 € as declared: 240 € a day > 239 €',
    ])
  })

  it('does not evaluate rates and latency over few requests', () => {
    const { findings, cleared } = judged({ requests: 199, champion: { requests: 199, bad: 199 } })
    expect(findings).toEqual([])
    expect(cleared).not.toContain('errors')
    expect(cleared).not.toContain('latency')
  })

  it('does not evaluate a feature of few rows, or one that was as often missing in training', () => {
    expect(judged({ missing: { age: { share: 1, reference: 0, rows: 199 } } }).cleared).not.toContain(
      'missing',
    )
    expect(told({ missing: { age: { share: 0.4, reference: 0.2, rows: 900 } } })).toEqual([])
  })

  it('is not silent for a model that was never asked and scores batches', () => {
    expect(told({ requests: 0, requestAgeMs: null, outcomeAgeMs: null, hasBatches: true })).toEqual([])
    expect(told({ requests: 0, requestAgeMs: 24 * hour, hasBatches: true })).toEqual([
      'warning silent: no request for 24 h',
    ])
  })

  it('reports no missing outcomes without earlier ones, nor without requests', () => {
    expect(told({ outcomeAgeMs: null })).toEqual([])
    expect(told({ outcomeAgeMs: 50 * hour, requestAgeMs: 50 * hour, requests: 0 })).toEqual([
      'warning silent: no request for 50 h',
    ])
  })
})

describe('a monitoring policy', () => {
  const issues = (change: object, service: object = {}) =>
    issuesOfMonitor({ ...defaultMonitorPolicy, ...change, service: { ...limits, ...service } })

  it('is valid with its defaults', () => expect(issues({})).toEqual([]))

  it.each<[string, object, object]>([
    ['everyMs is a whole number from 1, not 0', { everyMs: 0 }, {}],
    ['settleMs is a whole number from 0, not -1', { settleMs: -1 }, {}],
    ['spanMs is a multiple of countMs (3600000 ms), not 5400000 ms', { spanMs: 1.5 * hour }, {}],
    ['service.silentMs is a whole number from 1, not NaN', {}, { silentMs: NaN }],
    ['service.errorWarn is above 0 and at most 1, not 2', {}, { errorWarn: 2, errorAlarm: 1 }],
    ['service.errorAlarm is not below errorWarn', {}, { errorAlarm: 0.005 }],
    ['service.latencyP95Ms is above 0, not 0', {}, { latencyP95Ms: 0 }],
    ['service.outsideShare is above 0 and at most 1, not 0', {}, { outsideShare: 0 }],
    ['service.rssMb is above 0, not 0', {}, { rssMb: 0 }],
    ['service.cpuShare is above 0, not NaN', {}, { cpuShare: NaN }],
    ['service.loopDelayMs is above 0, not -1', {}, { loopDelayMs: -1 }],
    ['business.perPrediction is a text', { business: { name: 'saved', unit: '$', perPrediction: ' ' } }, {}],
    [
      'business.warn is a finite number, not NaN',
      { business: { name: 'saved', unit: '$', perPrediction: '1', warn: NaN } },
      {},
    ],
    [
      'business.warn must be reached before business.alarm',
      { business: { name: 'saved', unit: '$', perPrediction: '1', warn: 1, alarm: 2 } },
      {},
    ],
    ['cost.perPrediction is 0 or more, not -1', { cost: { perPrediction: -1, unit: '$' } }, {}],
    ['cost.processorHour is 0 or more, not -1', { cost: { processorHour: -1, unit: '$' } }, {}],
    ['cost.gibHour is 0 or more, not NaN', { cost: { gibHour: NaN, unit: '$' } }, {}],
    [
      'cost.perPrediction is required, or processorHour and gibHour, at which it is measured',
      { cost: { unit: '$' } },
      {},
    ],
    [
      'cost.perPrediction is declared and cannot be measured too: leave out perPrediction, or processorHour and gibHour',
      { cost: { perPrediction: 1, gibHour: 1, unit: '$' } },
      {},
    ],
    ['cost.unit is a text', { cost: { perPrediction: 1, unit: '' } }, {}],
    ['cost.perDay is above 0, not 0', { cost: { perPrediction: 1, unit: '$', perDay: 0 } }, {}],
    ['service.minRequests is a whole number from 1, not 0.5', {}, { minRequests: 0.5 }],
    [
      'cooldown.weekMs is a whole number from 1, not 0',
      { cooldown: { ...defaultMonitorPolicy.cooldown, weekMs: 0 } },
      {},
    ],
    [
      'cooldown.maxPerWeek is a whole number from 1, not 1.5',
      { cooldown: { ...defaultMonitorPolicy.cooldown, maxPerWeek: 1.5 } },
      {},
    ],
    [
      'cooldown.newRowsShare is above 0, not 0',
      { cooldown: { ...defaultMonitorPolicy.cooldown, newRowsShare: 0 } },
      {},
    ],
    [
      'quality.warn and alarm are finite numbers, at least one of them',
      { quality: { warn: NaN, alarm: 1 } },
      {},
    ],
  ])('%s', (issue, change, service) => expect(issues(change, service)).toContain(issue))
})
