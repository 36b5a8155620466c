/** Tests that the certificate of a release is valid as it was signed, and that any change of any of its fields is found and named. */
import { describe, expect, it } from 'vitest'
import { verifyCertificate } from '@tenure/certificate'
import { signStatement } from '../../../api/services/release-certificate.ts'
import { metricName } from '../../../domain/figures.ts'
import { policyWithoutNames, type CertificateFile } from '../../../domain/release/certificate.ts'
import type { CallerTarget } from '../../../domain/serving/target.ts'
import { judgedLoss, type JudgedLoss } from '../../../domain/tasks/losses.ts'
import { worldsOf } from '../../support/evaluation/worlds.ts'
import { certificateKey, digestOf, exampleCertificate } from '../../support/release/certificates.ts'

const [key, headKey, other] = [certificateKey(), certificateKey(), certificateKey()]
const keysOf = (certificates: string, heads: string) => `# certificates\n${certificates}# heads\n${heads}`
const trusted = keysOf(key.publicPem, headKey.publicPem)
const file = signStatement(key, exampleCertificate(headKey))
const verify = (changed: unknown, keys = trusted) => verifyCertificate(JSON.stringify(changed), keys).issues

const verifyFile = (changed: CertificateFile) => verify(changed)

type Leaf = { path: string[]; value: unknown }

/** Every value that is no list and no object, with its path. */
function leavesOf(value: unknown, path: string[] = []): Leaf[] {
  return typeof value === 'object' && value !== null
    ? Object.entries(value).flatMap(([name, each]) => leavesOf(each, [...path, name]))
    : [{ path, value }]
}

/** Another value of the same kind. */
const mutated = (value: unknown): unknown =>
  typeof value === 'number'
    ? value + 1
    : typeof value === 'boolean'
      ? !value
      : value === null
        ? 0
        : `${String(value).slice(0, -1)}${String(value).endsWith('A') ? 'B' : 'A'}`

/** Calls with the whole in which one leaf has another value. */
function withLeaf<T, R>(whole: T, { path, value }: Leaf, call: (changed: T) => R): R {
  const parent = path
    .slice(0, -1)
    .reduce((each, name) => each[name] as Record<string, unknown>, whole as Record<string, unknown>)
  const name = path.at(-1)!
  parent[name] = mutated(value)
  try {
    return call(whole)
  } finally {
    parent[name] = value
  }
}

/** The fields that a mutation of each leaf is refused with, for a sample of at most `most` leaves, evenly spread. */
function refusals(leaves: readonly Leaf[], most: number, refuse: (leaf: Leaf) => { field: string }[]) {
  const step = Math.max(1, leaves.length / most)
  return Array.from({ length: Math.min(most, leaves.length) }, (_, i) => leaves[Math.floor(i * step)]!).map(
    (leaf) => ({
      leaf: leaf.path.join('/'),
      fields: refuse(leaf).map(({ field }) => field),
    }),
  )
}

describe('the certificate of a release', () => {
  it('is valid with the keys of the installation, and says what it proves', () => {
    const { issues, summary } = verifyCertificate(JSON.stringify(file), trusted)
    expect(issues).toEqual([])
    expect(summary).toBe(
      'Valid: m_v1.1.0 was promoted by release rel_1; 4 verdicts follow from their counts; head 9 of the audit log is signed.',
    )
    expect(file.statement.predicate.decisions.map(({ verdict }) => verdict.kind)).toEqual(
      Array(4).fill('pass'),
    )
  })

  it('is refused with the keys of another installation, and without one', () => {
    expect(verify(file, keysOf(other.publicPem, headKey.publicPem)).map(({ field }) => field)).toEqual([
      'envelope/signatures/0/keyid',
    ])
    expect(verify(file, 'no key').map(({ field }) => field)).toEqual(['--key'])
    expect(verify(file, key.publicPem + headKey.publicPem).map(({ field }) => field)).toEqual(['--key'])
    expect(verify(file, keysOf(key.publicPem, key.publicPem)).map(({ field }) => field)).toEqual([
      'statement/predicate/auditHead/signature',
    ])
  })

  it('is refused when any of its values is changed, by the name of the field', () => {
    const leaves = leavesOf(file)
    expect(leaves.length).toBeGreaterThan(2_000)
    const found = refusals(leaves, worldsOf(1_000), (leaf) => withLeaf(file, leaf, verifyFile))
    expect(found.filter(({ leaf, fields }) => !fields.includes(leaf))).toEqual([])
  })

  it('is refused when outcomes are judged by another loss than that of its gate', () => {
    const certificate = exampleCertificate(headKey)
    const place = certificate.decisions.findIndex(({ evidence }) => evidence.observation.holdback)
    const judgedBy = (judged: JudgedLoss) => {
      certificate.decisions[place]!.evidence.observation.holdback!.judged = judged
      return verify(signStatement(key, certificate)).map(({ field }) => field)
    }
    const wanted = judgedLoss(certificate.gate.report.policy)
    expect(judgedBy(wanted)).toEqual([])
    expect(judgedBy({ ...wanted, loss: 'mae' })).toEqual([
      `statement/predicate/decisions/${place}/evidence/observation/holdback/judged/loss`,
    ])
  })

  it('is refused when a field is missing or added', () => {
    const { statement, envelope } = file
    const { decisions, ...rest } = statement.predicate
    expect(decisions).toHaveLength(4)
    expect(verify({ statement: { ...statement, predicate: rest }, envelope })).toMatchObject([
      { field: 'statement/predicate/decisions' },
    ])
    expect(verify({ statement: { ...statement, more: 1 }, envelope })).toMatchObject([
      { field: 'statement/more' },
    ])
    expect(verify({ statement, envelope: { ...envelope, signatures: [null] } })).toMatchObject([
      { field: 'envelope/signatures/0/keyid' },
    ])
    expect(verify({ statement, envelope: { ...envelope, signatures: [] } })).toMatchObject([
      { field: 'envelope/signatures' },
    ])
    for (const broken of [
      '',
      '{',
      '[]',
      'null',
      '{}',
      '{"envelope":{},"statement":{}}',
      '{"envelope":null,"statement":{}}',
    ])
      expect(verifyCertificate(broken, trusted).issues, broken).not.toEqual([])
  })
})

it('a certificate with a second member of a name is refused, because a reader may see either', () => {
  const text = JSON.stringify(file).replace('"outcome":', '"outcome":"rolled_back","outcome":')
  expect(JSON.parse(text)).toEqual(file)
  expect(verifyCertificate(text, trusted).issues).toEqual([
    { field: 'file', message: 'has two members of the same name' },
  ])
})

it.each<[CallerTarget, CallerTarget]>([
  [{ routingKeys: ['ada', 'leo'] }, { routingKeys: [] }],
  [{ header: { name: 'x-user', value: 'ada' } }, { header: { name: 'x-user', value: 'withheld' } }],
  [{ attribute: { name: 'user', value: 7 } }, { attribute: { name: 'user', value: 'withheld' } }],
])('the policy of a certificate leaves the callers %j out, and is valid without them', (target, shown) => {
  const { predicate } = file.statement
  const targeted = { target, minMs: 1, minRequests: 1, deadlineMs: 2 }
  const policy = policyWithoutNames({ ...predicate.policy, targeted }, () => 'participant-1')
  expect(policy.targeted?.target).toEqual(shown)
  // Its verdict is missing here.
  expect(verify(signStatement(key, { ...predicate, policy }))).toEqual([
    { field: 'statement/predicate/decisions', message: 'has no verdict on targeted 0 of the policy' },
  ])
})

describe('a key of one purpose', () => {
  const purposes = [
    ['certificates', key],
    ['heads', headKey],
  ] as const
  it.each(purposes)('that is stolen, of %s, makes no certificate alone', (_, stolen) => {
    const forged = signStatement(stolen, exampleCertificate(stolen))
    expect(verify(forged).map(({ field }) => field)).toEqual(
      stolen === key ? ['statement/predicate/auditHead/signature'] : ['envelope/signatures/0/keyid'],
    )
  })
})

describe('a statement that a holder of both keys has signed', () => {
  const signed = (change: (predicate: typeof file.statement.predicate) => void) => {
    const changed = structuredClone(file.statement.predicate)
    change(changed)
    return verify(signStatement(key, changed)).map(({ field }) => field.replace('statement/predicate/', ''))
  }

  it.each<[string, Parameters<typeof signed>[0], string]>([
    ['without verdicts', (each) => void (each.decisions = []), 'decisions'],
    ['without the last verdict of a stage', (each) => void each.decisions.splice(2, 1), 'decisions'],
    [
      'of an end before the start',
      ({ release }) => void (release.endedAt = '1960-01-01T00:00:00.000Z'),
      'release/endedAt',
    ],
    [
      'of a verdict before the start',
      ({ decisions }) => void (decisions[0]!.at = '1960-01-01T00:00:00.000Z'),
      'decisions/0/at',
    ],
    ['of verdicts in another order', ({ decisions }) => void decisions.reverse(), 'decisions/1/at'],
    [
      'of an approval after the end',
      ({ approvals }) => void (approvals[0]!.at = '2100-01-01T00:00:00.000Z'),
      'approvals/0/at',
    ],
    [
      'of another share than that of the policy',
      ({ policy }) => void (policy.stages[0]!.shareBp += 1),
      'decisions/1/evidence/state/shareBp',
    ],
    ['of a promoted drill', ({ release }) => void (release.drill = 'bad'), 'release/outcome'],
    [
      'without the row of the promotion',
      (each) => void (each.events = each.events.filter(({ action }) => action !== 'champion.promoted')),
      'events',
    ],
  ])('%s is refused', (_, change, field) => {
    expect(signed(() => {})).toEqual([])
    expect(signed(change)).toContain(field)
  })

  it('is valid where another engine computes the last bits of a figure otherwise, and not beyond twelve digits', () => {
    const { predicate } = file.statement
    const figures = leavesOf(predicate).filter(
      ({ path, value }) =>
        /^decisions\/\d+\/verdict\/statistics\//.test(path.join('/')) &&
        typeof value === 'number' &&
        !Number.isInteger(value),
    )
    expect(figures.length).toBeGreaterThan(3)
    const scaled = (by: number) => {
      const changed = structuredClone(predicate)
      for (const { path, value } of figures) {
        const parent = path
          .slice(0, -1)
          .reduce(
            (each, name) => each[name] as Record<string, unknown>,
            changed as never as Record<string, unknown>,
          )
        parent[path.at(-1)!] = Number(value) * by
      }
      return verify(signStatement(key, changed))
    }
    expect(scaled(1 + 2 * Number.EPSILON)).toEqual([])
    expect(scaled(1 - 2 * Number.EPSILON)).toEqual([])
    expect(scaled(1 + 1e-9)).not.toEqual([])
  })
})

describe('a figure that a holder of the key has changed and signed', () => {
  const { predicate } = file.statement
  const of = (pattern: RegExp) => leavesOf(predicate).filter(({ path }) => pattern.test(path.join('/')))

  it.each([
    ['the policy', /^policy\//, 60],
    ['the report of the gate', /^gate\//, 60],
    ['a count', /^decisions\/\d+\/evidence\/counted\/\d+\/(requests|errors|invalid|slow95|slow99)\//, 150],
    ['a verdict', /^decisions\/\d+\/(verdict|inputs)\//, 150],
    ['an approval', /^approvals\/\d+\/digests\//, 10],
  ])('is found in %s', (_, pattern, most) => {
    const found = refusals(of(pattern), most, (leaf) =>
      withLeaf(predicate, leaf, (changed) => verify(signStatement(key, changed))),
    )
    expect(found.length).toBeGreaterThan(5)
    expect(found.filter(({ fields }) => fields.length === 0)).toEqual([])
  })

  /** The gate with its digest, as someone who can sign would state both. */
  const gateIssuesOf = (change: (report: typeof predicate.gate.report) => void) => {
    const changed = structuredClone(predicate)
    change(changed.gate.report)
    const evaluation = digestOf(changed.gate)
    changed.digests.evaluation = evaluation
    for (const { digests } of changed.approvals) digests.evaluation = evaluation
    return verify(signStatement(key, changed)).map(({ field }) =>
      field.replace('statement/predicate/gate/report/', ''),
    )
  }

  it.each<[string, (report: typeof predicate.gate.report) => void, string]>([
    ['the verdict', (report) => void (report.verdict = 'not_worse'), 'verdict'],
    ['the bound of the primary metric', ({ metrics }) => void (metrics[0]!.low = -0.1), 'metrics/0/verdict'],
    ['a floor that is missed', ({ metrics }) => void (metrics[0]!.floorMet = false), 'verdict'],
    ['the policy of the gate', ({ policy }) => void (policy.evidence.rows = 3_000), 'verdict'],
    ['a slice that became worse', ({ slices }) => void (slices[0]!.verdict = 'blocked'), 'verdict'],
    ['calibration that is lost', ({ calibration }) => void (calibration!.verdict = 'blocked'), 'warnings/0'],
    ['the reason', ({ reasons }) => void (reasons[0]!.message = 'it is good'), 'reasons/0/message'],
  ])('is found in the gate with its digest: %s', (_, change, field) => {
    expect(gateIssuesOf(() => {})).toEqual([])
    const stated = { code: 'importance_not_measured', message: 'no time', values: {} }
    expect(gateIssuesOf(({ warnings }) => void warnings.push(stated))).toEqual([])
    expect(gateIssuesOf(change)).toContain(field)
  })

  it('says that the values of a custom primary metric are stated', () => {
    const changed = structuredClone(predicate)
    const { report } = changed.gate
    const [row] = report.metrics
    report.policy = { ...report.policy, primary: 'profit', custom: { profit: { better: 'higher' } } }
    report.metrics.unshift({ ...row!, metric: 'profit' })
    const better = report.reasons.find(({ code }) => code === 'better')!
    better.message = better.message.replace(metricName(row!.metric), 'profit')
    better.values['metric'] = 'profit'
    changed.digests.evaluation = digestOf(changed.gate)
    for (const { digests } of changed.approvals) digests.evaluation = changed.digests.evaluation
    const { issues, summary } = verifyCertificate(JSON.stringify(signStatement(key, changed)), trusted)
    expect(issues).toEqual([])
    expect(summary).toContain(
      'The values of profit are stated, because a function of the model file computes them; the verdict of the gate follows from them.',
    )
  })

  it('is found where an approval is missing, or is of the requester', () => {
    const [first, second] = predicate.approvals
    const issuesOf = (approvals: typeof predicate.approvals) =>
      verify(signStatement(key, { ...predicate, approvals }))
    expect(issuesOf([first!])).toEqual([
      { field: 'statement/predicate/approvals', message: 'lacks 1, which the policy requires' },
    ])
    expect(issuesOf([first!, { ...second!, by: 'participant-1' }])).toMatchObject([
      { field: 'statement/predicate/approvals/1/by' },
    ])
  })
})
