/**
 * Defines the certificate of a release: all that its verdicts follow from, without a name of a person. Verification repeats each verdict
 * from it with the functions that the release was judged by, so that a reader need not believe the figures that are written beside it.
 */
import type { EvaluationInputs } from '../evaluation/inputs-record.ts'
import { concludeGate, type GateReport } from '../evaluation/gate.ts'
import { gainVerdict, type GateMetricRow } from '../evaluation/metric-table.ts'
import type { GatePolicy } from '../evaluation/policy.ts'
import { judgedLoss } from '../tasks/losses.ts'
import type { CallerTarget } from '../serving/target.ts'
import type { Reason, Verdict } from '../verdict.ts'
import { missingApprovals } from './approval.ts'
import { canaryJudge } from '../canary/incremental-judge.ts'
import { judgeLook, lookOf, type Judgement, type LookRecord } from './judge-stage.ts'
import type { ReleasePolicy } from './policy.ts'
import { stepsOf, type ReleaseDigests, type ReleaseOutcomeKind, type ReleaseStage } from './state.ts'

/** The type of the statement that is signed. */
export const certificateType = 'urn:tenure:release-certificate:1'

/** The media type of what is signed: a statement of in-toto in an envelope of DSSE. */
export const payloadType = 'application/vnd.in-toto+json'

/** What precedes the bytes of the payload in the signed bytes of DSSE. */
export const envelopeHead = (payloadBytes: number): string =>
  `DSSEv1 ${payloadType.length} ${payloadType} ${payloadBytes} `

export interface CertificateStatement {
  _type: 'https://in-toto.io/Statement/v1'
  subject: { name: string; digest: { sha256: string } }[]
  predicateType: typeof certificateType
  predicate: ReleaseCertificate
}

/** The file of a certificate: the statement to read, and the same statement as it is signed. */
export interface CertificateFile {
  statement: CertificateStatement
  envelope: {
    payloadType: typeof payloadType
    /** The JSON of the statement, in base64. */
    payload: string
    /** `keyid`: the fingerprint of the key. */
    signatures: { keyid: string; sig: string }[]
  }
}

export const statementOf = (predicate: ReleaseCertificate): CertificateStatement => ({
  _type: 'https://in-toto.io/Statement/v1',
  subject: [
    {
      name: predicate.release.version,
      digest: { sha256: predicate.digests.artifact.replace(/^sha256:/, '') },
    },
  ],
  predicateType: certificateType,
  predicate,
})

/** What the signature of a head of the audit log covers. */
export const auditHeadText = ({ seq, hash, at }: { seq: number; hash: string; at: string }): string =>
  `tenure-audit-head@1\n${seq}\n${hash}\n${at}`

/** A person or a process, by a number that means nothing outside of the certificate. */
export type Participant = `participant-${number}`

export interface CertifiedApproval {
  by: Participant
  at: string
  /** What the approval covers. */
  digests: ReleaseDigests
}

/** A verdict that has ended the watch of a stage, with all that it follows from. */
export interface CertifiedDecision {
  stage: ReleaseStage
  stageIndex: number
  at: string
  verdict: Omit<Verdict, 'questions'>
  /** The totals that the verdict is explained by. */
  inputs: Record<string, unknown>
  evidence: LookRecord
}

/** A row of the audit log, without its content. */
export interface CertifiedEvent {
  seq: number
  at: string
  action: string
  previousHash: string
  hash: string
}

export interface ReleaseCertificate {
  issuedAt: string
  release: {
    id: string
    model: string
    version: string
    /** The champion that it was compared with; absent for the first version of a model. */
    baseline?: string
    strategy: string
    outcome: ReleaseOutcomeKind
    startedAt: string
    endedAt: string
    requestedBy: Participant
    hotfix: boolean
    breakGlass: boolean
    drill?: string
  }
  digests: ReleaseDigests & {
    /** The rows that it was trained and evaluated on. */
    snapshot: string
    /** The model file. Absent for a brought artifact. */
    modelFile?: string
  }
  /** Of `policyWithoutNames`. */
  policy: ReleasePolicy
  gate: {
    report: GateReport
    inputs: EvaluationInputs
    artifactDigest: string
    baseline: string | null
  }
  approvals: CertifiedApproval[]
  decisions: CertifiedDecision[]
  /** What happened, in the order of the audit log. */
  events: CertifiedEvent[]
  /** The signed head of the audit log, behind all events. */
  auditHead: { seq: number; hash: string; at: string; signature: string }
}

/** A field of a certificate that is wrong: its path, and a sentence. */
export interface CertificateIssue {
  field: string
  message: string
}

const issue = (field: string, message: string): CertificateIssue => ({ field, message })

/** Whether the policy names approvers or callers, whom the certificate leaves out. */
const namesPersons = ({ approval, targeted }: ReleasePolicy): boolean =>
  approval.from !== undefined || approval.sides !== undefined || targeted !== undefined

/** The policy with participants in place of named approvers, and without the values that select callers. */
export function policyWithoutNames(
  policy: ReleasePolicy,
  participant: (name: string) => Participant,
): ReleasePolicy {
  const { approval, targeted } = policy
  const { from, sides } = approval
  return {
    ...policy,
    approval: {
      ...approval,
      ...(from && { from: from.map(participant) }),
      ...(sides && {
        sides: {
          business: sides.business.map(participant),
          engineering: sides.engineering.map(participant),
        },
      }),
    },
    ...(targeted && { targeted: { ...targeted, target: withoutValues(targeted.target) } }),
  }
}

/** A value may be the key of a person or a secret. */
function withoutValues(target: CallerTarget): CallerTarget {
  const value = 'withheld'
  if ('header' in target) return { header: { name: target.header.name, value } }
  if ('attribute' in target) return { attribute: { name: target.attribute.name, value } }
  return { routingKeys: [] }
}

/** What a certificate says that does not follow from what it holds. `digestOf`: the digest of the canonical JSON of a value. */
export function certificateIssues(
  certificate: ReleaseCertificate,
  digestOf: (value: unknown) => string,
): CertificateIssue[] {
  return [
    ...digestIssues(certificate, digestOf),
    ...gateIssues(certificate.gate),
    ...approvalIssues(certificate),
    ...certificate.decisions.flatMap((each, at) => decisionIssues(each, certificate, `decisions/${at}`)),
    ...eventIssues(certificate),
    ...timeIssues(certificate),
    ...outcomeIssues(certificate),
  ]
}

/** The order of the times, all of which are of the clock of the database: a release begins, is approved and judged, and ends. */
function timeIssues({ release, approvals, decisions }: ReleaseCertificate): CertificateIssue[] {
  const { startedAt, endedAt } = release
  const ordered = (field: string, at: string, from: string, to: string) =>
    Date.parse(at) >= Date.parse(from) && Date.parse(at) <= Date.parse(to)
      ? []
      : [issue(field, `is ${at}, not between ${from} and ${to}`)]
  return [
    ...ordered('release/endedAt', endedAt, startedAt, endedAt),
    ...approvals.flatMap(({ at }, place) => ordered(`approvals/${place}/at`, at, startedAt, endedAt)),
    ...decisions.flatMap(({ at }, place) =>
      ordered(`decisions/${place}/at`, at, decisions[place - 1]?.at ?? startedAt, endedAt),
    ),
  ]
}

/**
 * Whether the outcome follows from the verdicts: a promotion has no verdict against it, a verdict for each stage of its policy at the share of
 * this stage, and its row in the audit log. What a command of a user has ended is stated by the signer.
 */
function outcomeIssues({ release, policy, decisions, events }: ReleaseCertificate): CertificateIssue[] {
  const shares = decisions.flatMap(({ stage, stageIndex, evidence: { state } }, at) => {
    const share = stage === 'canary' ? policy.stages[stageIndex]?.shareBp : undefined
    return stage !== 'canary' || state.shareBp === share
      ? []
      : [issue(`decisions/${at}/evidence/state/shareBp`, `is ${state.shareBp}, but the policy has ${share}`)]
  })
  if (!events.some(({ action }) => action === 'release.ended'))
    shares.push(issue('events', 'lacks release.ended'))
  if (release.outcome !== 'promoted') return shares
  const against = decisions.find(({ verdict }) => verdict.kind !== 'pass' && verdict.kind !== 'inconclusive')
  // An order of break-glass and a hotfix have fewer stages, and a first version none.
  const isWhole = !release.breakGlass && !release.hotfix && release.baseline !== undefined
  const steps: Pick<CertifiedDecision, 'stage' | 'stageIndex'>[] = isWhole
    ? [
        ...stepsOf({ strategy: policy.strategy, policy }),
        ...(policy.probation ? [{ stage: 'probation', stageIndex: 0 } as const] : []),
      ]
    : []
  const judged = ({ stage, stageIndex }: Pick<CertifiedDecision, 'stage' | 'stageIndex'>) =>
    decisions.some((each) => each.stage === stage && each.stageIndex === stageIndex)
  return [
    ...shares,
    ...(against
      ? [
          issue(
            'release/outcome',
            `is promoted, although the verdict on ${against.stage} is ${against.verdict.kind}`,
          ),
        ]
      : []),
    ...steps
      .filter((each) => !judged(each))
      .map(({ stage, stageIndex }) =>
        issue('decisions', `has no verdict on ${stage} ${stageIndex} of the policy`),
      ),
    ...(release.drill === undefined ? [] : [issue('release/outcome', 'is promoted, which a drill never is')]),
    ...(events.some(({ action }) => action === 'champion.promoted')
      ? []
      : [issue('events', 'lacks champion.promoted')]),
  ]
}

function digestIssues(
  { digests, policy, gate }: ReleaseCertificate,
  digestOf: (value: unknown) => string,
): CertificateIssue[] {
  const wrong = (field: string, stated: string, value: unknown) => {
    const found = digestOf(value)
    return found === stated ? [] : [issue(field, `is ${stated}, but its content has the digest ${found}`)]
  }
  return [
    ...(namesPersons(policy) ? [] : wrong('digests/policy', digests.policy, policy)),
    ...wrong('digests/evaluation', digests.evaluation, gate),
  ]
}

/** The warnings that follow from the tables of a report; others say what was found on the rows, and are stated. */
const concludedCodes = [
  'calibration',
  'metric_error',
  'slices_unjudged',
  'fairness_doubtful',
  'rows_repeat',
  'class_shift',
]

/** The verdict on each metric follows from its interval and its margin, and that of the gate from the tables of the report. */
export function gateIssues({
  report,
  inputs,
}: Pick<ReleaseCertificate['gate'], 'report'> & {
  inputs: Pick<EvaluationInputs, 'leakage'>
}): CertificateIssue[] {
  const { metrics, policy, verdict, needsPerson, reasons, warnings } = report
  const stated = [...reasons, ...warnings]
  const primary = metrics.find(({ metric }) => metric === policy.primary)
  // Such a version is not released, and its warnings hold its objections.
  if (verdict === 'insufficient') return []
  if (primary === undefined) return [issue('gate/report/metrics', `has no row of ${policy.primary}`)]
  const isFirst = primary.margin === null
  const compared = stated.filter(
    ({ code, values: { metric } }) =>
      /^(primary|guard|anchor|baseline)_/.test(code) &&
      (metric === policy.primary || !Object.hasOwn(policy.custom ?? {}, String(metric))),
  )
  const again = concludeGate(report, {
    isFirst,
    leakage: inputs.leakage,
    reversed: stated.filter(({ code }) => code === 'labels_reversed'),
    compared,
    basis: warnings.filter(({ code }) => !concludedCodes.includes(code)),
  })
  return [
    ...metrics.flatMap((row, at) =>
      metricIssues(row, `gate/report/metrics/${at}`, { policy, compared, isFirst }),
    ),
    ...firstDifference(
      { verdict, needsPerson, reasons, warnings },
      again,
      'gate/report',
      recomputedTolerance,
    ).map(({ field, one, other }) => issue(field, `is ${one}, but the tables give ${other}`)),
  ]
}

function metricIssues(
  row: GateMetricRow,
  field: string,
  { policy, compared, isFirst }: { policy: GatePolicy; compared: readonly Reason[]; isFirst: boolean },
): CertificateIssue[] {
  const { metric, challenger, champion: reference, margin, method, verdict } = row
  const decides = metric === policy.primary || policy.guards.some((guard) => guard === metric)
  const isMet = verdict === 'better' || verdict === 'not_worse'
  const hasObjection = compared.some(
    ({ code, values }) => /^(primary|guard)_/.test(code) && values['metric'] === metric,
  )
  if (decides && !isFirst && isMet === hasObjection)
    return [
      issue(
        `${field}/verdict`,
        `is ${verdict}, ${isMet ? 'against' : 'without'} an objection in the reasons`,
      ),
    ]
  if (method === 'none' || challenger === null) return []
  const found = gainVerdict({ ...row, challenger, reference }, margin ?? 0, policy.confidence)
  return found === verdict
    ? []
    : [issue(`${field}/verdict`, `is ${verdict}, but the interval and the margin give ${found}`)]
}

function approvalIssues({
  approvals,
  policy,
  digests,
  release,
  decisions,
}: ReleaseCertificate): CertificateIssue[] {
  const { artifact, evaluation, policy: policyDigest } = digests
  const covered = { artifact, evaluation, policy: policyDigest }
  const found = approvals.flatMap((each, at) => [
    ...(each.by === release.requestedBy
      ? [issue(`approvals/${at}/by`, `is ${each.by}, who requested the release`)]
      : []),
    ...firstDifference(each.digests, covered, `approvals/${at}/digests`).map(({ field, one, other }) =>
      issue(field, `is ${one}, but the release has ${other}`),
    ),
  ])
  const missing = missingApprovals({ approvals: approvals.map(({ by }) => ({ by, atMs: 0 })), policy })
  const isExposed = release.outcome === 'promoted' || decisions.length > 0
  if (isExposed && missing > 0 && !release.breakGlass)
    found.push(issue('approvals', `lacks ${missing}, which the policy requires`))
  return found
}

function decisionIssues(
  { stage, stageIndex, verdict, inputs, evidence }: CertifiedDecision,
  { policy, gate }: ReleaseCertificate,
  field: string,
): CertificateIssue[] {
  if (verdict.judge !== canaryJudge)
    return [
      issue(
        `${field}/verdict/judge`,
        `is ${verdict.judge}, and this verification has ${canaryJudge}: take the version of this package that the release was judged by`,
      ),
    ]
  const { state } = evidence
  if (state.stage !== stage || state.stageIndex !== stageIndex)
    return [
      issue(
        `${field}/stage`,
        `is ${stage} ${stageIndex}, but the counts are of ${state.stage} ${state.stageIndex}`,
      ),
    ]
  const judged = judgedAgain(evidence, policy)
  if ('problem' in judged) return [issue(`${field}/evidence`, `cannot be judged: ${judged.problem}`)]
  const { kind, reasons, statistics, judge } = judged.verdict
  const again = { verdict: { kind, reasons, statistics, judge }, inputs: judged.inputs }
  return [
    ...lossIssues(evidence, gate.report.policy, `${field}/evidence/observation`),
    ...firstDifference({ verdict, inputs }, again, field, recomputedTolerance).map(
      ({ field: at, one, other }) => issue(at, `is ${one}, but the counts give ${other}`),
    ),
  ]
}

/** Outcomes are judged by the loss of the gate's primary metric, or by what stands in for it. */
function lossIssues(
  { observation: { pairedLosses, losses, holdback } }: LookRecord,
  policy: GatePolicy,
  field: string,
): CertificateIssue[] {
  const { threshold: _own, ...wanted } = judgedLoss(policy)
  return Object.entries({ pairedLosses, losses, holdback }).flatMap(([name, seen]) => {
    // Absent in evidence that was stored before releases were judged by the loss of their gate.
    if (seen?.judged === undefined) return []
    const { threshold: _threshold, ...judged } = seen.judged
    return firstDifference(judged, wanted, `${field}/${name}/judged`).map(({ field: at, one, other }) =>
      issue(at, `is ${one}, but the policy of the gate gives ${other}`),
    )
  })
}

/** What the policy or the counts make impossible, a test refuses with an error. */
function judgedAgain(evidence: LookRecord, policy: ReleasePolicy): Judgement | { problem: string } {
  try {
    return judgeLook(lookOf(evidence, policy))
  } catch (error) {
    return { problem: String(error) }
  }
}

function eventIssues({ events, auditHead }: ReleaseCertificate): CertificateIssue[] {
  const found: CertificateIssue[] = []
  for (const [at, { seq, hash, previousHash }] of events.entries()) {
    const before = events[at - 1]
    if (before !== undefined && before.seq >= seq)
      found.push(issue(`events/${at}/seq`, `is ${seq}, after row ${before.seq}`))
    if (before?.seq === seq - 1 && before.hash !== previousHash)
      found.push(issue(`events/${at}/previousHash`, 'is not the hash of the row before it'))
    if (seq > auditHead.seq)
      found.push(
        issue(`events/${at}/seq`, `is ${seq}, behind the head of the audit log, which is ${auditHead.seq}`),
      )
    if (seq === auditHead.seq && hash !== auditHead.hash)
      found.push(issue('auditHead/hash', `is not the hash of row ${seq}`))
  }
  return found
}

/** A field in which two values differ, with both of its texts. */
export interface Difference {
  field: string
  one: string
  other: string
}

/**
 * How far a figure that is computed again may differ, relative to its size: engines differ in the last bits of a logarithm. Twelve digits are
 * the same.
 */
export const recomputedTolerance = 1e-12

/**
 * The first field in which two values differ as JSON, below the path of `field`; empty where they are equal. `tolerance`: how far numbers may
 * differ, relative to the larger one.
 */
export function firstDifference(one: unknown, other: unknown, field = '', tolerance = 0): Difference[] {
  const found = differenceOf(one, other, tolerance)
  if (found === undefined) return []
  const path = field === '' ? found.path : [field, ...found.path]
  return [
    {
      field: path.join('/'),
      one: shown(JSON.stringify(found.one)),
      other: shown(JSON.stringify(found.other)),
    },
  ]
}

function differenceOf(
  one: unknown,
  other: unknown,
  tolerance: number,
): { path: string[]; one: unknown; other: unknown } | undefined {
  if (one === other || isClose(one, other, tolerance)) return undefined
  if (!isParent(one) || !isParent(other) || Array.isArray(one) !== Array.isArray(other))
    return { path: [], one, other }
  for (const name of new Set([...Object.keys(one), ...Object.keys(other)])) {
    const found = differenceOf(one[name], other[name], tolerance)
    if (found !== undefined) return { ...found, path: [name, ...found.path] }
  }
  return undefined
}

const isClose = (one: unknown, other: unknown, tolerance: number): boolean =>
  typeof one === 'number' &&
  typeof other === 'number' &&
  Math.abs(one - other) <= tolerance * Math.max(Math.abs(one), Math.abs(other))

const isParent = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null

const maxText = 80
const shown = (text = 'absent'): string => (text.length > maxText ? `${text.slice(0, maxText)}…` : text)
