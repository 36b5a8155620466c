/**
 * Reads and judges the rows of a model in a child process. Millions of rows would block the event loop of the control worker, whose
 * heartbeats renew the exposure leases of every open release.
 */
import type { ModelDefinition } from '../../domain/model-definition.ts'
import type { RefitRows } from '../../domain/training/rounds.ts'
import { openArtifacts } from '../../store/artifacts.ts'
import { openStore } from '../../store/postgres.ts'
import { openSubjectKey } from '../../store/signing/subject-hash.ts'
import { withCopiedFiles, type SourceCopies } from '../data/source-copies.ts'
import { digestOfSource } from '../data/source-digest.ts'
import { asUnreadable } from '../data/source-errors.ts'
import { takeJob, whileAlive } from '../runtime/child-protocol.ts'
import type { JudgedSnapshot, SnapshotToJudge } from './judge-snapshot.ts'
import { writeLoggedRequests, type LoggedSample, type WrittenRequests } from './write-logged-requests.ts'
import { writeSnapshot, type WrittenSnapshot } from './write-snapshot.ts'

export type RowsJob =
  | {
      kind: 'snapshot'
      definition: ModelDefinition
      /** ISO 8601. */
      asOf: string
      refit?: RefitRows | undefined
      databaseUrl: string
      readerUrl?: string
      /** The path of the file of sources. */
      metricSources?: string | undefined
      artifactRoot: string
      /** The path of the key file. */
      subjectKey: string
      copies: SourceCopies
    }
  | ({ kind: 'logged'; databaseUrl: string; artifactRoot: string; subjectKey: string } & LoggedSample)
  | ({ kind: 'validate' } & SnapshotToJudge)

async function takeRows({
  definition,
  asOf,
  refit,
  databaseUrl,
  readerUrl,
  metricSources,
  artifactRoot,
  subjectKey: subjectFile,
  copies,
}: Extract<RowsJob, { kind: 'snapshot' }>): Promise<WrittenSnapshot & { source: Record<string, unknown> }> {
  const store = openStore(databaseUrl, { readerUrl, metricSources })
  try {
    const source = await digestOfSource(definition.source, copies)
    const subjectKey = await openSubjectKey(subjectFile)
    const artifacts = openArtifacts(artifactRoot)
    const local = { ...definition, source: withCopiedFiles(definition.source, copies) }
    const written = await writeSnapshot({
      definition: local,
      asOf,
      refit,
      store,
      artifacts,
      subjectKey,
    })
    return { ...written, source }
  } catch (error) {
    throw asUnreadable(definition.name, error)
  } finally {
    await store.close()
  }
}

async function takeLogged({
  databaseUrl,
  artifactRoot,
  subjectKey,
  ...sample
}: Extract<RowsJob, { kind: 'logged' }>): Promise<WrittenRequests> {
  const store = openStore(databaseUrl)
  try {
    return await writeLoggedRequests({
      ...sample,
      store,
      artifacts: openArtifacts(artifactRoot),
      subjectKey: await openSubjectKey(subjectKey),
    })
  } finally {
    await store.close()
  }
}

type Result = WrittenSnapshot | WrittenRequests | JudgedSnapshot

async function run(job: RowsJob): Promise<Result> {
  if (job.kind === 'snapshot') return takeRows(job)
  if (job.kind === 'logged') return takeLogged(job)
  // Loaded on use: its table library takes as long to load as everything else here.
  const { judgeSnapshot } = await import('./judge-snapshot.ts')
  return judgeSnapshot(job)
}

takeJob<RowsJob, never, Result>((job, parent) => whileAlive(parent, () => run(job)))
