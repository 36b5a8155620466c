/** Makes certificates of releases for tests of their verification: one that is promoted, with a gate, shadow, canary and probation. */
import { createHash, generateKeyPairSync, sign } from 'node:crypto'
import { seededRandom, standardNormal } from '@tenure/sequential'
import { canonicalJson } from '../../../domain/canonical-json.ts'
import { judgeGate } from '../../../domain/evaluation/gate.ts'
import type { MetricFunction } from '../../../domain/evaluation/custom-metrics.ts'
import { defaultGatePolicy, type GatePolicy } from '../../../domain/evaluation/policy.ts'
import {
  auditHeadText,
  type CertifiedDecision,
  type ReleaseCertificate,
} from '../../../domain/release/certificate.ts'
import type { CountedTick } from '../../../domain/release/evidence-builder.ts'
import { judgeLook, lookRecord } from '../../../domain/release/judge-stage.ts'
import type { JudgedState, RoutedStage } from '../../../domain/release/state.ts'
import { releasePolicy } from './releases.ts'

export const digestOf = (value: unknown): string =>
  `sha256:${createHash('sha256').update(canonicalJson(value)).digest('hex')}`

/** A key that signs, with its public key in PEM. */
export function certificateKey() {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  return {
    publicPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    sign: (bytes: Uint8Array) => sign(null, bytes, privateKey),
  }
}

/** The policy of a model whose primary metric is a function of its file. */
export const profitPolicy: GatePolicy = {
  ...defaultGatePolicy('binary'),
  primary: 'profit',
  standIn: 'auc',
  custom: { profit: { better: 'higher' } },
}
const profit: MetricFunction = (y, answers) =>
  y.reduce((sum, label, row) => sum + (Number(answers[row]) >= 0.5 ? 3 * label - 1 : 0), 0) / y.length

/** The report of the gate on 2,000 rows, as an evaluation stores it. */
export function gateOfRows(policy: GatePolicy = defaultGatePolicy('binary')) {
  const uniform = seededRandom(5)
  const odds = Array.from({ length: 2_000 }, () => 2 * standardNormal(uniform))
  const y = odds.map((odd) => (uniform() < 1 / (1 + Math.exp(-odd)) ? 1 : 0))
  const model = (noise: number) =>
    odds.map((odd) => [1 / (1 + Math.exp(-odd - noise * standardNormal(uniform)))])
  const slices = [{ name: 'first half', rows: y.map((_, at) => at).filter((at) => at < 300) }]
  const report = judgeGate(
    { y, challenger: model(0.3), champion: model(2), slices },
    { ...policy, resamples: 60, floors: { auc: 0.6 } },
    { profit },
  )
  const inputs = {
    rows: y.length,
    slices: slices.map(({ name, rows }) => ({ name, rows: rows.length })),
    leakage: {},
    testSetUses: 0,
    baseline: null,
    anchor: null,
    anchorsAsked: [],
  }
  return JSON.parse(
    JSON.stringify({ report, inputs, artifactDigest: 'sha256:a', baseline: 'm_v1.0.0' }),
  ) as ReleaseCertificate['gate']
}

const version = 'm_v1.1.0'
const baseline = 'm_v1.0.0'
const policy: JudgedState['policy'] = {
  ...releasePolicy,
  stages: releasePolicy.stages.map((each, at) => ({ ...each, shareBp: at === 0 ? 1_000 : 2_500 })),
  limits: { ...releasePolicy.limits, promotion: 'off', scoreShift: 'off', disagreement: 'off' },
}
const { tickMs } = policy.watch
const ticksOfStage = 8

/** The share of the candidate in each stage, in basis points. */
const stages: readonly [RoutedStage['stage'], number, number][] = [
  ['shadow', 0, 10_000],
  ['canary', 0, 1_000],
  ['canary', 1, 2_500],
  ['probation', 0, 9_500],
]

function decisions(): CertifiedDecision[] {
  const chance = seededRandom(8)
  const drawn = (requests: number, rate: number) =>
    Array.from({ length: requests }).filter(() => chance() < rate).length
  const counted: CountedTick[] = []
  const routings: RoutedStage[] = []
  return stages.map(([stage, stageIndex, shareBp], at) => {
    const startedMs = at * ticksOfStage * tickMs
    routings.push({ stage, stageIndex, generation: at + 1, shareBp, startedMs })
    for (let tick = 0; tick < ticksOfStage; tick++)
      for (const [each, requests] of [
        [version, Math.round((40 * shareBp) / 10_000)],
        [baseline, stage === 'shadow' ? 40 : Math.round((40 * (10_000 - shareBp)) / 10_000)],
      ] as const)
        counted.push({
          version: each,
          arm: each === version ? (stage === 'shadow' ? 'shadow' : 'canary') : 'champion',
          generation: at + 1,
          tickMs: startedMs + tick * tickMs,
          lengthMs: tickMs,
          requests,
          errors: drawn(requests, 0.02),
          invalid: drawn(requests, 0.005),
          slow95: drawn(requests, 0.05),
          slow99: drawn(requests, 0.01),
        })
    const state: JudgedState = {
      version,
      baseline,
      strategy: 'canary',
      policy,
      stage,
      stageIndex,
      shareBp,
      routings: [...routings],
      promoted: stage === 'probation',
    }
    const differences = Array.from({ length: 401 }, (_, i) => (i === 200 ? 40 : 0))
    const observation = {
      counted: [...counted],
      staleMs: 40,
      watchedMs: ticksOfStage * tickMs,
      served: { compared: 50, mismatchedRows: 0, columns: [] },
      ...(stage === 'shadow' && { paired: { b: 12, c: 15, same: 400 } }),
      ...(stage === 'probation' && {
        holdback: { differences, candidate: { total: 80, loss: 9.5 }, control: { total: 40, loss: 4.75 } },
      }),
    }
    const look = { state, observation, behind: [] }
    const { verdict, inputs } = judgeLook(look)
    return {
      stage,
      stageIndex,
      at: new Date(startedMs).toISOString(),
      verdict,
      inputs,
      evidence: lookRecord(look),
    }
  })
}

/** A certificate as a reader gets it. `headKey` signs the head of the audit log. */
export function exampleCertificate(headKey: ReturnType<typeof certificateKey>): ReleaseCertificate {
  const gate = gateOfRows()
  const digests = {
    artifact: `sha256:${'a'.repeat(64)}`,
    evaluation: digestOf(gate),
    policy: digestOf(policy),
  }
  const at = '2026-01-05T00:00:00.000Z'
  // Before the first verdict.
  const startedAt = '1970-01-01T00:00:00.000Z'
  const hashes = Array.from({ length: 5 }, (_, i) => String(i).repeat(64))
  const head = { seq: 9, hash: 'f'.repeat(64), at }
  const certificate: ReleaseCertificate = {
    issuedAt: at,
    release: {
      id: 'rel_1',
      model: 'm',
      version,
      baseline,
      strategy: 'canary',
      outcome: 'promoted',
      startedAt,
      endedAt: at,
      requestedBy: 'participant-1',
      hotfix: false,
      breakGlass: false,
    },
    digests: { ...digests, snapshot: 'sha256:s', modelFile: 'sha256:c' },
    policy,
    gate,
    approvals: [
      { by: 'participant-2', at: startedAt, digests },
      { by: 'participant-3', at: startedAt, digests },
    ],
    decisions: decisions(),
    events: ['release.opened', 'release.approve', 'champion.promoted', 'release.ended'].map((action, i) => ({
      seq: i + 3,
      at,
      action,
      previousHash: hashes[i]!,
      hash: hashes[i + 1]!,
    })),
    auditHead: { ...head, signature: headKey.sign(Buffer.from(auditHeadText(head))).toString('base64url') },
  }
  return JSON.parse(JSON.stringify(certificate)) as ReleaseCertificate
}
