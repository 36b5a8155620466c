/**
 * Raises alerts for releases that wait for an approval or a decision, resolves the answered ones, and reports promotions. Resolves the
 * alerts of rollbacks once the version that serves answers well.
 */
import type { GateReport } from '../domain/evaluation/gate.ts'
import { completeMonitorPolicy } from '../domain/monitoring/policy.ts'
import { servedWellText } from '../domain/monitoring/service-level.ts'
import { listServedSince, resolveServed } from '../store/monitoring/alerts.ts'
import { promotionNotice, releaseRequest } from './release-request.ts'
import {
  insertNotice,
  listClosedRequests,
  listAsking,
  listPromoted,
  resolveRequest,
  upsertRequest,
} from '../store/monitoring/release-requests.ts'
import type { Store } from '../store/postgres.ts'

export async function reportReleases(store: Store): Promise<void> {
  for (const { id, monitor, ...served } of await listServedSince(store)) {
    const measured = servedWellText(served, completeMonitorPolicy(monitor).service)
    if (measured !== undefined) await resolveServed(store, { id, measured })
  }
  for (const { id, version, answer } of await listClosedRequests(store))
    await resolveRequest(store, { id, message: `${version}: ${answer ?? 'the release has moved on'}` })
  for (const { state, report, excess, owner } of await listAsking(store)) {
    const request = releaseRequest(state, { report: readable(report), excess, owner })
    if (request === undefined) continue
    const { dedupeKey, kind, message, headline, untilMs } = request
    await upsertRequest(store, {
      dedupeKey,
      kind,
      model: state.model,
      severity: 'warning',
      message,
      evidence: {
        ...subjectOf(state),
        digests: state.digests,
        headline,
        owner,
        until: new Date(untilMs).toISOString(),
      },
    })
  }
  for (const { state, report, owner } of await listPromoted(store)) {
    const { headline, message } = promotionNotice(state, { report: readable(report) })
    await insertNotice(store, {
      dedupeKey: `promoted/${state.id}/${state.stage}`,
      kind: 'release_promoted',
      model: state.model,
      severity: 'info',
      message,
      evidence: { ...subjectOf(state), headline, owner },
    })
  }
}

const subjectOf = ({ id, version }: { id: string; version: string }) => ({ release: id, version })

/** Returns undefined for a report whose shape, written by another build, is unknown. */
const readable = (report: Partial<GateReport> | undefined): GateReport | undefined =>
  Array.isArray(report?.metrics) && Array.isArray(report.slices) && report.policy !== undefined
    ? (report as GateReport)
    : undefined
