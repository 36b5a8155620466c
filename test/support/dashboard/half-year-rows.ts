/**
 * Seeds the rows that accumulate in half a year of use: weekly quality, drift, feature counts, drills, alerts and audit entries. `hostile`
 * is inserted into every external text.
 */
import sql from 'sql-template-tag'
import { defaultDriftPolicy, judgeDrift } from '../../../domain/monitoring/drift.ts'
import { profitPolicy } from '../release/certificates.ts'
import {
  categoryProfile,
  numberProfile,
  type ReferenceProfile,
} from '../../../domain/model/reference-profile.ts'
import type { QualityReport } from '../../../domain/monitoring/quality.ts'
import { seededRandom } from '@tenure/sequential'
import { resolveAlert, upsertAlert } from '../../../store/monitoring/alerts.ts'
import { appendAudit } from '../../../store/audit/audit-log.ts'
import type { Store } from '../../../store/postgres.ts'

export interface SeededModel {
  model: string
  /** The version that is champion. */
  champion: string
  hostile?: string
  nowMs?: number
}

const hourMs = 3_600_000
const weekMs = 7 * 24 * hourMs
const iso = (ms: number): string => new Date(ms).toISOString()

export async function seedHalfYear(
  store: Store,
  { model, champion, hostile = '', nowMs = Date.now() }: SeededModel,
): Promise<void> {
  const random = seededRandom(11)
  const hours = (count: number, shift: number) =>
    Array.from({ length: count }, () => Math.round((random() + random()) * 11 + shift))
  const carrier = (count: number, share: number) =>
    Array.from({ length: count }, () => (random() < share ? 'North' : random() < 0.5 ? 'South' : 'West'))
  const profile: ReferenceProfile = {
    rows: 4_000,
    features: [
      numberProfile('hour', hours(4_000, 0)),
      categoryProfile(`carrier ${hostile}`.trim(), carrier(4_000, 0.3)),
      numberProfile('distance', hours(4_000, 300)),
    ],
    score: numberProfile(
      'score',
      Array.from({ length: 4_000 }, () => random()),
    ),
  }
  const [hour, line, distance] = profile.features as [
    ReferenceProfile['features'][0],
    ReferenceProfile['features'][0],
    ReferenceProfile['features'][0],
  ]
  const counts = (of: ReferenceProfile['features'][0], change: (count: number, bin: number) => number) =>
    of.counts.map((count, bin) => Math.round(change(count, bin) / 4))
  const current = {
    features: {
      hour: counts(hour, (count, bin) => count * (0.3 + bin / 6)),
      [line.name]: counts(line, (count, bin) => count * (bin === 0 ? 1.5 : 0.9)),
      distance: counts(distance, (count) => count),
    },
  }
  await store.query(sql`
    update models set definition = ${JSON.stringify({ about: `Will the train be late? ${hostile}`.trim() })}::jsonb || definition
      || ${JSON.stringify({ evaluation: { policy: profitPolicy, slices: [], groups: [] } })}::jsonb where name = ${model}`)
  await store.query(sql`
    update versions set manifest = ${JSON.stringify({
      features: {
        hour: { kind: 'number', min: 0, max: 23, about: `of departure ${hostile}`.trim() },
        [line.name]: { kind: 'category', values: ['North', 'South', 'West'] },
        distance: { kind: 'number', unit: 'km', missing: 'fill' },
      },
      featureOrder: ['hour', line.name, 'distance'],
      output: { kind: 'probability', positive: 'late', threshold: 0.5 },
      profile,
    })}::jsonb || manifest where version = ${champion}`)
  await store.query(sql`
    update trainings set curve = ${JSON.stringify(Array.from({ length: 24 }, (_, i) => ({ epoch: i + 1, loss: 0.45 + 0.3 / (i + 1) })))}, epoch = 24
    where id = (select training_id from versions where version = ${champion})`)
  await writeCounts(store, { model, champion, nowMs, current })
  await writeQuality(store, { model, champion, nowMs, hostile })
  const report = judgeDrift({ reference: profile, current, previous: current }, defaultDriftPolicy)
  for (let ago = 12; ago >= 0; ago--) {
    const [from, to] = [iso(nowMs - (ago + 2) * hourMs), iso(nowMs - (ago + 1) * hourMs)]
    const features = report.features.map((row) => ({ ...row, psi: (row.psi ?? 0) * (1 - ago / 20) }))
    await store.query(sql`
      insert into drift_judgements (model, version, subject, from_at, to_at, level, report, inputs, policy, judge)
      values (${model}, ${champion}, 'served', ${from}, ${to}, ${report.level}, ${JSON.stringify({ ...report, features })}, '{}',
        ${JSON.stringify(defaultDriftPolicy)}, 'drift@2')`)
  }
  await writeDrills(store, { model, nowMs, hostile })
  await writeRecords(store, { model, champion, hostile })
}

type Written = Required<SeededModel>

async function writeCounts(
  store: Store,
  {
    model,
    champion,
    nowMs,
    current,
  }: Pick<Written, 'model' | 'champion' | 'nowMs'> & { current: { features: Record<string, number[]> } },
): Promise<void> {
  for (const [name, each] of Object.entries(current.features))
    await store.query(sql`
      insert into feature_counts (model, version, hour, kind, name, replica_id, counts)
      values (${model}, ${champion}, date_trunc('hour', ${iso(nowMs)}::timestamptz) - interval '1 hour', 'feature', ${name}, 'r1', ${each})`)
}

async function writeQuality(store: Store, { model, champion, nowMs, hostile }: Written): Promise<void> {
  for (let week = 13; week >= 0; week--) {
    const value = 0.71 - 0.004 * (13 - week) + 0.008 * Math.sin(week * 2)
    const level = value < 0.672 ? 'lost' : 'held'
    const report: Partial<QualityReport> = {
      level,
      metric: 'auc',
      higherIsBetter: true,
      value,
      baseline: 0.71,
      margin: 0.035,
      rows: 1_900 + week * 20,
      metrics: [
        { metric: 'recall', value: 0.6, standardError: 0.03, low: 0.54, high: 0.66, rows: 300 },
        { metric: 'precision', value: null, standardError: null, low: null, high: null, rows: 0 },
      ],
      unreadable: 0,
      reasons: [{ code: 'quality_lost', message: `auc has fallen ${hostile}`, values: {} }],
      judge: 'quality@1',
    }
    const to = nowMs - week * weekMs
    await store.query(sql`
      insert into quality_judgements (model, version, from_at, to_at, level, report, inputs, policy, judge)
      values (${model}, ${champion}, ${iso(to - 24 * hourMs)}, ${iso(to)}, ${level}, ${JSON.stringify(report)}, '{}', '{}', 'quality@1')`)
  }
}

async function writeDrills(
  store: Store,
  { model, nowMs, hostile }: Omit<Written, 'champion'>,
): Promise<void> {
  const held = [
    {
      kind: 'bad',
      detectionMs: 2_300,
      recoveryMs: 2_450,
      passed: true,
      harmed: 0,
      message: `49 of 100 canary requests failed (49 %), control 0 % ${hostile}`,
    },
    {
      kind: 'nan',
      detectionMs: 1_800,
      recoveryMs: 1_990,
      passed: true,
      harmed: 0,
      message: '51 of 100 canary requests invalid (51 %), control 0 %',
    },
    {
      kind: 'slow',
      detectionMs: 9_400,
      recoveryMs: 9_600,
      passed: true,
      harmed: 0,
      message: 'canary 100 % slow answers against 5 %',
    },
    {
      kind: 'lost-replica',
      detectionMs: 15_100,
      recoveryMs: 31_000,
      passed: true,
      harmed: 0,
      message: 'the replica fell back and returned',
    },
    {
      kind: 'silent',
      detectionMs: null,
      recoveryMs: 42_000,
      passed: false,
      harmed: 61,
      message: 'not rolled back: no data',
    },
  ]
  for (const [i, each] of held.entries()) {
    const began = nowMs - (i + 1) * 6 * hourMs
    const at = (ms: number | null) => (ms === null ? null : iso(began + ms))
    await store.query(sql`
      insert into drills (id, model, kind, traffic, requested_by, harm_budget, began_at, detected_at, recovered_at, exposed, harmed,
        passed, message, started_at, ended_at)
      values (${`drl_${model}_${i}`}, ${model}, ${each.kind}, 'mirrored', 'schedule', 50, ${iso(began)}, ${at(each.detectionMs)},
        ${at(each.recoveryMs)}, 412, ${each.harmed}, ${each.passed}, ${each.message}, ${iso(began - 5_000)}, ${iso(began + 50_000)})`)
  }
}

async function writeRecords(
  store: Store,
  { model, champion, hostile }: Omit<Written, 'nowMs'>,
): Promise<void> {
  const alert = (
    dedupeKey: string,
    severity: 'critical' | 'warning' | 'info',
    kind: 'quality_lost' | 'drift_alarm' | 'not_better',
    message: string,
  ) =>
    upsertAlert(store, {
      dedupeKey: `${dedupeKey}/${model}`,
      model,
      severity,
      kind,
      message: `${message} ${hostile}`.trim(),
    })
  for (const past of [1, 2, 3]) {
    await alert(
      `past${past}`,
      'info',
      'not_better',
      `A challenger of week ${past} was not better: AUC 0.684 against 0.691`,
    )
    await resolveAlert(store, `past${past}/${model}`, 'measured')
  }
  await alert(
    'drift',
    'warning',
    'drift_alarm',
    'The feature "hour" has drifted: PSI 0.31 in two consecutive windows',
  )
  await alert(
    'quality',
    'critical',
    'quality_lost',
    `${champion}: auc on 1,900 matured outcomes is 0.668, it was 0.71: worse by more than 0.035`,
  )
  const rows: [string, string, string, Record<string, unknown>][] = [
    ['olga', 'retraining.requested', model, { reason: `the data of March ${hostile}`.trim() }],
    [
      'anna',
      'release.approved',
      `rel_${model}`,
      { reason: `fewer late trains are missed ${hostile}`.trim() },
    ],
    ['release', 'champion.promoted', champion, { from: null, share: 10_000 }],
    [`ben ${hostile}`.trim(), 'kill_switch.set', model, { serve: 'champion', reason: 'calls from Graz' }],
    ['olga', 'alert.acknowledged', 'alert/1', { kind: 'drift_warn', reason: null }],
  ]
  for (const [actor, action, subject, detail] of rows)
    await store.transaction((database) => appendAudit(database, { actor, action, subject, model, detail }))
}
