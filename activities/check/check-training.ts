/**
 * Reads a few rows of a model and trains it on them for one epoch, without any server, so that `tenure check` finds errors before the first
 * retraining. Training programs do not run. Runs in a child process, registers nothing and deletes everything it writes.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DomainError, isError } from '../../domain/errors.ts'
import { asDoubles, cellOf, countsOf } from '../../domain/model/columns.ts'
import { countsBy, notableCycle, psiOfGroups } from '../../domain/model/cycles.ts'
import { binner, countedProfile, numberProfile } from '../../domain/model/reference-profile.ts'
import { hasValidation, snapshotColumns, type ModelDefinition } from '../../domain/model-definition.ts'
import { textLiteral } from '../../domain/sql-text.ts'
import { isRemoteFile } from '../../domain/addresses/source-address.ts'
import { planRows, snapshotQuery } from '../../models/define/data/query.ts'
import { loadModel } from '../../models/index.ts'
import { openArtifacts } from '../../store/artifacts.ts'
import { withDuck, type Duck } from '../data/duckdb.ts'
import { expectedNarrowMargin } from '../../domain/evaluation/expected-evidence.ts'
import { readAs } from '../../domain/values/readings.ts'
import { readTable } from '../data/rows.ts'
import { leakageReasons } from '../../domain/evaluation/leakage.ts'
import { taskOf } from '../../domain/tasks/tasks.ts'
import { findLeakingFeatures } from '../evaluation/leakage-queries.ts'
import { requireSlices } from '../data/check-sql.ts'
import { openRows } from '../data/open-rows.ts'
import { asUnreadable } from '../data/source-errors.ts'
import { runChild } from '../runtime/child-process.ts'
import { takeJob, whileAlive } from '../runtime/child-protocol.ts'
import type { TrainerJob, TrainerResult } from '../tensorflow/trainer.ts'
import { compileScript } from './compile-script.ts'

export interface CheckJob {
  model: string
  modelsDirectory: string
}

export interface CheckedTraining {
  /** The number of training rows; absent when nothing was trained. */
  rows?: number
  /** The number of rows that were read without a training. */
  read?: number
  /** Why nothing was trained. */
  skipped?: string
  /** Features that may contain the label, by the gate's limits, as the rows that were read tell. */
  leaks?: string[]
  /** That the margin of the gate is narrower than the expected test rows can show. */
  narrow?: string
  /** Features that follow the week or the day, as the rows that were read tell. */
  cycles?: string[]
}

const maxRows = 1_000
const silentMs = 120_000
/** Later than every row. */
const asOfMs = Date.parse('9000-01-01T00:00:00Z')

async function checkTraining({ model, modelsDirectory }: CheckJob): Promise<CheckedTraining> {
  const { definition, train } = await loadModel(model, modelsDirectory)
  if (definition.source.program?.kind === 'python')
    await compileScript(modelsDirectory, definition.source.program, 'source')
  const untrained = train === undefined ? await checkProgram(definition, modelsDirectory) : undefined
  const unread = reasonNotToRead(definition)
  if (unread !== undefined) return { skipped: untrained === undefined ? unread : `${untrained}; ${unread}` }
  const root = await mkdtemp(join(tmpdir(), 'tenure-check-'))
  try {
    const { digest: snapshotDigest, read, ...warnings } = await takeRows(definition, root)
    if (untrained !== undefined) return { read, skipped: untrained, ...warnings }
    const { hyperparameters } = definition
    const job: TrainerJob = {
      model,
      modelsDirectory,
      definition,
      snapshotDigest,
      artifactRoot: root,
      seed: definition.seed,
      hyperparameters: 'epochs' in hyperparameters ? { ...hyperparameters, epochs: 1 } : hyperparameters,
    }
    const { rows } = await runChild<never, TrainerResult>({
      file: 'activities/tensorflow/trainer.ts',
      job,
      signal: new AbortController().signal,
      silentMs,
    })
    return { rows, ...warnings }
  } finally {
    await rm(root, { recursive: true, force: true })
  }
}

/** Returns why no training runs, with what was checked in its place. */
async function checkProgram(definition: ModelDefinition, modelsDirectory: string): Promise<string> {
  const { trainer, serve } = definition
  if (trainer === undefined) return 'its versions are brought'
  if (trainer.kind === 'queue') return `workers of the task queue ${trainer.queue} train it`
  if (trainer.kind === 'command') return 'a program trains it'
  const compiled = (await compileScript(modelsDirectory, trainer))
    ? 'compiles'
    : `is not compiled, as there is no ${trainer.interpreter ?? 'python3'} on this machine`
  if (serve !== undefined) await compileScript(modelsDirectory, { ...trainer, file: serve }, 'serve')
  const environment = trainer.requirements === undefined ? '' : ` and installs ${trainer.requirements}`
  const text = await readFile(join(modelsDirectory, trainer.file), 'latin1')
  const unfrozen =
    definition.refit !== undefined && hasValidation(definition) && stopsUnfrozen(text)
      ? `; it calls job.validation() and not job.best_round: a refit has no validation rows, so train for job.best_round rounds where it is set`
      : ''
  return `${trainer.file} ${compiled}; the first training runs it${environment}${unfrozen}`
}

/** A refit of such a script gets no validation rows, which it may not expect, and trains for another number of rounds. */
const stopsUnfrozen = (text: string): boolean => /\.validation\(\)/.test(text) && !text.includes('best_round')

/** Returns why no rows can be read without a server. */
function reasonNotToRead({ source, views }: ModelDefinition): string | undefined {
  if (source.kind === 'postgres' || source.kind === 'served') return 'its rows come from a database'
  if (source.program !== undefined) return 'a program writes its rows; the first retraining runs it'
  if (Object.values(source.files).some(isRemoteFile)) return 'its rows come from another server'
  return views === undefined || views.length === 0 ? undefined : 'its feature views come from a database'
}

/** Writes a sample of the rows as a snapshot, split by chance: the last rows alone might have one class only. */
async function takeRows(
  definition: ModelDefinition,
  root: string,
): Promise<{ digest: string; read: number } & Pick<CheckedTraining, 'leaks' | 'narrow' | 'cycles'>> {
  const artifacts = openArtifacts(root)
  const { source, name } = definition
  const sampled: ModelDefinition = {
    ...definition,
    source: {
      ...source,
      rows: `select * from (${source.rows}) using sample reservoir(${maxRows} rows) repeatable (1)`,
    },
    split: {
      kind: 'hash',
      test: 0.2,
      stratified: false,
      ...(hasValidation(definition) && { validation: 0.2 }),
    },
  }
  try {
    return await withDuck(async (duck) => {
      const plan = planRows(sampled, { asOfMs })
      const rows = await openRows(duck, sampled)
      await rows.load(plan.known)
      await rows.shape(plan.rows)
      const draft = await artifacts.draft('.parquet')
      await duck.run(`copy (${snapshotQuery(sampled, asOfMs)}) to ${textLiteral(draft)} (format parquet)`)
      const [counted] = await duck.rows<{ n: number }>(`select count(*) as n from ${textLiteral(draft)}`)
      const read = counted?.n ?? 0
      if (read === 0)
        throw new DomainError('snapshot_empty', `no row of ${name} has features and a label that are known`)
      await requireSlices(duck, draft, sampled)
      await duck.run(`create view snapshot as select * from ${textLiteral(draft)}`)
      const leaks = leakageReasons(await findLeakingFeatures(duck, sampled), sampled.evaluation.policy).map(
        ({ message }) => message,
      )
      const narrow = await narrowMargin(duck, definition)
      const cycles = await findCycles(duck, definition)
      return {
        digest: (await artifacts.take('snapshots', draft)).digest,
        read,
        leaks: leaks.length === 0 ? undefined : leaks,
        narrow,
        cycles,
      }
    })
  } catch (error) {
    throw isError(error) ? error : asUnreadable(name, error)
  }
}

/** Counts the test rows that a retraining would have now, before any limit of their age, and asks what they can show. */
async function narrowMargin(duck: Duck, definition: ModelDefinition): Promise<string | undefined> {
  const { source, split, label, evaluation } = definition
  const time = source.eventTime && readAs('time', source.eventTime)
  const events = planRows(definition, { asOfMs }).known
  const tested =
    split.kind === 'hash' || time === undefined
      ? 'count(*)'
      : `count(*) filter (where newest - ${time} < to_milliseconds(${split.testMs}))`
  const newest = time === undefined ? '' : `, max(${time}) over () as newest`
  const [counted] = await duck.rows<{ n: number }>(
    `select ${tested}::double as n from (select *${newest} from (${events}) as events)`,
  )
  const all = (counted?.n ?? 0) * (split.kind === 'hash' ? split.test : 1)
  const rows = Math.round(Math.min(all, (split.kind === 'time' ? split.maxTest : undefined) ?? Infinity))
  if (rows === 0) return undefined
  if (!taskOf(label.output).gate.hasPositives)
    return expectedNarrowMargin(evaluation.policy, { rows, positives: 0 })
  const [labels] = await duck.rows<{ share: number | null }>(
    `select avg(${snapshotColumns.label})::double as share from snapshot`,
  )
  return expectedNarrowMargin(evaluation.policy, { rows, positives: Math.round(rows * (labels?.share ?? 0)) })
}

const hourMs = 3_600_000
/** The parts of time that a column may follow: the weekday, and the sixth of a day, for enough rows in each. */
const parts = [
  ['the day of the week', (timeMs: number) => Math.floor(timeMs / (24 * hourMs)) % 7],
  ['the time of day', (timeMs: number) => Math.floor(timeMs / (4 * hourMs)) % 6],
] as const

/** Finds the features whose values follow the week or the day; undefined without any, and where rows have no times or span no two weeks. */
async function findCycles(duck: Duck, { features }: ModelDefinition): Promise<string[] | undefined> {
  const names = Object.keys(features).filter((name) => ['number', 'category'].includes(features[name]!.kind))
  const { columns, rows } = await readTable(duck, 'snapshot where true', [...names, snapshotColumns.eventAt])
  const times = columns[snapshotColumns.eventAt]
  if (times?.kind !== 'number') return undefined
  const timesMs = times.values
  const known = timesMs.filter((timeMs) => !Number.isNaN(timeMs)).sort()
  if (known.length === 0 || known.at(-1)! - known[0]! < 14 * 24 * hourMs) return undefined
  const cycles = names.flatMap((name) => {
    const column = columns[name]
    if (column === undefined) return []
    const profile =
      column.kind === 'number'
        ? numberProfile(name, asDoubles(column))
        : countedProfile(name, countsOf(column))
    const bin = binner(profile)
    const bins = Array.from({ length: rows }, (_, row) => bin(cellOf(column, row)))
    return parts.flatMap(([part, key]) => {
      const groups = countsBy(profile.counts.length, (row) => bins[row]!, { timesMs, key })
      const [psi = 0] = psiOfGroups([...groups.values()])
      return psi < notableCycle
        ? []
        : [
            `"${name}" follows ${part} (PSI ${Number(psi.toPrecision(2))}): drift is judged beyond that, and against the same hours of earlier weeks`,
          ]
    })
  })
  return cycles.length === 0 ? undefined : cycles
}

takeJob<CheckJob, never, CheckedTraining>((job, parent) => whileAlive(parent, () => checkTraining(job)))
