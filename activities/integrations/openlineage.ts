/** Builds OpenLineage events from stored rows and sends them. */
import { lineageEvent, type LineageDataset, type LineageFacts } from '../../domain/registry/openlineage.ts'
import type { SourceDefinition } from '../../domain/model-definition.ts'
import { findEvaluation } from '../../store/training/evaluations.ts'
import { findModel } from '../../store/registry/models.ts'
import type { Database } from '../../store/postgres.ts'
import { findRelease } from '../../store/release/releases.ts'
import { findTrainingRun } from '../../store/training/trainings.ts'
import { getSnapshot } from '../../store/training/snapshots.ts'
import { findVersion } from '../../store/registry/versions.ts'
import type { Mirror } from '../../temporal.config.ts'
import { uuidOf, type LineageRefs } from './lineage-events.ts'
import { sendRequest } from '../../store/integrations/http-request.ts'

export interface LineageDeps {
  store: Database
  mirror: Mirror
  build: string
}

/** The payload of an event in `integration_outbox`. */
export interface StoredEvent extends Pick<LineageFacts, 'job' | 'type' | 'at' | 'problem'> {
  /** The run id of a release, which is the subject of both job and run. */
  runId?: string
  refs?: LineageRefs
}

/** An event about a deleted row is dropped. */
export async function syncOpenLineage(deps: LineageDeps, subject: string, event: StoredEvent): Promise<void> {
  const facts = await factsOf(deps, subject, event)
  if (facts === undefined) return
  const url = new URL(deps.mirror.url)
  const path = url.pathname === '/' ? '/api/v1/lineage' : ''
  await sendRequest(deps.mirror, { method: 'POST', path, body: lineageEvent(facts) })
}

async function factsOf(
  { store, build }: LineageDeps,
  subject: string,
  { job, type, at, runId, refs, problem }: StoredEvent,
): Promise<LineageFacts | undefined> {
  const facts = { type, at: new Date(at).toISOString(), job, build, problem }
  if (job === 'release') return releaseOf(store, subject, facts)
  if (refs === undefined || runId === undefined) return undefined
  const { model } = refs
  const ends = type === 'COMPLETE'
  const snapshot = async (): Promise<LineageDataset[]> => {
    if (refs.snapshot === undefined) return []
    const { digest, asOf, columns, rows, bytes } = await getSnapshot(store, refs.snapshot)
    return [{ kind: 'snapshot', digest, asOf, columns, rows, bytes }]
  }
  if (job === 'snapshot') {
    const definition = (await findModel(store, model))?.definition
    return {
      ...facts,
      model,
      runId,
      inputs: sourcesOf(model, definition?.source),
      outputs: ends ? await snapshot() : [],
      query: definition?.source.rows,
    }
  }
  const training = refs.training === undefined ? undefined : await findTrainingRun(store, refs.training)
  const digest = training?.artifactDigest
  const artifact: LineageDataset[] = digest === undefined ? [] : [{ kind: 'artifact', digest }]
  if (job === 'training')
    return { ...facts, model, runId, inputs: await snapshot(), outputs: ends ? artifact : [] }
  const evaluation = refs.evaluation === undefined ? undefined : await findEvaluation(store, refs.evaluation)
  const rows: LineageDataset[] =
    training === undefined ? [] : [{ kind: 'snapshot', digest: training.snapshotDigest }]
  const outputs: LineageDataset[] = []
  if (ends && evaluation !== undefined) {
    const { id, reportDigest: digest, verdict } = evaluation
    outputs.push({ kind: 'evaluation', id, digest, verdict, metrics: training?.metrics ?? {} })
  }
  return { ...facts, model, runId, inputs: [...rows, ...artifact], outputs }
}

async function releaseOf(
  store: Database,
  id: string,
  facts: Pick<LineageFacts, 'type' | 'at' | 'job' | 'build' | 'problem'>,
): Promise<LineageFacts | undefined> {
  const release = await findRelease(store, id)
  const version = release && (await findVersion(store, release.state.version))
  if (release === undefined || version === undefined) return undefined
  return {
    ...facts,
    model: version.model,
    runId: uuidOf(id),
    inputs: [
      { kind: 'artifact', digest: version.artifactDigest, version: version.version },
      { kind: 'evaluation', id: version.evaluationId },
    ],
    outputs: facts.type === 'COMPLETE' ? [{ kind: 'champion', version: version.version }] : [],
    problem: facts.type === 'FAIL' ? (release.reason ?? facts.problem) : facts.problem,
  }
}

/** Names files by their path in the checkout, and a database only as Tenure's own: its address is confidential. */
function sourcesOf(model: string, source: SourceDefinition | undefined): LineageDataset[] {
  if (source === undefined) return []
  if (source.kind === 'postgres') return [{ kind: 'source', namespace: 'postgres', name: `${model}.rows` }]
  if (source.kind === 'served')
    return [{ kind: 'source', namespace: 'postgres', name: `${model}.predictions` }]
  return Object.values(source.files).map((path) => ({
    kind: 'source',
    namespace: source.program === undefined ? 'file' : 'program',
    name: path,
  }))
}
