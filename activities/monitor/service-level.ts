/** Checks the service level of a model in one window and raises alerts. */
import type { MeasuredCost } from '../../domain/model/cost.ts'
import { pricesOf, type MonitorPolicy } from '../../domain/monitoring/policy.ts'
import { featureOfProfile } from '../../domain/model/feature-parts.ts'
import { defaultCountMs, type ReferenceProfile } from '../../domain/model/reference-profile.ts'
import {
  clearedText,
  costOf,
  judgeService as judge,
  type ServiceCost,
  type ServiceFacts,
  type ServiceReport,
} from '../../domain/monitoring/service-level.ts'
import { resolveAlert, upsertAlert } from '../../store/monitoring/alerts.ts'
import type { Champion } from '../../store/registry/champions.ts'
import { findRanges, findWindow } from '../../store/serving/feature-counts.ts'
import { countVersionRequests, readService, type Span } from '../../store/monitoring/monitor-windows.ts'
import { listReleasesOfVersion } from '../../store/release/releases.ts'
import { getVersion } from '../../store/registry/versions.ts'
import type { Deps } from '../deps.ts'

export async function checkServiceLevel(
  { store }: Pick<Deps, 'store'>,
  { champion, ...span }: Span & { champion: Champion },
  policy: MonitorPolicy,
): Promise<{ facts: ServiceFacts & { cost?: ServiceCost }; report: ServiceReport }> {
  const { model, fromMs, toMs } = span
  const { version, since } = champion
  const { profile } = (await getVersion(store, version)).manifest
  // The counts that began in the window; hourly unless the version says otherwise.
  const everyMs = profile?.everyMs ?? defaultCountMs
  const counted = { model, version, fromMs: Math.floor(fromMs / everyMs) * everyMs, toMs }
  const sinceMs = Date.parse(since)
  const facts: ServiceFacts = {
    ...(await readService(store, span)),
    champion: await countVersionRequests(store, { model, version, fromMs: Math.max(fromMs, sinceMs), toMs }),
    windowMs: toMs - fromMs,
    missing: profile === undefined ? {} : await readMissing(store, counted, profile),
    outside: await readOutside(store, counted),
    championMs: Math.max(0, toMs - sinceMs),
  }
  const { cost } = policy
  if (pricesOf(cost) !== undefined) facts.measured = await findMeasured(store, version)
  const report = judge(facts, policy.service, cost)
  for (const { code, severity, message, values } of report.findings)
    await upsertAlert(store, {
      dedupeKey: `service/${model}/${code}`,
      model,
      severity,
      kind: `service_${code}`,
      message: `${version}: ${message}`,
      evidence: { version, from: iso(fromMs), to: iso(toMs), ...values },
    })
  for (const code of report.cleared)
    await resolveAlert(store, `service/${model}/${code}`, `${version}: ${clearedText(code, facts)}`)
  return { facts: { ...facts, cost: cost && costOf(facts, cost) }, report }
}

/** What a version took in the checks before its newest release. */
const findMeasured = async (store: Deps['store'], version: string): Promise<MeasuredCost | undefined> =>
  (await listReleasesOfVersion(store, version)).find(({ state }) => state.cost !== undefined)?.state.cost
    ?.candidate

const iso = (ms: number): string => new Date(ms).toISOString()

/** The last bin of a feature counts its missing values. */
async function readMissing(
  store: Deps['store'],
  counted: Span & { version: string },
  profile: ReferenceProfile,
): Promise<ServiceFacts['missing']> {
  const window = await findWindow(store, counted)
  const missing: ServiceFacts['missing'] = {}
  for (const { name, counts } of profile.features) {
    const now = window?.features[name] ?? []
    const rows = sum(now)
    if (now.length !== counts.length || rows === 0) continue
    const reference = (counts.at(-1) ?? 0) / Math.max(1, sum(counts))
    // The first part of a feature is missing where the feature is.
    if (Object.hasOwn(missing, featureOfProfile(name))) continue
    missing[featureOfProfile(name)] = { rows, share: (now.at(-1) ?? 0) / rows, reference }
  }
  return missing
}

async function readOutside(
  store: Deps['store'],
  counted: Span & { version: string },
): Promise<ServiceFacts['outside']> {
  const ranges = await findRanges(store, counted)
  return Object.fromEntries(
    ranges.map(({ name, within, outside }) => {
      const rows = within + outside
      return [name, { rows, share: rows === 0 ? 0 : outside / rows }]
    }),
  )
}

const sum = (counts: readonly number[]): number => counts.reduce((total, count) => total + count, 0)
