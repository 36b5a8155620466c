/**
 * Takes a snapshot of a model's rows as they were known at a time. No training sees later knowledge, and every training can be repeated.
 */
import type { ExcludedRows } from '../../domain/validation/expectations.ts'
import { floodSentence } from '../../domain/validation/floods.ts'
import type { RefitRows } from '../../domain/training/rounds.ts'
import { digestOfJson } from '../../store/artifacts.ts'
import { getModel } from '../../store/registry/models.ts'
import type { Snapshot } from '../../store/training/snapshots.ts'
import { withSourceCopies, type SourceCopies } from '../data/source-copies.ts'
import type { Deps } from '../deps.ts'
import { insertUnlessErased } from '../privacy/data-subjects.ts'
import { withHeartbeat, withInstallHeartbeat } from '../runtime/heartbeat.ts'
import { memoryOfJobMb } from '../runtime/memory-limit.ts'
import { runJob } from '../runtime/run-job.ts'
import { untilStored } from '../runtime/until-stored.ts'
import { withModelFolder } from '../runtime/model-folder.ts'
import { runSourceProgram, type SourceProgramFacts } from '../trainers/source-program.ts'
import type { RowsJob } from './rows-child.ts'
import type { WrittenSnapshot } from './write-snapshot.ts'

export interface SnapshotInput {
  model: string
  /** ISO 8601. */
  asOf: string
  /** Takes all matured rows for a refit, without test rows. */
  refit?: RefitRows | undefined
}

export interface SnapshotResult {
  digest: string
  rows: { train: number; validation?: number; test: number }
  excludedRows?: ExcludedRows
}

/**
 * Idempotent: equal inputs give an equal file. Throws `snapshot_empty` without training or test rows, and `too_few_outcomes` for served
 * rows.
 */
export const takeSnapshot =
  (deps: Deps, options: { models?: string } = {}) =>
  async (input: SnapshotInput): Promise<SnapshotResult> => {
    for (;;) {
      const taken = await takeOnce(deps, input, options)
      if (taken !== undefined) return taken
      deps.log.info({ ...input }, 'snapshot is taken again: it holds a subject erased in the meantime')
    }
  }

/** Undefined if the snapshot holds a subject who was erased while it was taken. */
async function takeOnce(
  deps: Deps,
  { model: name, asOf, refit }: SnapshotInput,
  { models }: { models?: string | undefined },
): Promise<SnapshotResult | undefined> {
  const { store, artifacts, config, log } = deps
  const { definition } = await getModel(store, name)
  const { split, views } = definition
  const { databaseUrl, readerUrl, artifactRoot, signing } = config
  const { metricSources } = store
  const { subjectKey } = signing
  let program: SourceProgramFacts | undefined
  const take = (copies: SourceCopies) => {
    const places = { databaseUrl, readerUrl, metricSources, artifactRoot, subjectKey }
    const job: RowsJob = { kind: 'snapshot', definition, asOf, refit, copies, ...places }
    return runJob<WrittenSnapshot & { source: Record<string, unknown> }>({
      what: `the snapshot of ${name}`,
      file: 'activities/retrain/rows-child.ts',
      job,
      limitMb: config.trainingMemoryMb ?? memoryOfJobMb(),
      plainErrors: true,
      keptFor: digestOfJson(definition),
    })
  }
  const written = await withInstallHeartbeat(({ signal, onInstall }) => {
    const writeRows = async (folder: string) => {
      program = await withModelFolder(deps, { model: name, folder: models }, (models) =>
        runSourceProgram(deps, {
          definition,
          asOf,
          folder,
          signal,
          models,
          onInstall,
        }),
      )
    }
    return withSourceCopies({ artifacts, config }, { source: definition.source, writeRows }, take)
  })
  const { digest, bytes, parts: rows, columns, subjects, excludedRows, source, served } = written
  const { subjectIsNumber, newestEvent, firstTestEvent } = written
  await withHeartbeat(() =>
    untilStored(log, `the snapshot of ${name}`, async () => {
      await artifacts.share('snapshots', digest)
      if (subjects !== undefined) await artifacts.share('snapshots', subjects)
    }),
  )
  const row: Snapshot = {
    digest,
    model: name,
    asOf,
    rows: rows.train + (rows.validation ?? 0) + rows.test,
    bytes,
    columns,
    source: {
      ...source,
      program,
      split,
      newestEvent,
      firstTestEvent,
      served,
      floods: excludedRows.floods?.map(floodSentence),
      subjects,
      subjectIsNumber,
      views: views?.map(({ name, digest }) => ({ name, digest })),
    },
  }
  if (!(await withHeartbeat(() => insertUnlessErased(deps, row, written)))) return undefined
  log.info({ model: name, asOf, snapshot: digest, rows, bytes, excludedRows, served }, 'snapshot taken')
  return { digest, rows, excludedRows }
}
